"""The model's memory: llama.cpp's cells and the ledger of them, always changed together.

Promises: room that was promised to a request is not given to another; what is idle is forgotten only when its room is
needed. Belongs to the engine's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.kv_ledger import KvLedger, SequenceLease
from runtime.engine.llama.model import LlamaModel


class KvCache:
    """Sequences of tokens whose keys and values are computed."""

    def __init__(self, model: LlamaModel, limit: int, promised: Callable[[], int]) -> None:
        """`limit` sequences; `promised` says how many cells those at work may yet take."""
        self.model = model
        self._limit = limit
        self._promised = promised
        self.ledger = KvLedger(model.cells, limit)
        self.leaving: Callable[[SequenceLease], None] = lambda _: None
        """Called with what is idle just before it is forgotten for want of room."""

    def clear(self) -> None:
        """Forget everything."""
        self.model.clear()
        self.ledger = KvLedger(self.model.cells, self._limit)

    def make_room(self, cells: int, sequences: int = 1) -> bool:
        """Forget what is idle until so many cells and sequences are free; False when that is not enough."""
        ledger = self.ledger
        while ledger.free < sequences or self.model.cells - ledger.used - self._promised() < cells:
            spare = ledger.spare()
            if spare is None:
                return False
            self.leaving(spare)
            self.forget(spare)
        return True

    def place(self, key: Hashable, tokens: Sequence[int], cells: int) -> SequenceLease | None:
        """A sequence with what is in memory of these tokens, and room for `cells` in all; None when there is none.

        The last token is always read again: its logits are needed.
        """
        source, shared = self.ledger.longest(key, tokens) if self.model.shares_beginnings else (None, 0)
        shared = min(shared, len(tokens) - 1)
        if source is None or shared <= 0:
            return self.ledger.open(key) if self.make_room(cells) else None
        source.pins += 1  # or it would be forgotten to make room for what shares it
        found = self.make_room(cells - shared)
        if not found and source.pins == 1:
            self.cut(source, shared)
            found = self.make_room(cells - shared)
        source.pins -= 1
        if not found:
            return None
        held = self.ledger.open(key)
        self.share(source, held, shared)
        return held

    def share(self, source: SequenceLease, target: SequenceLease, tokens: int | None = None) -> None:
        """Give an empty sequence the source's base and its first `tokens`, all if not said, without computing."""
        kept = len(source.tokens) if tokens is None else tokens
        self.model.copy(source.id, target.id, source.start + kept)
        self.ledger.share(source, target, kept)
        self.ledger.touch(source)

    def add(self, source: SequenceLease, target: SequenceLease) -> None:
        """Put the source's cells beside those that `target` has."""
        self.model.copy(source.id, target.id)
        self.ledger.share_cells(source, target)
        self.ledger.touch(source)

    def adopt(self, source: SequenceLease, target: SequenceLease) -> None:
        """Give `target`, which has a base and no tokens, the source's tokens; the source has no base."""
        self.add(source, target)
        target.tokens = list(source.tokens)

    def cut(self, held: SequenceLease, tokens: int) -> None:
        """Keep its base and its first `tokens`."""
        if tokens < len(held.tokens):
            self.model.remove(held.id, held.start + tokens)
            self.ledger.cut(held, tokens)

    def drop_base(self, held: SequenceLease) -> None:
        """Take away what lies before the sequence's own tokens."""
        self.model.remove(held.id, 0, held.start)
        self.ledger.cut_base(held)

    def load(self, held: SequenceLease, payload: NDArray[np.uint8], tokens: Sequence[int], start: int) -> bool:
        """Fill an empty sequence with stored keys and values of these tokens; False when llama.cpp refuses them."""
        if not self.model.load(held.id, payload):
            self.model.remove(held.id)
            return False
        held.start = start
        self.ledger.grow(held, tokens)
        return True

    def forget(self, held: SequenceLease) -> None:
        """Free what only this sequence has."""
        self.model.remove(held.id)
        self.ledger.forget(held)
