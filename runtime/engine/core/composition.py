"""What a request needs of compiled articles before its own tail can be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field

from runtime.engine.core.kv_ledger import SequenceLease
from runtime.prompting.prompt_tokens import Prompt

SUFFIX = ".pack"


@dataclass(frozen=True)
class KvKey:
    """Everything keys and values depend on."""

    weights: str
    """SHA-256 of the model file."""
    adapter: str
    """SHA-256 of the LoRA file; empty without one."""
    build: str
    """Of llama.cpp: the format of the state belongs to it."""
    kv_type: str
    flash_attention: bool
    layout: str
    system: str
    """SHA-256 of the system text's tokens."""
    article: str
    """SHA-256 of the article's tokens."""

    @property
    def name(self) -> str:
        """Of its file."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:40] + SUFFIX


@dataclass(eq=False)
class ArticleBuild:
    """An article, or the system text, that is being read for later use."""

    key: Hashable
    tokens: tuple[int, ...]
    left: list[int]
    pack: KvKey | None = None
    """None for a system text."""
    system: ArticleBuild | None = None
    """What must be read before."""
    held: SequenceLease | None = None
    users: int = 0
    done: bool = False
    """Whether its keys and values are in memory: a batch later than nothing is left."""

    @property
    def ready(self) -> bool:
        """Whether reading may go on."""
        return self.system is None or self.system.done


@dataclass(eq=False)
class Composition:
    """What a request needs before its own tail can be read."""

    prompt: Prompt
    adapter: str
    pinned: list[SequenceLease] = field(default_factory=list)
    """In memory already."""
    absent: list[tuple[int, ...]] = field(default_factory=list)
    """Articles that are not."""
    builds: list[ArticleBuild] = field(default_factory=list)
    reused: int = 0
    """Tokens of the system text and the articles that need not be read."""

    @property
    def ready(self) -> bool:
        """Whether everything was read."""
        return all(build.done for build in self.builds)
