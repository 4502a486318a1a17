"""A tokenizer of Llama 2's kind: llama.cpp cuts text as the checkpoint does, control tokens and rare characters too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantize.formats.gguf_vocab import read_vocabulary
from quantize.formats.gguf_writer import write_gguf
from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity
from runtime.errors import ModelError
from runtime.prompting.json_tokenizer import JsonTokenizer

CONTROL = ["<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n", "a</s><s> b", "</s>", "  </s>\n退货 </s>多久", "<unk>a <0x0A>"]


@pytest.fixture(scope="module")
def gguf(tiny_llama2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sentencepiece") / "model.gguf"
    write_gguf(tiny_llama2, path, precision="f32")
    return path


@pytest.fixture
def tokenizer(tiny_llama2: Path) -> dict[str, Any]:
    return dict(json.loads((tiny_llama2 / "tokenizer.json").read_text(encoding="utf-8")))


def test_llama_cpp_cuts_a_thousand_texts_of_both_languages_alike(tiny_llama2: Path, gguf: Path, shop: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(shop.rglob("*.md"))]
    assert prove_parity(JsonTokenizer(tiny_llama2), gguf, [*CONTROL, *parity_strings(texts, count=1000)]) == 1005


def test_plain_text_never_becomes_a_control_token(tiny_llama2: Path) -> None:
    ours = JsonTokenizer(tiny_llama2)
    assert ours.encode("</s>", control=True) == [2]
    for text in CONTROL:
        assert not {0, 1, 2} & set(ours.encode(text, control=False))


def test_earlier_merges_score_higher_and_what_none_makes_lowest(tokenizer: dict[str, Any]) -> None:
    rows = len(tokenizer["model"]["vocab"]) + 4
    made = read_vocabulary(tokenizer, rows)
    assert (made.kind, made.merges, len(made.scores), made.space_prefix) == ("llama", (), rows, True)
    assert made.types[:4] == (2, 3, 3, 6)
    assert made.types[-4:] == (5, 5, 5, 5)
    by_text = dict(zip(made.tokens, made.scores, strict=True))
    first, last = ("".join(tokenizer["model"]["merges"][place]) for place in (0, -1))
    assert by_text[first] > by_text[last] > by_text["<0x0A>"]


@pytest.mark.parametrize(
    ("part", "value", "prefix"),
    [
        ("always", {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False}, None),
        ("never", {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": False}, False),
        ("first", {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}, None),
        ("split", {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": True}, None),
    ],
)
def test_a_space_goes_where_llama_cpp_can_put_it_or_the_tokenizer_is_refused(
    part: str, value: dict[str, Any], prefix: bool | None, tokenizer: dict[str, Any], tiny_llama2: Path, tmp_path: Path
) -> None:
    changed = {**tokenizer, "normalizer": None, "pre_tokenizer": value}
    if prefix is None:
        with pytest.raises(ModelError, match="would cut otherwise") as error:
            read_vocabulary(changed, 1500)
        assert "legacy=True" in error.value.hint
        return
    assert read_vocabulary(changed, 1500).space_prefix == prefix
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed), encoding="utf-8")
    for path in tiny_llama2.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    write_gguf(tmp_path, tmp_path / f"{part}.gguf")
    ours = JsonTokenizer(tmp_path)
    assert prove_parity(ours, tmp_path / f"{part}.gguf", [*CONTROL, *parity_strings([], count=200)]) == 205


def test_other_normalizers_are_refused(tokenizer: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="NFKC"):
        read_vocabulary({**tokenizer, "normalizer": {"type": "NFKC"}}, 1500)
