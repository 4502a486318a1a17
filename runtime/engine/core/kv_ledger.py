"""Which tokens are in the model's memory under which sequence: a ledger, since llama.cpp's own cannot be queried.

A cell holds the keys and values of one token and may belong to several sequences at once, so a beginning that two
prompts share is computed and stored once. Promises: `used_cells` is the number of cells taken in llama.cpp; a sequence
in use is never offered for eviction. Pure: says what to copy and free, calls nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count

from runtime.errors import UnavailableError


@dataclass(eq=False)
class SequenceLease:
    """One of llama.cpp's sequences: a base that `key` describes, then `tokens`, one position each, from `start` on.

    Invariant: `len(cells) >= len(tokens)`, and the last `len(tokens)` cells are those of `tokens`, in order. The cells
    before them are the base's (system text and composed articles), whose tokens the ledger does not know.
    """

    id: int
    key: Hashable = None
    """What the keys and values depend on in addition to the tokens: articles composed before them; None: nothing."""
    start: int = 0
    """Position of the first of `tokens`; those of the base come before it."""
    tokens: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    """Names of its cells in the ledger: the base's, then one a token."""
    pins: int = 1
    """Active requests that need it."""
    prefetched: bool = False
    """Whether it was read before its question was asked."""
    conversation: str | None = None
    used_at: int = 0
    """On the ledger's own counter, which counts uses."""

    @property
    def in_use(self) -> bool:
        """Whether it must not be evicted."""
        return self.pins > 0

    @property
    def next_position(self) -> int:
        """Position of the token to come."""
        return self.start + len(self.tokens)


class KvLedger:
    """All sequences of a context with `cells` cells and at most `max_sequences` sequences."""

    def __init__(self, cells: int, max_sequences: int) -> None:
        self.cells = cells
        self.leases: dict[int, SequenceLease] = {}
        self._free_ids = list(range(max_sequences - 1, -1, -1))
        self._owners: Counter[int] = Counter()
        """How many sequences own each cell; a cell without an owner is not in it."""
        self._names = count()
        self._clock = count(1)

    @property
    def used_cells(self) -> int:
        """Cells taken."""
        return len(self._owners)

    @property
    def free_sequences(self) -> int:
        """Sequences that may still be opened."""
        return len(self._free_ids)

    def open(self, key: Hashable = None) -> SequenceLease:
        """A new, empty sequence in use; `UnavailableError` when all are taken (evict one first)."""
        if not self._free_ids:
            raise UnavailableError("the engine has no sequence left", hint="ask again in a moment")
        lease = SequenceLease(self._free_ids.pop(), key)
        self.leases[lease.id] = lease
        self.touch(lease)
        return lease

    def touch(self, lease: SequenceLease) -> None:
        """Note that it was used now."""
        lease.used_at = next(self._clock)

    def extend(self, lease: SequenceLease, tokens: Sequence[int]) -> None:
        """Add tokens that are read, each into a new cell."""
        names = [next(self._names) for _ in tokens]
        lease.tokens += tokens
        lease.cells += names
        self._owners.update(names)

    def share(self, source: SequenceLease, target: SequenceLease, tokens: int | None = None) -> None:
        """Give `target` the source's base and its first `tokens` (all by default), in the source's own cells."""
        kept = len(source.tokens) if tokens is None else tokens
        cells = source.cells[: len(source.cells) - len(source.tokens) + kept]
        target.start, target.tokens = source.start, source.tokens[:kept]
        target.cells = list(cells)
        self._owners.update(cells)

    def share_cells(self, source: SequenceLease, target: SequenceLease) -> None:
        """Give `target` the source's cells besides its own."""
        target.cells += source.cells
        self._owners.update(source.cells)

    def drop_base(self, lease: SequenceLease) -> None:
        """Free the base's cells; the lease keeps its tokens alone."""
        base = len(lease.cells) - len(lease.tokens)
        self._disown(lease.cells[:base])
        del lease.cells[:base]

    def truncate(self, lease: SequenceLease, tokens: int) -> None:
        """Keep the base and the first `tokens`."""
        surplus = len(lease.tokens) - tokens
        if surplus > 0:
            self._disown(lease.cells[-surplus:])
            del lease.cells[-surplus:], lease.tokens[-surplus:]

    def release(self, lease: SequenceLease) -> None:
        """Free the sequence and the cells that only it owns."""
        self._disown(lease.cells)
        del self.leases[lease.id]
        self._free_ids.append(lease.id)

    def longest_prefix(self, key: Hashable, tokens: Sequence[int]) -> tuple[SequenceLease | None, int]:
        """The sequence of this key that shares the longest beginning with the tokens, and how long that is."""
        best, shared = None, 0
        for lease in self.leases.values():
            if lease.key == key and (length := common_prefix(lease.tokens, tokens)) > shared:
                best, shared = lease, length
        return best, shared

    def eviction_candidate(self) -> SequenceLease | None:
        """What to evict first: prefetched sequences, then those used longest ago; None when all are in use."""
        idle = [lease for lease in self.leases.values() if not lease.in_use]
        return min(idle, key=lambda lease: (not lease.prefetched, lease.used_at), default=None)

    def _disown(self, cells: Sequence[int]) -> None:
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
