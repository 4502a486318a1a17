"""Conversations between their questions: turns that must leave the memory are kept on disk, and come back.

Promises: what comes back was computed from just these tokens after just these articles, by this model: a file's name is
a hash of all of it, and its content has a checksum; where anything differs the turns are read again instead. A byte
budget and a maximum age. The packs hold what customers wrote, as token ids, so they are deleted when the engine starts
and when it closes. Files are written in a thread of their own; everything else belongs to the engine's thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.composition import ComposedPrefix, KvKey, ModelIdentity, hash_tokens
from runtime.engine.core.kv_ledger import SequenceLease, common_prefix
from runtime.engine.llama.kv_cache import KvCache
from runtime.engine.llama.kv_store import PackStore
from runtime.errors import ModelError

MIN_TOKENS = 48
"""Fewer tokens are read again sooner than they are written and loaded."""
MAX_AGE_S = 24 * 3600.0
"""A conversation that paused for longer is read again: its words must not outlast the journal's rules by weeks."""


class SessionCache:
    """Turns on disk."""

    def __init__(self, cache: KvCache, store: PackStore, identity: ModelIdentity) -> None:
        self._cache = cache
        self._store = store
        self._identity = identity
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="session-writer")
        self._pending: Future[bool] | None = None
        self.restored_tokens = 0
        """Tokens that came back from disk so far, instead of being read again."""
        store.clear()
        cache.before_eviction(self.save)

    def save(self, lease: SequenceLease) -> None:
        """Keep the turns of a sequence that is about to be evicted. Drops its base: the sequence cannot be used again.

        One write is in flight at a time, and what comes meanwhile is dropped: a queue of copies (230 MB each for a 3B
        model and 2,048 tokens) would eat the very memory that evicting is to free. Only time is lost by dropping.
        """
        writing = self._pending is not None and not self._pending.done()
        if lease.prefetched or lease.conversation is None or len(lease.tokens) < MIN_TOKENS:
            return
        if writing or not self._store.keeps:
            return
        key = self._key(lease.conversation, lease.key)
        self._cache.drop_base(lease)
        try:
            payload = self._cache.model.save(lease.id)
        except (MemoryError, ModelError):
            return  # only time is lost; an exception here would end every answer in work
        tokens = np.asarray([len(lease.tokens), *lease.tokens], dtype="<i4").view(np.uint8)
        self._pending = self._writer.submit(self._store.write, key, (tokens, payload))

    def restore(
        self, conversation: str, lease: SequenceLease, wanted: Sequence[int], *, max_tokens: int, reserved: int
    ) -> int:
        """Fill a sequence that begins with what the conversation had read of the `wanted` tokens.

        Returns how many tokens more than before it holds. The last wanted token is always left to be read, for its
        logits. `max_tokens`: to be written after them. `reserved`: cells already reserved for all of this, which
        therefore need no room of their own.
        """
        data = self._store.read(self._key(conversation, lease.key))
        if data is None:
            return 0
        count = int(data[:4].view("<i4")[0])
        tokens: list[int] = data[4 : 4 * (count + 1)].view("<i4").tolist()
        before = len(lease.tokens)
        shared = min(common_prefix(tokens, wanted), len(wanted) - 1)
        if shared < before + MIN_TOKENS:
            return 0
        # What the lease shared with another sequence until now is in cells of its own afterwards, and for a moment
        # all stored tokens are loaded, also those beyond `shared`: hence room for the longer of the two.
        if not self._cache.make_room(max(len(tokens), len(wanted) + max_tokens) - reserved, 1):
            return 0
        if not self._fill(lease, data[4 * (count + 1) :], tokens, shared):
            return 0
        self.restored_tokens += shared - before
        return shared - before

    def wait_for_write(self) -> None:
        """Wait until nothing is being written."""
        if self._pending is not None:
            self._pending.result()

    def close(self) -> None:
        """Wait for what is being written, then delete everything: nothing a customer wrote outlives the engine."""
        self._writer.shutdown()
        self._store.clear()

    def _fill(self, lease: SequenceLease, payload: NDArray[np.uint8], tokens: Sequence[int], shared: int) -> bool:
        cache = self._cache
        # llama.cpp loads into an empty sequence only, so the turns take the way over one of their own.
        copy = cache.ledger.open()
        loaded = cache.load(copy, payload, tokens, lease.start)
        if loaded:
            cache.truncate(lease, 0)
            cache.adopt(copy, lease)
            cache.truncate(lease, shared)
        cache.release(copy)
        return loaded

    def _key(self, conversation: str, prefix: Hashable) -> KvKey:
        """Of the turns of a conversation after a composed prefix, or of one read plainly (None)."""
        if not isinstance(prefix, ComposedPrefix):
            return self._identity.key("", _hash("plain", conversation))
        articles = (hash_tokens(article) for article in prefix.articles)
        return self._identity.key(hash_tokens(prefix.system), _hash(prefix.layout, conversation, *articles))


def _hash(*words: str) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()
