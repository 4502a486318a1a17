"""The index for one question: the same sections as Chroma's, without Chroma."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.retrieval.chroma_index import VectorIndex
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.exact_index import FOLDER, ExactIndex
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import load_articles

PARTS = ["section-en-public"] * 30 + ["section-zh-public"] * 20


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    rows = np.random.default_rng(4).normal(size=(len(PARTS), 24)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_exact_index_finds_what_chroma_finds(vectors: NDArray[np.float32], tmp_path: Path) -> None:
    exact = ExactIndex.open(tmp_path, {"of": 1}, PARTS, lambda: vectors)
    chroma = VectorIndex.open(tmp_path, {"of": 1}, PARTS, lambda: vectors)
    asked = vectors[7]
    for part, among in (
        ("section-en-public", None),
        ("section-zh-public", None),
        ("section-en-public", [3, 7, 29]),
        ("section-en-public", []),
    ):
        one, other = exact.nearest(asked, 12, part, among), chroma.nearest(asked, 12, part, among)
        assert [near.row for near in one] == [near.row for near in other]
        assert np.allclose([near.cosine for near in one], [near.cosine for near in other], atol=1e-5)
    assert exact.nearest(asked, 0, "section-en-public") == []
    rows = [44, 2, 7]
    assert exact.cosines(asked, []) == []
    pairs = zip(sorted(exact.cosines(asked, rows)), sorted(chroma.cosines(asked, rows)), strict=True)
    for here, there in pairs:
        assert here.row == there.row
        assert here.cosine == pytest.approx(there.cosine, abs=1e-5)
    chroma.close()
    exact.close()


def test_exact_index_is_made_again_where_it_is_stale_or_damaged_and_only_there(
    vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    made: list[int] = []

    def open_index(of: int, parts: list[str] = PARTS) -> ExactIndex:
        def make() -> NDArray[np.float32]:
            made.append(of)
            return vectors * of

        return ExactIndex.open(tmp_path, {"of": of}, parts, make)

    open_index(1)
    assert np.array_equal(open_index(1).vectors, vectors)
    assert made == [1]
    open_index(2)
    open_index(2, [*PARTS[1:], "asked-en-public"])
    assert made == [1, 2, 2]
    path = tmp_path / FOLDER / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    assert np.array_equal(open_index(2, [*PARTS[1:], "asked-en-public"]).vectors, vectors * 2)
    assert made == [1, 2, 2, 2]
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_retriever_for_one_question_finds_the_same_in_both_languages(
    articles_folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    articles = load_articles(articles_folder)
    with (
        Retriever.build(articles, embedder, tmp_path) as usual,
        Retriever.build(articles, embedder, tmp_path, exact=True) as single,
    ):
        for question, lang in (
            ("How long can I return an item?", "en"),
            ("多长时间内可以退货？", "zh"),
            ("standard delivery €4.90", "fr"),
        ):
            found = [
                [hit.section.ref for hit in each.search(question, lang=lang, limit=3, today=date(2026, 11, 23))]
                for each in (usual, single)
            ]
            assert found[0] == found[1] != []


def test_question_without_a_server_loads_neither_chroma_nor_an_http_client(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    """Both take longer to import than the answer's own model to load; nothing of one question needs them."""
    home = make_home(scripted_gguf)
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom runtime.cli.main import app\n"
        "for question in sys.argv[2:]:\n"
        "    done = CliRunner().invoke(app, ['ask', question, '--home', sys.argv[1]], catch_exceptions=False)\n"
        "    assert '30' in done.stdout, done.output\n"
        "print(sorted({'chromadb', 'httpx', 'textual', 'torch'} & set(sys.modules)))\n"
    )
    questions = ["How long can I return an item after delivery?", "大多数商品多长时间内可以退货？"]
    command = [sys.executable, "-c", program, str(home), *questions]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
