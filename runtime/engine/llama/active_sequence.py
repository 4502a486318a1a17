"""A request of llama.cpp's engine while it is active: what the runner knows of it besides its text."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.engine.core.composition import Composition
from runtime.engine.core.generation import Finish
from runtime.engine.core.kv_ledger import SequenceLease
from runtime.engine.core.prompt_lookup import PromptLookup
from runtime.engine.core.request import ActiveRequest
from runtime.engine.llama.sampler import LlamaSampler


@dataclass(eq=False, kw_only=True)
class ActiveSequence(ActiveRequest):
    """An active request with its sequence in the KV cache."""

    lease: SequenceLease
    """Empty until its articles are composed."""
    composition: Composition | None = None
    """Its system text and articles, until they are in its sequence; None for a prompt that is read plainly."""
    copy_cells: int = 0
    """Cells that composing will take of its own (layout `sequential` copies every article)."""
    sampler: LlamaSampler | None = None
    """None where nothing is written."""
    lookup: PromptLookup | None = None
    """None where guesses are switched off, or cannot be taken back."""
    guesses: list[int] = field(default_factory=list)
    """Tokens guessed after `next_token`, for the step to come."""
    skipped_steps: int = 0
    """Steps since it was last in a batch."""
    ended: Finish | None = None
    """How a draft that waits for its question has ended; None where it can go on."""

    @property
    def tokens_to_read(self) -> int:
        """Tokens still to be read, those of its articles included."""
        return len(self.unread) + (self.composition.tokens_to_read if self.composition else 0)

    @property
    def reserved_cells(self) -> int:
        """Cells it may yet take, without those of articles that are being read (the article cache reserves them)."""
        most = self.max_tokens
        if self.request.speculative:
            most = min(most, self.request.ahead_tokens)  # for the rest room is made when its question comes
        return self.copy_cells + len(self.unread) + most - self.written

    @property
    def reading_ended(self) -> bool:
        """Whether nothing of its prompt is left to be read."""
        return self.composition is None and not self.unread
