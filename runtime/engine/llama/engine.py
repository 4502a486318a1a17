"""llama.cpp's engine: a model, the articles compiled for it and its conversations, behind a `Scheduler`.

Promises besides the scheduler's: active requests are computed together, one token each a step. Knows nothing of the
words of prompts.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.base.files import sha256_file
from runtime.engine.core.composition import ModelIdentity
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.scheduler import Scheduler
from runtime.engine.llama.article_cache import ArticleCache
from runtime.engine.llama.article_packs import ArticlePacks
from runtime.engine.llama.bindings import build_of_llama
from runtime.engine.llama.kv_cache import KvCache
from runtime.engine.llama.kv_store import KvStore, NoKvStore
from runtime.engine.llama.model import LlamaModel
from runtime.engine.llama.runner import LlamaRunner
from runtime.engine.llama.sampler import LlamaSampler
from runtime.engine.llama.self_test import examine_once
from runtime.engine.llama.session_cache import MAX_AGE_S, SessionCache
from runtime.engine.llama.vocab import LlamaVocabulary

IDLE_SEQUENCES = 28
"""Prompts kept in memory, room allowing, because a later one may have the same beginning."""


class LlamaEngine(Scheduler):
    """Loads a model in this process and answers requests until it is closed."""

    backend: LlamaRunner

    def __init__(
        self, options: EngineOptions, *, make_sampler: Callable[[SamplingParams], LlamaSampler] = LlamaSampler
    ) -> None:
        """Load the model; fewer slots than asked for where memory is short (`slots`).

        Raises `MissingError` or `ModelError` for a file that cannot be used. `make_sampler` chooses an answer's tokens.
        """
        max_sequences = options.slots + IDLE_SEQUENCES
        self._model = LlamaModel(
            options.model_path,
            context_tokens=options.context_tokens,
            slots=options.slots,
            sequences=max_sequences,
            threads=options.threads,
            batch_tokens=options.batch_tokens,
            kv_type=options.kv_type,
            memory_bytes=options.memory_bytes,
        )
        cache = KvCache(self._model, max_sequences)
        identity = _identify(options)
        article_folder = options.article_folder if options.layout != "exact" else None
        article_store = KvStore(article_folder, options.article_bytes) if article_folder else NoKvStore()
        verdict = examine_once(self._model, identity, options.layout, options.article_coding, article_folder)
        self.layout, self.layout_reason = verdict.layout, verdict.reason
        self.article_coding, self.article_coding_reason = verdict.coding, verdict.coding_reason
        self._packs = ArticlePacks(article_store, verdict.coding, self._model.rotation(), options.threads)
        articles = ArticleCache(cache, verdict, self._packs, identity)
        folder = options.session_folder
        session_store = KvStore(folder, options.session_bytes, max_age_s=MAX_AGE_S) if folder else NoKvStore()
        self._sessions = SessionCache(cache, session_store, identity)
        runner = LlamaRunner(
            self._model,
            cache,
            articles,
            self._sessions,
            slots=self._model.slots,
            prefer=options.prefer,
            make_sampler=make_sampler,
        )
        super().__init__(runner, context_tokens=self._model.context_tokens, queue_limit=options.queue_limit)

    @property
    def vocab(self) -> LlamaVocabulary:
        """The model's vocabulary, for laying out prompts."""
        return self._model.vocab

    def _free(self) -> None:
        self._packs.close()
        self._sessions.close()
        self._model.close()


def _identify(options: EngineOptions) -> ModelIdentity:
    """What this engine's packs have in common. Hashing the weights takes seconds, so only where packs are kept."""
    keeps = options.article_folder is not None or options.session_folder is not None
    weights = options.weights_sha256 or (sha256_file(options.model_path) if keeps else "")
    return ModelIdentity(weights, build_of_llama(), options.kv_type, options.layout)
