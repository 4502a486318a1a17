"""What a request needs of compiled articles before its own tail can be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from runtime.engine.core.kv_ledger import SequenceLease
from runtime.prompting.prompt_tokens import Layout, Prompt

PACK_SUFFIX = ".pack"


def hash_tokens(tokens: Sequence[int]) -> str:
    """SHA-256 of token ids as little-endian int32."""
    return hashlib.sha256(np.asarray(tokens, dtype="<i4").tobytes()).hexdigest()


@dataclass(frozen=True)
class KvKey:
    """Everything that stored keys and values depend on. Two packs of one key are interchangeable."""

    weights: str
    """SHA-256 of the model file."""
    build: str
    """Of llama.cpp: the format of its state and its arithmetic belong to the build and the processor."""
    kv_type: str
    layout: str
    system: str
    """SHA-256 of the system text's tokens."""
    content: str
    """SHA-256 of the article's tokens, or of everything else that a conversation's turns depend on."""

    @property
    def file_name(self) -> str:
        """Of its pack."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:40] + PACK_SUFFIX


@dataclass(frozen=True)
class ModelIdentity:
    """The part of a `KvKey` that is the same for all packs of an engine."""

    weights: str
    build: str
    kv_type: str
    layout: str

    def key(self, system: str, content: str) -> KvKey:
        """The key of what was computed after a system text (`system`: its hash)."""
        return KvKey(self.weights, self.build, self.kv_type, self.layout, system, content)


@dataclass(frozen=True)
class ComposedPrefix:
    """Key of a sequence whose tokens come after composed articles. Plainly read sequences have the key None."""

    layout: Layout
    system: tuple[int, ...]
    articles: tuple[tuple[int, ...], ...]


@dataclass(eq=False)
class ArticleBuild:
    """An article, or the system text, that is being read for later use. Requests that need the same share one build."""

    key: Hashable
    tokens: tuple[int, ...]
    unread: list[int]
    pack: KvKey | None = None
    """None for a system text, which is kept in memory only."""
    system: ArticleBuild | None = None
    """The system text that has to be read before, where it is being read too."""
    lease: SequenceLease | None = None
    """None until the first of its tokens is read."""
    rank: int | None = None
    """Its place among what is compiled ahead of questions; None once a question waits for it."""
    users: int = 0
    """Requests that wait for it; at 0 it is dropped."""
    done: bool = False
    """Whether its keys and values are in memory: one batch later than `unread` is empty."""

    @property
    def ready(self) -> bool:
        """Whether reading may go on."""
        return self.system is None or self.system.done


@dataclass(eq=False)
class Composition:
    """A prompt's system text and articles on their way into memory."""

    prompt: Prompt
    pinned: list[SequenceLease] = field(default_factory=list)
    """Parts that were in memory already; they must not be evicted before the composition is released."""
    absent: list[tuple[int, ...]] = field(default_factory=list)
    """Articles that were not in memory."""
    builds: list[ArticleBuild] = field(default_factory=list)
    """Parts that have to be read."""
    refused: bool = False
    """Whether an article was not compiled ahead, because the disk has no room for it."""
    reused: int = 0
    """Tokens of the system text and the articles that need not be read."""

    @property
    def ready(self) -> bool:
        """Whether everything was read."""
        return all(build.done for build in self.builds)

    @property
    def tokens_to_read(self) -> int:
        """Tokens of its parts that are not read yet, for every request that shares the builds."""
        return sum(len(build.unread) for build in self.builds)
