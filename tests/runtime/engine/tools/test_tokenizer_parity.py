"""The proof that llama.cpp cuts text as the checkpoint does, and that it finds what differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize.formats.gguf_writer import write_gguf
from runtime.engine.llama.model import LlamaModel
from runtime.engine.tools.tokenizer_parity import PROBES, parity_strings, prove_parity, same_tokens
from runtime.errors import MissingError, ModelError
from runtime.prompting.json_tokenizer import JsonTokenizer

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen2"])
def pair(
    request: pytest.FixtureRequest, with_pairs: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A checkpoint and its GGUF."""
    folder = tmp_path_factory.mktemp("pair")
    checkpoint = with_pairs(request.getfixturevalue(request.param), folder / "checkpoint")
    write_gguf(checkpoint, folder / "model.gguf")
    return checkpoint, folder / "model.gguf"


@pytest.fixture(scope="module")
def loaded(pair: tuple[Path, Path]) -> Iterator[tuple[JsonTokenizer, LlamaModel]]:
    model = LlamaModel(pair[1], context_tokens=64, slots=1, sequences=1, threads=1, batch_tokens=64)
    yield JsonTokenizer(pair[0]), model
    model.close()


def texts(shop: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(shop.rglob("articles/*.md"))]


def test_parity_is_tried_on_hundreds_of_strings_of_both_languages(shop: Path) -> None:
    strings = parity_strings(texts(shop))
    assert len(strings) == 400
    assert strings == parity_strings(reversed(texts(shop)))
    assert sum(any("\u4e00" <= char <= "\u9fff" for char in text) for text in strings) > 100
    assert len(parity_strings([])) == 400


def test_llama_cpp_cuts_text_as_the_checkpoint_does(pair: tuple[Path, Path], shop: Path) -> None:
    checkpoint, gguf = pair
    strings = parity_strings(texts(shop))
    assert prove_parity(JsonTokenizer(checkpoint), gguf, strings) == len(strings) >= 300


def test_the_probes_are_tried_before_anything_else() -> None:
    assert parity_strings(["a line of the company's"], count=len(PROBES) + 1)[:-1] == list(PROBES)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="not there"):
        prove_parity(Letters(0), tmp_path / "none.gguf", ["a"])


def test_a_broken_pre_tokenizer_is_caught(pair: tuple[Path, Path], shop: Path, tmp_path: Path) -> None:
    checkpoint, gguf = pair
    broken = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    broken["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match="differently"):
        prove_parity(JsonTokenizer(tmp_path), gguf, parity_strings(texts(shop)))


def test_a_lost_control_token_is_caught(pair: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, gguf = pair
    broken = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    broken["added_tokens"] = [token for token in broken["added_tokens"] if token["content"] != "<|im_end|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match=r"im_end"):
        prove_parity(JsonTokenizer(tmp_path), gguf, parity_strings([]))


class Letters:
    """A tokenizer of code points that reads `shift` more where control tokens count."""

    def __init__(self, shift: int) -> None:
        self.shift = shift

    def encode(self, text: str, *, control: bool) -> list[int]:
        return [ord(char) + self.shift * control for char in text]


def test_a_difference_in_control_tokens_only_is_one() -> None:
    assert same_tokens(Letters(1), Letters(1), ["a", "退"]) == 2
    with pytest.raises(ModelError, match="'退'"):
        same_tokens(Letters(0), Letters(1), ["", "退"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(CONTROL) | st.text(max_size=8), max_size=6).map("".join))
def test_plain_text_never_becomes_a_control_token(loaded: tuple[JsonTokenizer, LlamaModel], text: str) -> None:
    ours, model = loaded
    control = {token for name in CONTROL for token in ours.encode(name, control=True)}
    assert len(control) == len(CONTROL)
    for tokenizer in (ours, model.vocab):
        assert control.isdisjoint(tokenizer.encode(text, control=False))
