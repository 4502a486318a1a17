"""Prompt lookup: guess the next tokens from those that followed the same n-gram before (answers quote their articles).

Promises: pure and deterministic; a token costs constant time, whatever the text repeats; guesses only ever save time,
since each is checked against the token that is chosen anyway; a request for which they do not pay stops guessing.
Source: Saxena, prompt lookup decoding (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

NGRAM = 3
"""Tokens that must agree before anything is guessed."""
MAX_GUESSES = 11
_PRIOR = 0.85
"""Share of right guesses that a request is taken to have before any was checked."""
_NEWEST_WEIGHT = 0.15
"""Of the newest guess in the running share."""


class PromptLookup:
    """The tokens of one request so far, and how often guesses from them were right."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._last: dict[tuple[int, ...], int] = {}
        """Index of the token after an n-gram, the last time it was seen: one lookup a token, whatever its length."""
        self._share = _PRIOR
        self._match: int | None = None
        """Index of the token that followed the newest n-gram before; None when it is new."""
        for token in prompt:
            self.add(token)

    def add(self, token: int) -> None:
        """Add a token that was read or written."""
        self._tokens.append(token)
        size = len(self._tokens)
        if size >= NGRAM:
            ngram = tuple(self._tokens[-NGRAM:])
            self._match = self._last.get(ngram)
            self._last[ngram] = size

    def guess(self, most: int, cost: float) -> list[int]:
        """Tokens that may come next, at most `most`; none where checking them does not pay.

        `cost`: seconds to check one guess over seconds of a step without any.
        """
        if self._match is None:
            return []
        count = worth_guessing(self._share, cost, min(most, MAX_GUESSES))
        return self._tokens[self._match : self._match + count]

    def record_check(self, right: int, wrong: bool) -> None:
        """Learn from a check: `right` guesses were right, and then one was wrong, or all were used up."""
        for _ in range(right):
            self._share += _NEWEST_WEIGHT * (1 - self._share)
        if wrong:
            self._share -= _NEWEST_WEIGHT * self._share


def worth_guessing(share: float, cost: float, most: int) -> int:
    """How many guesses write the most tokens a second, 0 to `most`.

    `share` of guesses are right; those after the first wrong one are lost. A step takes 1 + cost · guesses.
    """

    def rate(guesses: int) -> float:
        written = sum(share**right for right in range(guesses + 1))
        return written / (1 + cost * guesses)

    return max(range(most + 1), key=lambda guesses: (rate(guesses), -guesses))
