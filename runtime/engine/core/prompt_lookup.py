"""Prompt lookup: guess the next tokens from what stood behind the same words before (answers quote their articles).

Promises: pure and deterministic; guesses only ever save time, since each is checked against the token that is chosen
anyway; a request for which they do not pay stops guessing. Source: Saxena, prompt lookup decoding (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

NGRAM = 3
"""Tokens that must agree before anything is guessed."""
MOST_GUESSES = 11
_HOPE = 0.85
"""Share of guesses that are right, as long as nothing is known of a request."""
_WEIGHT = 0.15
"""Of the newest guess in the running share."""


class PromptLookup:
    """The tokens of one request so far, and how often guesses from them were right."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._last: dict[tuple[int, ...], int] = {}
        """Where the tokens behind an n-gram begin, the last time it was seen."""
        self._share = _HOPE
        self._behind: int | None = None
        for token in prompt:
            self.add(token)

    def add(self, token: int) -> None:
        """A token was read or written."""
        self._tokens.append(token)
        size = len(self._tokens)
        if size >= NGRAM:
            ngram = tuple(self._tokens[-NGRAM:])
            self._behind = self._last.get(ngram)
            self._last[ngram] = size

    def guess(self, most: int, cost: float) -> list[int]:
        """What may come next, at most `most` tokens; nothing where it does not pay.

        `cost`: seconds to check one guess over seconds of a step without any.
        """
        if self._behind is None:
            return []
        count = worth_guessing(self._share, cost, min(most, MOST_GUESSES))
        return self._tokens[self._behind : self._behind + count]

    def checked(self, right: int, wrong: bool) -> None:
        """So many guesses were right, and then one was wrong or not."""
        for _ in range(right):
            self._share += _WEIGHT * (1 - self._share)
        if wrong:
            self._share -= _WEIGHT * self._share


def worth_guessing(share: float, cost: float, most: int) -> int:
    """How many guesses write the most tokens a second, 0 to `most`.

    `share` of guesses are right; behind the first wrong one the others are lost. A step takes 1 + cost · guesses.
    """

    def rate(guesses: int) -> float:
        written = sum(share**right for right in range(guesses + 1))
        return written / (1 + cost * guesses)

    return max(range(most + 1), key=lambda guesses: (rate(guesses), -guesses))
