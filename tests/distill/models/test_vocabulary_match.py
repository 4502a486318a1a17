"""Teacher and student: the ids they share, and the first thing that keeps them from sharing any."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.models.vocabulary_match import shared_vocabulary
from runtime.errors import ModelError


@pytest.fixture
def changed(tiny_llama: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny checkpoint after `edit(its tokenizer.json)`, its config saying `rows`."""

    def make(edit: Callable[[dict[str, Any]], None] = lambda _: None, rows: int | None = None) -> Path:
        out = shutil.copytree(tiny_llama, tmp_path / "other")
        tokenizer = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))
        edit(tokenizer)
        (out / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        if rows is not None:
            config = json.loads((out / "config.json").read_text())
            (out / "config.json").write_text(json.dumps({**config, "vocab_size": rows}))
        return out

    return make


def tokens(checkpoint: Path) -> int:
    return int(json.loads((checkpoint / "config.json").read_text())["vocab_size"])


def test_a_checkpoint_shares_every_token_with_itself(tiny_llama: Path, tiny_qwen2: Path) -> None:
    for checkpoint in (tiny_llama, tiny_qwen2):
        assert shared_vocabulary(checkpoint, checkpoint) == tokens(checkpoint)


def test_padding_rows_are_left_out_on_either_side(tiny_llama: Path, changed: Callable[..., Path]) -> None:
    padded = changed(rows=tokens(tiny_llama) + 128)
    assert shared_vocabulary(padded, tiny_llama) == shared_vocabulary(tiny_llama, padded) == tokens(tiny_llama)


def test_the_first_token_that_differs_is_named(tiny_llama: Path, changed: Callable[..., Path]) -> None:
    def swap(tokenizer: dict[str, Any]) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        (one, a), (other, b) = list(vocabulary.items())[700:702]
        vocabulary[one], vocabulary[other] = b, a

    other = changed(swap)
    with pytest.raises(ModelError, match=r"token 70\d is .* for the teacher and .* for the student") as error:
        shared_vocabulary(tiny_llama, other)
    assert "family" in error.value.hint


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: t.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False}), "pre_tokenizer differs"),
        (lambda t: t.update(normalizer={"type": "NFC"}), "normalizer differs"),
        (lambda t: t["model"]["merges"].reverse(), "merges differ"),
    ],
    ids=["cutting", "normalizer", "merges"],
)
def test_text_that_is_cut_differently_is_refused(
    edit: Callable[[dict[str, Any]], None], said: str, tiny_llama: Path, changed: Callable[..., Path]
) -> None:
    other = changed(edit)
    with pytest.raises(ModelError, match=said):
        shared_vocabulary(tiny_llama, other)


def test_a_token_that_only_one_of_them_has_is_refused(tiny_llama: Path, changed: Callable[..., Path]) -> None:
    number = tokens(tiny_llama)
    other = changed(lambda t: t["added_tokens"].append({"id": number, "content": "<tool>"}), rows=number + 1)
    with pytest.raises(ModelError, match=f"token {number} is None for the teacher and '<tool>'"):
        shared_vocabulary(tiny_llama, other)


def test_merges_may_be_written_in_either_way(tiny_llama: Path, changed: Callable[..., Path]) -> None:
    def as_text(tokenizer: dict[str, Any]) -> None:
        merges = tokenizer["model"]["merges"]
        tokenizer["model"]["merges"] = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]

    assert shared_vocabulary(tiny_llama, changed(as_text)) == tokens(tiny_llama)


def test_fewer_rows_than_tokens_and_another_familys_tokenizer_are_refused(
    tiny_llama: Path, tiny_qwen2: Path, changed: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match="rows"):
        shared_vocabulary(tiny_llama, changed(rows=10))
    with pytest.raises(ModelError, match="cannot learn the teacher's probabilities"):
        shared_vocabulary(tiny_llama, tiny_qwen2)
