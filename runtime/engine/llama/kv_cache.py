"""The model's memory: llama.cpp's cells and the ledger of them, always changed together.

Promises: cells reserved for one request are not given to another; an idle sequence is evicted only when its room is
needed. Belongs to the engine's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.kv_ledger import KvLedger, SequenceLease
from runtime.engine.llama.model import LlamaModel


class Reservation(NamedTuple):
    """Room that an owner may yet take without asking again."""

    cells: int
    sequences: int


class KvCache:
    """Sequences of tokens whose keys and values are computed, at most `max_sequences`."""

    def __init__(self, model: LlamaModel, max_sequences: int) -> None:
        self.model = model
        self.ledger = KvLedger(model.cells, max_sequences)
        self._max_sequences = max_sequences
        self._reservations: list[Callable[[], Reservation]] = []
        self._eviction_hooks: list[Callable[[SequenceLease], None]] = []

    def reserve(self, reservation: Callable[[], Reservation]) -> None:
        """Ask `reservation` whenever room is given away, and leave that much.

        A request is admitted only with all the room it can ever need, so that memory never runs out under one that has
        begun. Cells and sequences are taken one by one later; until then only their owner knows of them.
        """
        self._reservations.append(reservation)

    def before_eviction(self, hook: Callable[[SequenceLease], None]) -> None:
        """Call `hook` with every idle sequence just before it is evicted for want of room."""
        self._eviction_hooks.append(hook)

    def clear(self) -> None:
        """Forget everything."""
        self.model.clear()
        self.ledger = KvLedger(self.model.cells, self._max_sequences)

    def make_room(self, cells: int, sequences: int = 1) -> bool:
        """Evict idle sequences until so many cells and sequences are free; False when that is not enough."""
        ledger = self.ledger
        reserved = [reservation() for reservation in self._reservations]
        cells += sum(one.cells for one in reserved)
        sequences += sum(one.sequences for one in reserved)
        while ledger.free_sequences < sequences or self.model.cells - ledger.used_cells < cells:
            lease = ledger.eviction_candidate()
            if lease is None:
                return False
            for hook in self._eviction_hooks:
                hook(lease)
            self.release(lease)
        return True

    def allocate(self, key: Hashable, tokens: Sequence[int], cells: int) -> SequenceLease | None:
        """A sequence with what is in memory of these tokens, and room for `cells` in all; None without room.

        The last token is never shared: it has to be computed again for its logits.
        """
        source, shared = self.ledger.longest_prefix(key, tokens) if self.model.shares_prefixes else (None, 0)
        shared = min(shared, len(tokens) - 1)
        if source is None or shared <= 0:
            return self.ledger.open(key) if self.make_room(cells) else None
        source.pins += 1  # making room must not evict the very sequence whose beginning is to be shared
        found = self.make_room(cells - shared)
        if not found and source.pins == 1:
            # Nothing but the source is left to evict: give up what of it is not shared, and try again.
            self.truncate(source, shared)
            found = self.make_room(cells - shared)
        source.pins -= 1
        if not found:
            return None
        lease = self.ledger.open(key)
        self.share(source, lease, shared)
        return lease

    def share(self, source: SequenceLease, target: SequenceLease, tokens: int | None = None) -> None:
        """Give an empty sequence the source's base and its first `tokens` (all by default), without computing."""
        kept = len(source.tokens) if tokens is None else tokens
        self.model.copy(source.id, target.id, source.start + kept)
        self.ledger.share(source, target, kept)
        self.ledger.touch(source)

    def share_cells(self, source: SequenceLease, target: SequenceLease) -> None:
        """Give `target` the source's cells besides its own, at the positions that they have."""
        self.model.copy(source.id, target.id)
        self.ledger.share_cells(source, target)
        self.ledger.touch(source)

    def adopt(self, source: SequenceLease, target: SequenceLease) -> None:
        """Give `target`, which has a base and no tokens, the source's tokens; the source has no base."""
        self.share_cells(source, target)
        target.tokens = list(source.tokens)

    def truncate(self, lease: SequenceLease, tokens: int) -> None:
        """Keep its base and its first `tokens`."""
        if tokens < len(lease.tokens):
            self.model.remove(lease.id, lease.start + tokens)
            self.ledger.truncate(lease, tokens)

    def drop_base(self, lease: SequenceLease) -> None:
        """Free the cells before the sequence's own tokens."""
        self.model.remove(lease.id, 0, lease.start)
        self.ledger.drop_base(lease)

    def load(self, lease: SequenceLease, payload: NDArray[np.uint8], tokens: Sequence[int], start: int) -> bool:
        """Fill an empty sequence with stored keys and values of these tokens; False when llama.cpp refuses them."""
        if not self.model.load(lease.id, payload):
            self.model.remove(lease.id)
            return False
        lease.start = start
        self.ledger.extend(lease, tokens)
        return True

    def release(self, lease: SequenceLease) -> None:
        """Free the sequence and the cells that only it owns."""
        self.model.remove(lease.id)
        self.ledger.release(lease)
