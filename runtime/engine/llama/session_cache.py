"""Conversations between their questions: turns that must leave the memory are kept on disk, and come back.

Promises: what comes back was computed from just these tokens behind just these articles, by this model: the name of a
file is a hash of everything, and its content has a checksum; whatever is wrong with it, the turns are read again
instead. A byte budget; the folder is emptied at every start, so nothing a customer said outlives the engine. Writing
is done beside the engine's thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.composition import SUFFIX, KvKey
from runtime.engine.core.kv_ledger import SequenceLease, common_prefix
from runtime.engine.llama.kv_cache import KvCache
from runtime.engine.llama.kv_store import KvStore, tokens_hash

LEAST_TOKENS = 48
"""Fewer are read again sooner than they are written and loaded."""

Identify = Callable[[str, str, str], KvKey]


class SessionCache:
    """Turns on disk. All but the writing belongs to the engine's thread."""

    def __init__(self, memory: KvCache, store: KvStore, identify: Identify) -> None:
        """`identify`: (adapter, hash of the system text, hash of everything else) to a key."""
        self._memory = memory
        self._store = store
        self._identify = identify
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="talks")
        store.folder.chmod(0o700)
        for path in store.folder.glob(f"*{SUFFIX}"):
            path.unlink(missing_ok=True)
        memory.leaving = self.leave

    def leave(self, held: SequenceLease) -> None:
        """The sequence is about to be forgotten: keep its turns."""
        if held.ahead or held.conversation is None or len(held.tokens) < LEAST_TOKENS:
            return
        key = self._key(held.conversation, held.key)
        self._memory.drop_base(held)
        payload = self._memory.model.save(held.id)
        tokens = np.asarray([len(held.tokens), *held.tokens], dtype="<i4").view(np.uint8)
        self._writer.submit(self._store.write, key, np.concatenate([tokens, payload]))

    def recall(
        self, conversation: str, held: SequenceLease, wanted: Sequence[int], *, limit: int, promised: int
    ) -> int:
        """Fill a sequence that is being begun with what the conversation had read of the wanted tokens.

        Returns how many tokens more than before it now holds. The last one wanted is always left to be read. `limit`:
        tokens to be written behind them; `promised`: cells that the ledger has set apart for all this already.
        """
        data = self._store.read(self._key(conversation, held.key))
        if data is None:
            return 0
        count = int(data[:4].view("<i4")[0])
        tokens: list[int] = data[4 : 4 * (count + 1)].view("<i4").tolist()
        before = len(held.tokens)
        shared = min(common_prefix(tokens, wanted), len(wanted) - 1)
        if shared < before + LEAST_TOKENS:
            return 0
        # What it shared with another sequence until now is in cells of its own afterwards; what is loaded beyond
        # what is wanted is cut off again.
        if not self._memory.make_room(max(len(tokens), len(wanted) + limit) - promised, 1):
            return 0
        return shared - before if self._fill(held, data[4 * (count + 1) :], tokens, shared) else 0

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    def _fill(self, held: SequenceLease, payload: NDArray[np.uint8], tokens: Sequence[int], shared: int) -> bool:
        memory = self._memory
        copy = memory.ledger.open()
        fits = memory.load(copy, payload, tokens, held.start)
        if fits:
            memory.cut(held, 0)
            memory.adopt(copy, held)
            memory.cut(held, shared)
        memory.forget(copy)
        return fits

    def _key(self, conversation: str, key: Hashable) -> KvKey:
        """A sequence's key is its adapter, or what `Articles.key` makes of a composed prompt."""
        if isinstance(key, str):
            return self._identify(key, "", _hash("plain", conversation))
        assert isinstance(key, tuple)
        _, layout, adapter, system, articles = key
        return self._identify(
            adapter, tokens_hash(system), _hash(layout, conversation, *(tokens_hash(one) for one in articles))
        )


def _hash(*words: str) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()
