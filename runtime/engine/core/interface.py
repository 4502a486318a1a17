"""What every engine offers, whatever computes inside it: llama.cpp here or in a process of its own, or onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtime.engine.core.crash_report import CrashReport
from runtime.engine.core.generation import Flag, Generation
from runtime.engine.core.sampling_params import SamplingParams
from runtime.prompting.prompt_spec import Tokenizer
from runtime.prompting.prompt_tokens import Layout, Prompt


class Vocabulary(Tokenizer, Protocol):
    """A vocabulary as prompts need it."""

    def control_token(self, text: str) -> int:
        """The one token of a control string; `ModelError` when there is none."""
        ...


class TextEngine(Protocol):
    """See `runtime.engine.core.scheduler.Scheduler` for what each call promises."""

    @property
    def vocab(self) -> Vocabulary:
        """The model's vocabulary, for laying out prompts."""
        ...

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together."""
        ...

    layout: Layout
    layout_reason: str
    """Why `layout` is not the one that was asked for; empty when it is."""
    slots: int
    """Answers written at the same time."""

    @property
    def answering(self) -> int:
        """Answers that somebody waits for, begun or not."""
        ...

    def generate(
        self, prompt: Sequence[int] | Prompt, params: SamplingParams, cancel: Flag, *, conversation: str | None = None
    ) -> Generation:
        """Queue a request for an answer."""
        ...

    def prefetch(self, prompt: Prompt, cancel: Flag, *, conversation: str) -> Generation:
        """Read the beginning of a question that is still being typed, while nothing else is to be done."""
        ...

    def draft(
        self, prompt: Prompt, params: SamplingParams, cancel: Flag, *, conversation: str, ahead_tokens: int
    ) -> Generation:
        """Begin the answer to a question that may never come, while nobody waits for anything."""
        ...

    def compile(self, prompt: Prompt, cancel: Flag) -> Generation:
        """Compile an article, while nothing else is to be done."""
        ...

    def forget(self, conversation: str) -> None:
        """Drop what was read and written ahead for a conversation."""
        ...

    def refuses(self, prompt: Prompt) -> bool:
        """Whether the engine would not try this prompt now, since its process crashed each time it did."""
        ...

    def crash_report(self) -> CrashReport:
        """Crashes of its process by kind of work; all 0 where it has no process of its own."""
        ...

    def close(self) -> None:
        """End the engine; everything in work ends with `UnavailableError`."""
        ...
