from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import EdgedeskError, InputError, MissingError, ModelError
from runtime.retrieval.embedder import BATCH_TOKENS, Embedder, plan_batches

TEXTS = ["How long can I return it?", "标准配送费是多少？", "", "NL-17", "x" * 3000, "退货" * 50]


def test_vectors_have_length_one_and_their_promised_shape(embedder: Embedder) -> None:
    for vectors in (embedder.queries(TEXTS), embedder.passages(TEXTS)):
        assert vectors.shape == (len(TEXTS), 32)
        assert vectors.dtype == np.float32
        norms = np.linalg.norm(vectors, axis=1)
        assert np.allclose(norms[[0, 1, 3, 4, 5]], 1, atol=1e-5)
    assert embedder.queries([]).shape == (0, 32)


def test_a_vector_does_not_depend_on_its_batch(embedder: Embedder) -> None:
    together = embedder.passages(TEXTS)
    alone = np.concatenate([embedder.passages([text]) for text in TEXTS])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(embedder.passages(TEXTS[::-1])[::-1], together, atol=1e-5)


def test_what_reads_alike_lies_near_in_both_scripts(embedder: Embedder) -> None:
    passages = embedder.passages(["standard delivery costs money", "标准配送费为4.90欧元", "warranty of two years"])
    assert (passages @ embedder.queries(["delivery cost"])[0]).argmax() == 0
    assert (passages @ embedder.queries(["配送费"])[0]).argmax() == 1


def test_prefixes_are_put_before_queries_and_passages(embedder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "编码器"
    shutil.copytree(embedder_folder, folder)
    spec = json.loads((folder / "embedder.json").read_text())
    (folder / "embedder.json").write_text(
        json.dumps({**spec, "query_prefix": "query: ", "passage_prefix": "passage: "})
    )
    prefixed, plain = Embedder(folder, threads=1), Embedder(embedder_folder, threads=1)
    assert np.allclose(prefixed.queries(["退货"]), plain.queries(["query: 退货"]), atol=1e-6)
    assert np.allclose(prefixed.passages(["退货"]), plain.queries(["passage: 退货"]), atol=1e-6)
    assert prefixed.fingerprint != plain.fingerprint


def test_what_goes_beyond_the_limit_is_not_seen(embedder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    shutil.copytree(embedder_folder, folder)
    spec = json.loads((folder / "embedder.json").read_text())
    (folder / "embedder.json").write_text(json.dumps({**spec, "max_tokens": 8}))
    short = Embedder(folder, threads=1)
    assert np.array_equal(short.queries(["12345678"]), short.queries(["12345678 and much more"]))


def test_cls_pooling_takes_the_first_token(embedder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    shutil.copytree(embedder_folder, folder)
    spec = json.loads((folder / "embedder.json").read_text())
    (folder / "embedder.json").write_text(json.dumps({**spec, "pooling": "cls"}))
    first = Embedder(folder, threads=1)
    assert np.allclose(first.queries(["abc"]), first.queries(["abd"]), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet=st.characters()), max_size=4))
def test_any_text_gets_a_vector(embedder: Embedder, texts: list[str]) -> None:
    """S10: NUL, lone surrogates, anything a terminal or a JSON escape can hold."""
    assert np.isfinite(embedder.queries(texts)).all()


def test_progress_counts_to_the_end(embedder: Embedder) -> None:
    seen: list[tuple[int, int]] = []
    embedder.passages(["some words " * 20] * 100, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (100, 100)
    assert len(seen) > 2


@given(st.lists(st.integers(0, 600), max_size=80))
def test_batches_hold_every_text_once_and_stay_within_the_limit(lengths: list[int]) -> None:
    batches = plan_batches(lengths, BATCH_TOKENS)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= BATCH_TOKENS


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "embedder.json"])
def test_a_missing_file_is_named(embedder_folder: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "e"
    shutil.copytree(embedder_folder, folder)
    (folder / name).unlink()
    with pytest.raises(MissingError, match=name):
        Embedder(folder)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("model.onnx", b"", ModelError),
        ("model.onnx", b"not a model", ModelError),
        ("tokenizer.json", b"{}", ModelError),
        ("tokenizer.json", b"", InputError),
        ("tokenizer.json", b"\xff\xfe", InputError),
        ("embedder.json", b"{}", InputError),
        ("embedder.json", b"[", InputError),
        ("embedder.json", b'{"dim": 32, "pooling": "max"}', InputError),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(
    embedder_folder: Path, tmp_path: Path, name: str, data: bytes, error: type[EdgedeskError]
) -> None:
    folder = tmp_path / "e"
    shutil.copytree(embedder_folder, folder)
    (folder / name).write_bytes(data)
    with pytest.raises(error) as caught:
        Embedder(folder)
    assert caught.value.where.startswith(str(folder / name))


def test_a_model_of_another_size_than_promised_is_refused(embedder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    shutil.copytree(embedder_folder, folder)
    (folder / "embedder.json").write_text('{"dim": 384}')
    with pytest.raises(ModelError, match="384"):
        Embedder(folder, threads=1).queries(["x"])
