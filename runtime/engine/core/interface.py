"""What every engine offers, whatever writes behind it: llama.cpp here or in a process of its own, or onnxruntime."""

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
    """See `runtime.engine.llama.engine.Engine` for what each promises."""

    @property
    def vocab(self) -> Vocabulary:
        """For laying out prompts."""
        ...

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together."""
        ...

    layout: Layout
    layout_reason: str
    slots: int

    def generate(
        self,
        prompt: Sequence[int] | Prompt,
        params: SamplingParams,
        cancel: Flag,
        *,
        deadline_s: float | None = None,
        conversation: str | None = None,
    ) -> Generation:
        """Queue a request."""
        ...

    def prepare(self, prompt: Prompt, cancel: Flag, *, conversation: str, adapter: str = "") -> Generation:
        """Read ahead."""
        ...

    def compile(self, prompt: Prompt, cancel: Flag, *, adapter: str = "") -> Generation:
        """Compile an article."""
        ...

    def forget(self, conversation: str) -> None:
        """Drop what was read ahead."""
        ...

    def crash_report(self) -> CrashReport:
        """Crashes of its process by kind of work; all 0 where it has no process of its own."""
        ...

    def close(self) -> None:
        """End."""
        ...
