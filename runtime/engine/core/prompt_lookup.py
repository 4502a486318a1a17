"""Prompt lookup: guess the next tokens from those that followed the same n-gram before.

Answers quote the articles in their prompt, and say again what earlier answers of the branch said (`ReplyPool`).

Promises: pure and deterministic; a token costs constant time, whatever the text repeats; guesses only ever save time,
since each is checked against the token that is chosen anyway; a source whose guesses do not pay is not asked.
Source: Saxena, prompt lookup decoding (2023); He et al., REST (2023) for a pool of earlier texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

NGRAM = 3
"""Tokens that must agree before anything is guessed."""
MAX_GUESSES = 15
"""With the token before them they are a full tile of rows, which costs little more than three quarters of one."""
POOL_TOKENS = 50_000
"""Tokens of earlier answers that are kept; some hundreds of answers, some ten megabytes."""
_PRIOR = 0.85
"""Share of right guesses that a source is taken to have before any was checked."""
_NEWEST_WEIGHT = 0.15
"""Of the newest guess in the running share."""

Ngram = tuple[int, ...]
GuessCost = Callable[[int], float]
"""What checking so many guesses costs, in steps without any."""


class ReplyPool:
    """Earlier answers of all agents, the newest `POOL_TOKENS` tokens of them, by their n-grams. In memory alone."""

    def __init__(self, most_tokens: int = POOL_TOKENS) -> None:
        self._most_tokens = most_tokens
        self._tokens = 0
        self._replies: OrderedDict[tuple[int, ...], set[str]] = OrderedDict()
        """Each answer once, the newest last, with the conversations that have it."""
        self._last: dict[Ngram, tuple[tuple[int, ...], int]] = {}
        """The newest answer an n-gram is in, and the index of the token after it."""

    def add(self, reply: Sequence[int], conversation: str) -> None:
        """Keep an answer that was written to its end, until its conversation is forgotten."""
        kept = tuple(reply)
        if len(kept) <= NGRAM or len(kept) > self._most_tokens:
            return
        if kept not in self._replies:
            self._tokens += len(kept)
        self._replies.setdefault(kept, set()).add(conversation)
        self._replies.move_to_end(kept)
        for end in range(NGRAM, len(kept)):
            self._last[kept[end - NGRAM : end]] = kept, end
        while self._tokens > self._most_tokens:
            self._drop(next(iter(self._replies)))

    def forget(self, conversation: str) -> None:
        """Drop what only this conversation has said."""
        for reply, conversations in list(self._replies.items()):
            conversations.discard(conversation)
            if not conversations:
                self._drop(reply)

    def continuation(self, ngram: Ngram, most: int) -> Sequence[int]:
        """What followed an n-gram in the newest answer with it, at most `most` tokens."""
        reply, start = self._last.get(ngram, ((), 0))
        return reply[start : start + most]

    def _drop(self, reply: tuple[int, ...]) -> None:
        del self._replies[reply]
        self._tokens -= len(reply)
        for end in range(NGRAM, len(reply)):
            ngram = reply[end - NGRAM : end]
            # A newer answer may have the same n-gram; an older one that has it is not looked for.
            if self._last.get(ngram, (None,))[0] == reply:
                del self._last[ngram]


class _Source:
    """How often the guesses from one place were right."""

    def __init__(self) -> None:
        self.share = _PRIOR

    def record_check(self, right: int, wrong: bool) -> None:
        for _ in range(right):
            self.share += _NEWEST_WEIGHT * (1 - self.share)
        if wrong:
            self.share -= _NEWEST_WEIGHT * self.share


class PromptLookup:
    """The tokens of one request so far, and how often guesses from them and from the pool were right."""

    def __init__(self, prompt: Sequence[int], pool: ReplyPool | None = None) -> None:
        self._tokens: list[int] = []
        self._prompt_tokens = len(prompt)
        self._pool = pool
        self._last: dict[Ngram, int] = {}
        """Index of the token after an n-gram, the last time it was seen: one lookup a token, whatever its length."""
        self._own, self._pooled = _Source(), _Source()
        self._asked = self._own
        """The source of the newest guesses."""
        self._match: int | None = None
        """Index of the token that followed the newest n-gram before; None when it is new."""
        for token in prompt:
            self.add(token)

    @property
    def written(self) -> Sequence[int]:
        """The tokens after the prompt."""
        return self._tokens[self._prompt_tokens :]

    def add(self, token: int) -> None:
        """Add a token that was read or written."""
        self._tokens.append(token)
        size = len(self._tokens)
        if size >= NGRAM:
            ngram = tuple(self._tokens[-NGRAM:])
            self._match = self._last.get(ngram)
            self._last[ngram] = size

    def guess(self, most: int, cost: GuessCost) -> list[int]:
        """Tokens that may come next, at most `most`; none where checking them does not pay."""
        # The prompt first: it is about this question.
        if self._match is not None:
            self._asked = self._own
            count = worth_guessing(self._own.share, cost, min(most, MAX_GUESSES))
            return self._tokens[self._match : self._match + count]
        if self._pool is None:
            return []
        self._asked = self._pooled
        count = worth_guessing(self._pooled.share, cost, min(most, MAX_GUESSES))
        return list(self._pool.continuation(tuple(self._tokens[-NGRAM:]), count))

    def record_check(self, right: int, wrong: bool) -> None:
        """Learn from a check of the newest guesses: `right` were right, and then one was wrong, or all were used up."""
        self._asked.record_check(right, wrong)


def worth_guessing(share: float, cost: GuessCost, most: int) -> int:
    """How many guesses write the most tokens a second, 0 to `most`.

    `share` of guesses are right; those after the first wrong one are lost. A step takes 1 + cost(guesses).
    """

    def rate(guesses: int) -> float:
        written = sum(share**right for right in range(guesses + 1))
        return written / (1 + cost(guesses))

    return max(range(most + 1), key=lambda guesses: (rate(guesses), -guesses))
