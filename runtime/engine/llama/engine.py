"""llama.cpp's engine: a model, the articles compiled for it and its conversations, behind a line.

Promises besides the line's: requests at work are computed together, a token each a step. Knows nothing of prompts'
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from runtime.base.files import sha256_file
from runtime.engine.core.composition import KvKey
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.scheduler import QUEUE_LIMIT, Scheduler
from runtime.engine.llama.article_cache import ArticleCache
from runtime.engine.llama.bindings import build_of_llama
from runtime.engine.llama.kv_store import KvStore
from runtime.engine.llama.model import KV_TYPES, LlamaModel
from runtime.engine.llama.runner import LlamaRunner
from runtime.engine.llama.sampler import LlamaSampler
from runtime.engine.llama.session_cache import SessionCache
from runtime.engine.llama.vocab import LlamaVocabulary
from runtime.errors import UsageError
from runtime.prompting.prompt_tokens import LAYOUTS, Layout

BATCH_TOKENS = 128
"""Tokens computed in one step: the most a cancel may have to wait for."""
SLOTS = 4
"""Requests answered together; each adds a context of its own to the memory."""
PACK_BYTES = 8 << 30
"""Compiled articles on disk; 800 of 90 tokens for a 3B model take as much in f16."""
TALK_BYTES = 1 << 30
"""Turns of conversations on disk."""
IDLE_SEQUENCES = 28
"""Prompts kept in memory, room allowing, because a later one may begin like them."""


class LlamaEngine(Scheduler):
    """Loads a model and answers requests until it is closed."""

    _runner: LlamaRunner

    def __init__(
        self,
        model_path: Path,
        *,
        context_tokens: int,
        threads: int,
        slots: int = SLOTS,
        queue_limit: int = QUEUE_LIMIT,
        batch_tokens: int = BATCH_TOKENS,
        kv_type: str = "f16",
        adapters: Mapping[str, Path] | None = None,
        layout: Layout = "exact",
        folder: Path | None = None,
        pack_bytes: int = PACK_BYTES,
        talk_folder: Path | None = None,
        talk_bytes: int = TALK_BYTES,
        weights: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        """Load the model; fewer slots than asked for where memory is short (`slots`).

        `adapters`: LoRA files by the names that requests use. `layout` other than `exact` needs a `folder`, where
        compiled articles take at most `pack_bytes`. `talk_folder`: for conversations' turns that have no room
        in memory, at most `talk_bytes`; emptied at the start. `weights`: SHA-256 of the model file where it is known.
        """
        if layout not in LAYOUTS:
            raise UsageError(f"there is no layout '{layout}'", hint=f"one of {', '.join(LAYOUTS)}")
        if layout != "exact" and folder is None:
            raise UsageError(f"the layout '{layout}' needs a folder for compiled articles")
        if kv_type not in KV_TYPES:
            raise UsageError(f"keys and values cannot be kept as {kv_type}", hint=f"one of {', '.join(KV_TYPES)}")
        if batch_tokens < 2 * slots:
            raise UsageError(f"a batch of {batch_tokens} tokens is too small for {slots} slots", hint="use fewer slots")
        self._model = LlamaModel(
            model_path,
            context_tokens=context_tokens,
            slots=slots,
            sequences=slots + IDLE_SEQUENCES,
            threads=threads,
            batch_tokens=batch_tokens,
            kv_type=kv_type,
            adapters=adapters,
            memory_bytes=memory_bytes,
        )
        runner = LlamaRunner(self._model, slots=self._model.slots, sequences=slots + IDLE_SEQUENCES)
        if folder is not None or talk_folder is not None:
            hashes = {name: sha256_file(path) for name, path in (adapters or {}).items()}
            identify = partial(_identify, weights or sha256_file(model_path), hashes, kv_type, layout)
        if layout != "exact" and folder is not None:
            articles = ArticleCache(runner.memory, layout, KvStore(folder, pack_bytes), identify)
            runner.articles = articles
            self.layout, self.layout_reason = articles.layout, articles.reason
        if talk_folder is not None:
            runner.talks = SessionCache(runner.memory, KvStore(talk_folder, talk_bytes), identify)
        self._talks = runner.talks
        super().__init__(
            runner,
            context_tokens=self._model.context_tokens,
            queue_limit=queue_limit,
            adapters=self._model.adapters,
        )

    @property
    def vocab(self) -> LlamaVocabulary:
        """The model's vocabulary, for laying out prompts."""
        return self._model.vocab

    def _sampler(self, params: SamplingParams) -> LlamaSampler:
        return LlamaSampler(self._model.vocab, params)

    def _free(self) -> None:
        if self._talks is not None:
            self._talks.close()
        self._model.close()


def _identify(
    weights: str, adapters: Mapping[str, str], kv_type: str, layout: str, adapter: str, system: str, article: str
) -> KvKey:
    """What an article's keys and values depend on; `adapters`: hashes by name."""
    return KvKey(weights, adapters.get(adapter, ""), build_of_llama(), kv_type, True, layout, system, article)
