"""Shipped vectors are the embedder's own, for the very texts they were made from, and for nothing else."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.retrieval.embedder import Embedder
from runtime.retrieval.shipped_vectors import VECTORS_FILE, read_vectors, write_vectors

TEXTS = [
    "You may return it within 30 days.",
    "30天内可以退货。",
    "",
    "\ud800 lone",
    "You may return it within 30 days.",
]


@pytest.fixture(scope="module")
def shipped(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / VECTORS_FILE
    assert write_vectors(path, embedder, TEXTS) == 4
    return path


def test_shipped_vectors_are_what_the_embedder_gives_to_half_precision(embedder: Embedder, shipped: Path) -> None:
    heard: list[int] = []
    got = read_vectors(embedder, TEXTS, shipped, lambda done, _: heard.append(done))
    assert heard == []
    assert got.dtype == np.float32
    assert np.abs(got - embedder.passages(TEXTS)).max() < 5e-4
    assert np.allclose(np.linalg.norm(got[:2], axis=1), 1, atol=1e-6)


def test_only_what_is_not_shipped_is_computed(embedder: Embedder, shipped: Path) -> None:
    heard: list[tuple[int, int]] = []
    texts = ["new", TEXTS[1], "另一个"]
    got = read_vectors(embedder, texts, shipped, lambda done, total: heard.append((done, total)))
    assert heard[-1] == (2, 2)
    assert np.abs(got - embedder.passages(texts)).max() < 5e-4
    assert (read_vectors(embedder, texts, None) == embedder.passages(texts)).all()


def test_vectors_of_another_embedder_are_not_taken(embedder_folder: Path, shipped: Path, tmp_path: Path) -> None:
    other = shutil.copytree(embedder_folder, tmp_path / "other")
    (other / "embedder.json").write_text((other / "embedder.json").read_text().replace("512", "511"))
    heard: list[int] = []
    read_vectors(Embedder(other, threads=1), TEXTS, shipped, lambda done, _: heard.append(done))
    assert heard[-1] == len(TEXTS)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle ran')",)


def npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        pickle.dumps(Payload()),
        npy(np.array([Payload()], dtype=object)),
        npy(np.zeros((3, 32), dtype=np.float16)),
        npy(np.zeros(2, dtype=[("key", "V16"), ("vector", "<f2", (31,))])),
        npy(np.zeros(2, dtype=[("key", "V16"), ("vector", "<f2", (32,))]))[:-8],
        npy(np.zeros(1, dtype=[("key", "V16"), ("vector", "<f2", (32,))])).replace(b"(1,)", b"(9,)"),
    ],
)
def test_a_file_of_another_form_is_left_aside(embedder: Embedder, tmp_path: Path, data: bytes) -> None:
    (tmp_path / VECTORS_FILE).write_bytes(data)
    assert (read_vectors(embedder, TEXTS, tmp_path / VECTORS_FILE) == embedder.passages(TEXTS)).all()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_damage_gives_anything_but_finite_vectors(
    embedder: Embedder, shipped: Path, tmp_path: Path, place: float, bit: int
) -> None:
    data = bytearray(shipped.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    (tmp_path / VECTORS_FILE).write_bytes(data)
    got = read_vectors(embedder, TEXTS, tmp_path / VECTORS_FILE)
    assert np.isfinite(got).all()
    assert np.allclose(np.linalg.norm(got[:2], axis=1), 1, atol=1e-5)
