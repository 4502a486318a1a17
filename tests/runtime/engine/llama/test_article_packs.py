"""Compiled articles on disk: small, read back as states, and computed again where anything is doubtful."""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from runtime.engine.core.composition import KvKey
from runtime.engine.core.options import ArticleCoding
from runtime.engine.llama.article_packs import PENDING, ArticlePacks
from runtime.engine.llama.kv_store import MAGIC, MAGIC_BEFORE, KvStore, NoKvStore, usage
from tests.support.kv_states import SMOLLM2, differences, make_state

KEY = KvKey("w", "b", "f16", "parallel", "s", "a")
STATE = make_state(SMOLLM2, 200)


def packs(folder: Path, coding: ArticleCoding = "q4") -> ArticlePacks:
    return ArticlePacks(KvStore(folder, 1 << 30), coding, SMOLLM2.rotation(), threads=1)


def write(folder: Path, coding: ArticleCoding) -> Path:
    first = packs(folder, coding)
    first.write(KEY, STATE)
    first.close()
    return folder / KEY.file_name


def as_before(path: Path) -> None:
    """Make a pack what the version before wrote: another magic, a header without a coding."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, len(MAGIC))
    start = len(MAGIC) + 4 + length
    header = json.loads(data[len(MAGIC) + 4 : start])
    payload = data[start + -start % 64 :]
    old = json.dumps({"key": asdict(KEY), "bytes": header["bytes"], "sha256": header["sha256"]}).encode()
    head = MAGIC_BEFORE + struct.pack("<I", len(old)) + old
    path.write_bytes(head + bytes(-len(head) % 64) + payload)


@pytest.mark.parametrize("coding", ["f16", "q5", "q4"])
def test_article_packs_read_back_what_they_were_given(tmp_path: Path, coding: ArticleCoding) -> None:
    path = write(tmp_path, coding)
    again = packs(tmp_path, coding)
    assert again.has(KEY)
    assert again.check(KEY)
    state = again.read(KEY)
    assert state is not None
    assert max(differences(STATE, state)) < {"f16": 1e-9, "q5": 0.05, "q4": 0.2}[coding]
    used = usage(tmp_path)
    assert used.bytes == path.stat().st_size
    assert used.share < {"f16": 1.01, "q5": 0.37, "q4": 0.26}[coding]
    again.close()


def test_article_packs_read_a_state_that_is_still_being_written(tmp_path: Path) -> None:
    class Slow(KvStore):
        let_go = threading.Event()

        def write(self, *args: object, **more: object) -> bool:
            self.let_go.wait()
            return super().write(*args, **more)  # type: ignore[arg-type]

    store = Slow(tmp_path, 1 << 30)
    slow = ArticlePacks(store, "q4", SMOLLM2.rotation(), threads=1)
    slow.write(KEY, STATE)
    assert slow.has(KEY)
    assert slow.check(KEY)
    assert slow.read(KEY) is STATE
    assert not store.has(KEY)
    store.let_go.set()
    slow.wait_for_writes()
    assert store.has(KEY)
    assert slow.read(KEY) is not STATE
    slow.close()


def test_article_packs_of_the_version_before_are_read_and_coded_again(tmp_path: Path) -> None:
    path = write(tmp_path, "f16")
    as_before(path)
    large = path.stat().st_size
    assert usage(tmp_path).share == pytest.approx(1.0)
    later = packs(tmp_path)
    state = later.read(KEY)
    assert state is not None
    assert np.array_equal(state, STATE)
    later.close()  # it is coded in the background
    assert path.stat().st_size < 0.26 * large
    assert packs(tmp_path).read(KEY) is not None


def test_article_packs_less_exact_than_wanted_count_as_missing(tmp_path: Path) -> None:
    write(tmp_path, "q4")
    finer = packs(tmp_path, "q5")
    assert not finer.has(KEY)
    assert not finer.check(KEY)
    assert finer.read(KEY) is None
    finer.write(KEY, STATE)
    finer.close()
    state = packs(tmp_path, "q5").read(KEY)
    assert state is not None
    assert differences(STATE, state)[1] < 0.05


@pytest.mark.parametrize("coding", ["q5", "q4"])
def test_article_packs_refuse_damaged_and_cut_files(tmp_path: Path, coding: ArticleCoding) -> None:
    """Part of F5: a flipped bit in a coded pack must not become a wrong key."""
    path = write(tmp_path, coding)
    whole = path.read_bytes()
    for cut in (0, 7, 40, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert packs(tmp_path, coding).read(KEY) is None
    for place in range(0, len(whole), len(whole) // 23):
        flipped = bytearray(whole)
        flipped[place] ^= 16
        path.write_bytes(flipped)
        state = packs(tmp_path, coding).read(KEY)
        assert state is None or max(differences(STATE, state)) < 0.2  # a bit of the padding changes nothing
    path.write_bytes(whole)
    assert packs(tmp_path, coding).read(KEY) is not None


def test_article_packs_without_a_folder_keep_nothing_and_wait_for_nothing() -> None:
    none = ArticlePacks(NoKvStore(), "q4", SMOLLM2.rotation(), threads=1)
    for number in range(2 * PENDING):
        none.write(replace(KEY, content=str(number)), STATE)
    assert not none.has(KEY)
    assert none.read(KEY) is None
    none.close()


def test_article_packs_wait_for_a_place_instead_of_taking_memory_without_end(tmp_path: Path) -> None:
    many = packs(tmp_path)
    keys = [replace(KEY, content=str(number)) for number in range(3 * PENDING)]
    for key in keys:
        many.write(key, STATE)
        assert len(many._pending) <= PENDING
    many.close()
    assert all(packs(tmp_path).has(key) for key in keys)
