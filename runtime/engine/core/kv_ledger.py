"""Which tokens lie in the model's memory under which sequence: a ledger beside llama.cpp's own, which tells nobody.

A cell holds the keys and values of one token and may belong to several sequences at once, so what two prompts begin
with alike is computed and kept once. Promises: `used` is the number of cells taken in llama.cpp; what is at work is
never forgotten. Pure: says what to copy and forget, calls nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count

from runtime.errors import UnavailableError


@dataclass(eq=False)
class SequenceLease:
    """A sequence: a base that `key` describes, then `tokens`, one position each, from `start` on."""

    id: int
    key: Hashable = None
    """What the keys and values depend on besides the tokens: adapter, articles put together before them."""
    start: int = 0
    """Position of the first of `tokens`: those of the base lie before it."""
    tokens: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    """Names of its cells in the ledger: the base's, then one a token."""
    pins: int = 1
    """Requests at work that need it."""
    ahead: bool = False
    """Whether it was read before anybody asked."""
    conversation: str | None = None
    used_at: int = 0

    @property
    def busy(self) -> bool:
        """Whether it must not be forgotten."""
        return self.pins > 0

    @property
    def position(self) -> int:
        """Of the next token."""
        return self.start + len(self.tokens)


class KvLedger:
    """All sequences of a context with `cells` cells and `limit` sequences."""

    def __init__(self, cells: int, limit: int) -> None:
        self.cells = cells
        self.held: dict[int, SequenceLease] = {}
        self._free_ids = list(range(limit - 1, -1, -1))
        self._owners: Counter[int] = Counter()
        self._names = count()
        self._clock = count(1)

    @property
    def used(self) -> int:
        """Cells taken."""
        return len(self._owners)

    @property
    def free(self) -> int:
        """Sequences left."""
        return len(self._free_ids)

    def open(self, key: Hashable = None) -> SequenceLease:
        """A new, empty sequence at work; `UnavailableError` when all are taken (forget one first)."""
        if not self._free_ids:
            raise UnavailableError("the engine has no sequence left", hint="ask again in a moment")
        held = SequenceLease(self._free_ids.pop(), key)
        self.held[held.id] = held
        self.touch(held)
        return held

    def touch(self, held: SequenceLease) -> None:
        """It was used now."""
        held.used_at = next(self._clock)

    def grow(self, held: SequenceLease, tokens: Sequence[int]) -> None:
        """Tokens were read behind what it holds."""
        held.tokens += tokens
        self.fill(held, len(tokens))

    def fill(self, held: SequenceLease, cells: int) -> None:
        """New cells were taken for it."""
        names = [next(self._names) for _ in range(cells)]
        held.cells += names
        self._owners.update(names)

    def share(self, source: SequenceLease, target: SequenceLease, tokens: int | None = None) -> None:
        """`target` now has the source's base and its first `tokens`, in the source's own cells; all if not said."""
        kept = len(source.tokens) if tokens is None else tokens
        cells = source.cells[: len(source.cells) - len(source.tokens) + kept]
        target.start, target.tokens = source.start, source.tokens[:kept]
        target.cells = list(cells)
        self._owners.update(cells)

    def share_cells(self, source: SequenceLease, target: SequenceLease) -> None:
        """`target` has the source's cells besides its own."""
        target.cells += source.cells
        self._owners.update(source.cells)

    def cut_base(self, held: SequenceLease) -> None:
        """It keeps its tokens alone."""
        base = len(held.cells) - len(held.tokens)
        self._give_back(held.cells[:base])
        del held.cells[:base]

    def cut(self, held: SequenceLease, tokens: int) -> None:
        """It keeps its base and its first `tokens`."""
        gone = len(held.tokens) - tokens
        if gone > 0:
            self._give_back(held.cells[-gone:])
            del held.cells[-gone:], held.tokens[-gone:]

    def forget(self, held: SequenceLease) -> None:
        """It is no more."""
        self._give_back(held.cells)
        del self.held[held.id]
        self._free_ids.append(held.id)

    def longest(self, key: Hashable, tokens: Sequence[int]) -> tuple[SequenceLease | None, int]:
        """The sequence of this key that shares the longest beginning with the tokens, and how long that is."""
        best, shared = None, 0
        for held in self.held.values():
            if held.key == key and (length := common_prefix(held.tokens, tokens)) > shared:
                best, shared = held, length
        return best, shared

    def spare(self) -> SequenceLease | None:
        """What to forget first: what was read ahead, then what was used longest ago; None when all are at work."""
        idle = [held for held in self.held.values() if not held.busy]
        return min(idle, key=lambda held: (not held.ahead, held.used_at), default=None)

    def _give_back(self, cells: Sequence[int]) -> None:
        for name in cells:
            self._owners[name] -= 1
            if not self._owners[name]:
                del self._owners[name]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences share from the start."""
    length = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        length += 1
    return length
