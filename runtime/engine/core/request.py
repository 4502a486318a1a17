"""A request of the engine, and what is known of it while it is being computed. Knows nothing of any library's calls."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from runtime.engine.core.detokenizer import Detokenizer
from runtime.engine.core.generation import Finish, Generation, Place, Progress, Stats, TextPiece
from runtime.engine.core.stop_strings import StopStrings
from runtime.prompting.prompt_tokens import Layout, Prompt

PROGRESS_EVERY_S = 0.1
"""A waiting reader hears at most this often how much of the prompt is read."""

Task = Literal["generate", "prefetch", "draft", "compile"]


class TokenText(Protocol):
    """What a vocabulary says of its tokens."""

    def piece(self, token: int) -> bytes:
        """A token's bytes; control tokens have none."""
        ...

    def ends(self, token: int) -> bool:
        """Whether the model itself says that this token ends an answer."""
        ...


@dataclass(frozen=True)
class Request:
    """What is asked of the engine."""

    generation: Generation
    prompt: Prompt
    task: Task = "generate"
    conversation: str | None = None
    """Whose question it is; what was read ahead for it is dropped when its question comes."""
    ahead_tokens: int = 0
    """Of a draft: tokens that may be written before its question comes."""

    @property
    def background(self) -> bool:
        """Whether it is done only while no answer is waited for."""
        return self.task != "generate"

    @property
    def speculative(self) -> bool:
        """Whether it writes what nobody has asked for: it has no row in a step that anybody waits for."""
        return self.task == "draft"

    def fits(self, other: Request) -> bool:
        """Whether both have the same answer: every token of the prompt, and how the next ones are chosen."""
        mine, others = self.generation.params, other.generation.params
        return self.conversation == other.conversation and self.prompt == other.prompt and mine == others


@dataclass(eq=False)
class ActiveRequest:
    """A request that has begun."""

    request: Request
    max_tokens: int
    """Tokens it may write: what was asked for, or what the context leaves; 0 where nothing is written."""
    unread: list[int]
    """Prompt tokens still to be read."""
    reused: int = 0
    """Prompt tokens that were in memory already."""
    layout: Layout = "exact"
    layout_reason: str = ""
    started: float = field(default_factory=time.monotonic)
    next_token: int = -1
    """The token chosen last, whose keys and values are not computed yet."""
    written: int = 0
    """Tokens of the answer so far."""
    written_ahead: int = 0
    """Of these, the ones that were there when the question came."""
    processor_s: float = 0.0
    """Processor seconds so far: of every step, its share by rows."""
    _held: list[str] = field(default_factory=list)
    """Text of a draft that nobody has asked for: it leaves this object only in `take_over`."""
    _detokenizer: Detokenizer = field(default_factory=Detokenizer)
    _first_token_at: float = 0.0
    _last_token_at: float = 0.0
    _progress_sent_at: float = 0.0

    def __post_init__(self) -> None:
        self._stop_strings = StopStrings(self.request.generation.params.stop_strings)

    @property
    def tokens_to_read(self) -> int:
        """Prompt tokens that have to be computed before the first token can be chosen."""
        return len(self.unread)

    def accept(self, token: int, vocab: TokenText) -> Finish | None:
        """Take the token that was chosen and show its text; returns how the answer ends with it, or None."""
        params = self.request.generation.params
        self.next_token, self._last_token_at = token, time.monotonic()
        self._first_token_at = self._first_token_at or self._last_token_at
        if token in params.stop or vocab.ends(token):
            return "stop"
        self.written += 1
        self._emit(self._stop_strings.feed(self._detokenizer.feed(vocab.piece(token))))
        if self._stop_strings.found:
            return "stop"
        return "length" if self.written >= self.max_tokens else None

    def finish(self, finish: Finish) -> float:
        """Show what was held back and hand over the statistics; returns the seconds since it began."""
        self._emit(self._stop_strings.rest())
        self.report(finish)
        return time.monotonic() - self.started

    def report(self, finish: Finish) -> None:
        """Hand over the statistics alone; for a draft that waits for its question."""
        generation, first, last = self.request.generation, self._first_token_at, self._last_token_at
        # The first token, or all that were there when the question came, took no time that this rate is about.
        timed = self.written - max(1, self.written_ahead)
        generation.put(
            Stats(
                prompt_tokens=len(generation.tokens),
                reused_tokens=self.reused,
                answer_tokens=self.written,
                queued_s=self.started - generation.submitted,
                ttft_s=first - generation.submitted if first else 0.0,
                # A clock too coarse to tell two tokens apart gives no rate.
                tokens_per_s=timed / (last - first) if timed > 0 and last > first else 0.0,
                finish=finish,
                layout=self.layout,
                layout_reason=self.layout_reason,
                ahead_tokens=self.written_ahead,
                processor_s=self.processor_s,
            )
        )

    def take_over(self, request: Request) -> None:
        """Go on as the answer to the question whose draft this is; what is written of it is shown at once."""
        held, self._held = "".join(self._held), []
        self.request, self.started, self.processor_s = request, time.monotonic(), 0.0
        self.reused = len(request.generation.tokens) - self.tokens_to_read
        self.written_ahead = self.written
        self._first_token_at = self._last_token_at = self.started if self.written else 0.0
        self._progress_sent_at = 0.0
        request.generation.put(Place(0))  # its turn has come before its first text
        self.report_progress()
        self._emit(held)

    def report_progress(self) -> None:
        """Say how much of the prompt is read: every `PROGRESS_EVERY_S`, and when all of it is."""
        now, generation = time.monotonic(), self.request.generation
        if not self.tokens_to_read or now - self._progress_sent_at >= PROGRESS_EVERY_S:
            self._progress_sent_at = now
            total = len(generation.tokens)
            generation.put(Progress(total - self.tokens_to_read, total))

    def _emit(self, text: str) -> None:
        if text and self.request.speculative:
            self._held.append(text)
        elif text:
            self.request.generation.put(TextPiece(text))
