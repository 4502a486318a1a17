"""What an engine is opened with: one object, from the settings of a branch to the process that loads the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from runtime.errors import UsageError
from runtime.prompting.prompt_tokens import LAYOUTS, Layout

KvType = Literal["f16", "q8_0"]
Preference = Literal["writers", "readers"]
"""Whom a step serves first when one answer is written while another prompt is read."""
ArticleCoding = Literal["f16", "q5", "q4"]
"""How compiled articles are kept on disk (`runtime.engine.llama.pack_coding`)."""


@dataclass(frozen=True)
class EngineOptions:
    """Options of `LlamaEngine` and `RemoteEngine`; `UsageError` for a combination that cannot work."""

    model_path: Path
    """The GGUF file."""
    context_tokens: int
    """Prompt and answer of one request together; a model trained on fewer has fewer."""
    threads: int
    slots: int = 4
    """Requests answered together. Each takes `context_tokens` cells; fewer are opened where memory is short."""
    queue_limit: int = 16
    """Requests that may wait for a slot; more are refused."""
    batch_tokens: int = 128
    """Most tokens computed in one step, which is what a cancel may have to wait for."""
    prefer: Preference = "writers"
    """`writers`: answers go on smoothly; `readers`: a new question is read sooner, in steps that take longer."""
    kv_type: KvType = "f16"
    """How keys and values are stored; `q8_0` takes half the memory and cannot be shifted (layout `sequential`)."""
    layout: Layout = "exact"
    """How articles enter a prompt; any other than `exact` needs `article_folder`."""
    article_folder: Path | None = None
    """Where compiled articles are kept."""
    article_bytes: int = 8 << 30
    """Disk for compiled articles; 1,000 of 300 tokens each for a 3B model take as much in q4."""
    article_coding: ArticleCoding = "q4"
    """How they are kept there; a more exact coding is used where the model loses too much in the self-test."""
    session_folder: Path | None = None
    """Where turns of conversations are kept that have no room in memory; None keeps none on disk."""
    session_bytes: int = 1 << 30
    """Disk for turns of conversations."""
    weights_sha256: str = ""
    """SHA-256 of the model file where it is known; it is computed otherwise, if anything is kept on disk."""
    memory_bytes: int | None = None
    """Memory the engine may take; None: what machine and cgroup have left."""
    nice: int = 0
    """Niceness of the engine's own process (0 to 19); an engine inside another process ignores it."""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UsageError(f"there is no layout '{self.layout}'", hint=f"one of {', '.join(LAYOUTS)}")
        if self.layout != "exact" and self.article_folder is None:
            raise UsageError(f"the layout '{self.layout}' needs a folder for compiled articles")
        if self.prefer not in get_args(Preference):
            raise UsageError(f"a step cannot prefer {self.prefer}", hint=f"one of {', '.join(get_args(Preference))}")
        if self.kv_type not in get_args(KvType):
            raise UsageError(
                f"keys and values cannot be kept as {self.kv_type}", hint=f"one of {', '.join(get_args(KvType))}"
            )
        if self.article_coding not in get_args(ArticleCoding):
            raise UsageError(
                f"compiled articles cannot be kept as {self.article_coding}",
                hint=f"one of {', '.join(get_args(ArticleCoding))}",
            )
        # A batch holds a token of every writer and still has room to read.
        if self.batch_tokens < 2 * self.slots:
            raise UsageError(
                f"a batch of {self.batch_tokens} tokens is too small for {self.slots} slots", hint="use fewer slots"
            )
