"""Drafts ahead of their questions: when one is begun, and what they cost.

    typed text  ->  may it be the whole question?  ->  is anything to spare for a guess?  ->  `TextEngine.draft`

Pure, but for counting what engines report. Knows nothing of prompts, journals and threads that type. That a draft is
shown for its own question only is the engine's promise (`runtime.engine.core.request.Request.fits`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from runtime.errors import EdgedeskError
from runtime.text.sentences import ends_sentence

if TYPE_CHECKING:
    from runtime.engine.core.generation import Generation

LOW_MEMORY_BYTES = 256 << 20
"""With less to be had the weights themselves are about to leave the memory, and a guess would call them back."""

Refusal = Literal["", "off", "loaded", "memory"]


def may_be_whole(text: str, *, paused: bool) -> bool:
    """Whether a question may be typed to its end: its writer paused, or a sentence ended."""
    return ends_sentence(text) or (paused and bool(text.strip()))


def refuse_draft(*, ahead_tokens: int, answering: int, available_bytes: int) -> Refusal:
    """Why no draft is begun now; empty where one is.

    `answering`: answers somebody waits for. A draft would not slow them, but could not go on beside them either, while
    reading ahead can.
    """
    if not ahead_tokens:
        return "off"
    if answering:
        return "loaded"
    return "memory" if available_bytes < LOW_MEMORY_BYTES else ""


@dataclass(frozen=True)
class AheadCounts:
    """What was done before questions came, since the desk was opened."""

    drafts: int = 0
    """Begun."""
    used: int = 0
    """Of these, those whose question came."""
    tokens_written: int = 0
    tokens_used: int = 0
    """Of these, the ones that a question found."""
    processor_s: float = 0.0
    """Processor seconds of the engine, of reading ahead and of writing ahead."""

    @property
    def tokens_wasted(self) -> int:
        """Written, and not used yet: those of a draft that still waits for its question are among them."""
        return max(0, self.tokens_written - self.tokens_used)

    def __add__(self, other: AheadCounts) -> AheadCounts:
        return AheadCounts(
            self.drafts + other.drafts,
            self.used + other.used,
            self.tokens_written + other.tokens_written,
            self.tokens_used + other.tokens_used,
            self.processor_s + other.processor_s,
        )

    def as_dict(self) -> dict[str, int | float]:
        """For `/v1/status`."""
        return {
            "drafts": self.drafts,
            "used": self.used,
            "tokens_written": self.tokens_written,
            "tokens_wasted": self.tokens_wasted,
            "processor_s": round(self.processor_s, 3),
        }


class AheadLedger:
    """Counts what engines did ahead. Safe to call from several threads."""

    def __init__(self) -> None:
        self._counts = AheadCounts()
        self._running: list[Generation] = []
        """Begun, and not counted yet; each ends soon, since a newer one of its conversation ends it."""
        self._lock = threading.Lock()

    def begun(self, generation: Generation, *, draft: bool) -> None:
        """Something is read, or a draft written, ahead."""
        with self._lock:
            self._running.append(generation)
            self._counts = replace(self._counts, drafts=self._counts.drafts + draft)
            self._count_ended()

    def used(self, tokens: int) -> None:
        """A question found so many tokens of its draft written."""
        with self._lock:
            now = self._counts
            self._counts = replace(now, used=now.used + 1, tokens_used=now.tokens_used + tokens)

    def finished(self, generation: Generation) -> bool:
        """Whether it ended as it should; only for one that has ended."""
        with self._lock:
            return _drain(generation)

    def counts(self) -> AheadCounts:
        """The counts now."""
        with self._lock:
            self._count_ended()
            return self._counts

    def _count_ended(self) -> None:
        """The lock is held."""
        running = []
        for generation in self._running:
            if not generation.ended:
                running.append(generation)
            elif _drain(generation):
                stats, now = generation.stats, self._counts
                self._counts = replace(
                    now,
                    tokens_written=now.tokens_written + stats.answer_tokens,
                    processor_s=now.processor_s + stats.processor_s,
                )
        self._running = running


def _drain(generation: Generation) -> bool:
    """Take what is left of one that has ended; False where it ended with an error.

    One thread at a time, or one would wait for the last word that another has taken: the lock of `AheadLedger` is held.
    """
    try:
        for _ in generation.updates():
            pass
    except EdgedeskError:
        return False
    return True
