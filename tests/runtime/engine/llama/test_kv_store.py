"""Packs on disk: complete or absent, within a budget and an age, and readable by their owner only."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.engine.core.composition import KvKey
from runtime.engine.llama.kv_store import KvStore, usage

KEY = KvKey("w", "b", "f16", "parallel", "s", "a")


def test_kv_store_returns_a_pack_complete_or_not_at_all(tmp_path: Path) -> None:
    store = KvStore(tmp_path, 10_000)
    payload = np.arange(256, dtype=np.uint8).repeat(3)
    assert store.write(KEY, (payload,))
    assert np.array_equal(KvStore(tmp_path, 10_000).read(KEY), payload)  # type: ignore[arg-type]
    whole = (tmp_path / KEY.file_name).read_bytes()
    for cut in range(0, len(whole), 37):
        (tmp_path / KEY.file_name).write_bytes(whole[:cut])
        assert KvStore(tmp_path, 10_000).read(KEY) is None
        assert not store.has(KEY)
    for place in range(0, len(whole), 13):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        (tmp_path / KEY.file_name).write_bytes(flipped)
        read = KvStore(tmp_path, 10_000).read(KEY)
        assert read is None or np.array_equal(read, payload)  # a bit of the padding changes nothing


def test_kv_store_keeps_its_budget_by_deleting_what_was_read_longest_ago(tmp_path: Path) -> None:
    store = KvStore(tmp_path, 3000)
    keys = [replace(KEY, content=str(number)) for number in range(3)]
    payload = np.zeros(900, dtype=np.uint8)
    for number, key in enumerate(keys[:2]):
        assert store.write(key, (payload,))
        os.utime(tmp_path / key.file_name, (number, number))
    assert store.read(keys[0]) is not None
    assert store.write(keys[2], (payload,))
    assert [store.has(key) for key in keys] == [True, False, True]
    assert usage(tmp_path)[1] <= 3000
    assert not store.write(KEY, (np.zeros(4000, dtype=np.uint8),))


def test_kv_store_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Part of S13: packs hold the token ids of internal articles, or of what customers wrote."""
    folder = tmp_path / "knowledge"
    folder.mkdir(mode=0o755)  # as an older Edgedesk made it
    store = KvStore(folder, 10_000)
    assert store.write(KEY, (np.zeros(10, dtype=np.uint8),))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / KEY.file_name).stat().st_mode & 0o777 == 0o600


def test_kv_store_deletes_what_was_not_read_for_too_long(tmp_path: Path) -> None:
    store = KvStore(tmp_path, 10_000, max_age_s=60)
    old, new = replace(KEY, content="old"), replace(KEY, content="new")
    for key in (old, new):
        assert store.write(key, (np.zeros(10, dtype=np.uint8),))
    hour_ago = time.time() - 3600
    os.utime(tmp_path / old.file_name, (hour_ago, hour_ago))
    assert store.write(KEY, (np.zeros(10, dtype=np.uint8),))
    assert [store.has(key) for key in (old, new, KEY)] == [False, True, True]


def test_kv_store_ignores_packs_of_an_older_format(tmp_path: Path) -> None:
    store = KvStore(tmp_path, 10_000)
    assert store.write(KEY, (np.zeros(10, dtype=np.uint8),))
    path = tmp_path / KEY.file_name
    path.write_bytes(b"EDGEPACK" + path.read_bytes()[8:])
    assert KvStore(tmp_path, 10_000).read(KEY) is None


def test_kv_store_clear_deletes_packs_and_what_a_killed_process_left_of_one(tmp_path: Path) -> None:
    store = KvStore(tmp_path, 10_000)
    assert store.write(KEY, (np.zeros(10, dtype=np.uint8),))
    (tmp_path / f".{KEY.file_name}.x1y2").write_bytes(b"half")
    store.clear()
    assert list(tmp_path.iterdir()) == []
