"""Compiled articles on disk: coded in a thread of their own, expanded when they are read.

Promises: what is read back is a state that llama.cpp loads, as exact as the coding that was asked for, or more; a pack
that is less exact counts as missing and one that is more exact is coded again; the engine's thread waits for coding
only when `PENDING` articles are waiting already. Belongs to the engine's thread but for the writer.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.composition import KvKey
from runtime.engine.core.options import ArticleCoding
from runtime.engine.llama.kv_store import PackStore
from runtime.engine.llama.pack_coding import at_least, encode, expand
from runtime.engine.llama.rotary import Rotation

UNASKED = 1e9
"""The time of use, in seconds as files have them, of what no question has asked for yet: September 2001. What is
compiled ahead later, because it is asked for less, counts as used a second earlier each.
"""
PENDING = 4
"""States that may wait to be written: 120 MB of a 3B model's articles of 270 tokens. Coding one takes 2 s of a core,
reading it 13 s of two, so more than one waits only while a smaller model compiles.
"""

State = NDArray[np.uint8]


class ArticlePacks:
    """A store of packs, seen as states."""

    def __init__(self, store: PackStore, coding: ArticleCoding, rotation: Rotation | None, threads: int) -> None:
        self._store = store
        self.coding = coding
        self._rotation = rotation
        self._threads = threads
        self._pending: dict[KvKey, State] = {}
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(PENDING)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="article-writer")
        self.full = False
        """Whether something that was compiled ahead found no room: what would come after it need not be read."""

    def has(self, key: KvKey) -> bool:
        """Whether there is a state of this article; its pack may still turn out to be damaged."""
        return key in self._pending or self._is_kept(key)

    def check(self, key: KvKey) -> bool:
        """Whether there is one, and its pack is whole. Cheaper than reading: nothing is expanded."""
        return key in self._pending or (self._is_kept(key) and self._store.read(key) is not None)

    def read(self, key: KvKey) -> State | None:
        """The state, or None. One that is still being written is returned as it was computed."""
        with self._lock:
            if (pending := self._pending.get(key)) is not None:
                return pending
        if not self._is_kept(key) or (payload := self._store.read(key)) is None:
            return None
        try:
            state = expand(payload, self._threads)
        except ValueError:  # a whole file that is no payload of this version
            return None
        if self._store.coding(key) != self.coding and self._places.acquire(blocking=False):
            self._submit(key, state)
        return state

    def write(self, key: KvKey, state: State, rank: int | None = None) -> None:
        """Keep a state that was just computed. Until it is on disk it is read from memory.

        `rank`: its place among what is compiled ahead of questions; then nothing is deleted for it that a question
        asked for, or that has an earlier place. None: a question asked for it.
        """
        if self._store.keeps:
            self._places.acquire()
            self._submit(key, state, None if rank is None else UNASKED - rank)

    def wait_for_writes(self) -> None:
        """Wait until nothing is being written."""
        self._writer.submit(lambda: None).result()

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    def _is_kept(self, key: KvKey) -> bool:
        coding = self._store.coding(key)
        return coding is not None and at_least(coding, self.coding)

    def _submit(self, key: KvKey, state: State, last_use: float | None = None) -> None:
        with self._lock:
            self._pending[key] = state
        self._writer.submit(self._write, key, state, last_use)

    def _write(self, key: KvKey, state: State, last_use: float | None) -> None:
        try:
            payload = encode(state, self.coding, self._rotation)
            # The coding is the pack's even where a state cannot be coded: else it would be tried at every reading.
            kept = self._store.write(key, (payload,), coding=self.coding, f16_bytes=state.nbytes, last_use=last_use)
            self.full |= not kept and last_use is not None
        finally:
            with self._lock:
                self._pending.pop(key, None)
            self._places.release()
