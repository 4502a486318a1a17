"""A GGUF file read back as a checkpoint: the same tokens, the same model, or a clear refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.models.chat_template import chat_pieces
from distill.models.gguf_import import build_tokenizer, import_gguf, read_metadata
from quantize.formats.gguf_writer import write_gguf
from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity, same_tokens
from runtime.errors import ModelError
from runtime.prompting.json_tokenizer import JsonTokenizer


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen2"])
def trip(
    request: pytest.FixtureRequest, with_pairs: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path]:
    """Checkpoint → GGUF → checkpoint."""
    folder = tmp_path_factory.mktemp("trip")
    checkpoint = with_pairs(request.getfixturevalue(request.param), folder / "checkpoint")
    write_gguf(checkpoint, folder / "model.gguf", precision="f32")
    import_gguf(folder / "model.gguf", folder / "back")
    return checkpoint, folder / "model.gguf", folder / "back"


@pytest.fixture(scope="module")
def gguf(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_gguf(tiny_llama, path, precision="f32")
    return path


def test_tokens_are_those_of_the_checkpoint_and_of_llama_cpp(trip: tuple[Path, Path, Path], shop: Path) -> None:
    checkpoint, gguf, back = trip
    strings = parity_strings(path.read_text(encoding="utf-8") for path in shop.rglob("articles/*.md"))
    assert same_tokens(JsonTokenizer(back), JsonTokenizer(checkpoint), strings) >= 300
    assert prove_parity(JsonTokenizer(back), gguf, strings) >= 300


def test_logits_are_those_of_the_checkpoint(trip: tuple[Path, Path, Path], open_model: Callable[..., Any]) -> None:
    checkpoint, _, back = trip
    ids = torch.tensor([[5, 900, 7, 8, 1400, 3]])
    with torch.no_grad():
        wanted = open_model(checkpoint, widen=1)(ids).logits
        got = open_model(back, widen=1)(ids).logits
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_the_template_its_tokens_and_the_pre_tokenizers_name_come_along(trip: tuple[Path, Path, Path]) -> None:
    checkpoint, gguf, back = trip
    assert chat_pieces(back) == chat_pieces(checkpoint)
    assert json.loads((back / "pre_tokenizer.json").read_text())["pre"] == read_metadata(gguf)["tokenizer.ggml.pre"]
    config = json.loads((back / "config.json").read_text())
    assert config["eos_token_id"] == 2
    assert str(gguf.parent) not in (back / "config.json").read_text()


def test_it_may_become_a_gguf_again(trip: tuple[Path, Path, Path], tmp_path: Path) -> None:
    write_gguf(trip[2], tmp_path / "again.gguf", precision="f32")
    first, again = read_metadata(trip[1]), read_metadata(tmp_path / "again.gguf")
    for key in ("tokens", "merges", "token_type", "pre", "eos_token_id"):
        assert again[f"tokenizer.ggml.{key}"] == first[f"tokenizer.ggml.{key}"]


def test_a_token_the_model_defines_in_any_text_is_read_in_any_text(tiny_llama: Path, tmp_path: Path) -> None:
    """llama.cpp skips control tokens in plain text, but not user-defined ones."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_llama, checkpoint)
    raw = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    last = "".join(raw["model"]["merges"].pop())
    index = raw["model"]["vocab"].pop(last)
    raw["model"]["vocab"]["[TOOL]"] = index
    raw["added_tokens"].append({**raw["added_tokens"][0], "id": index, "content": "[TOOL]", "special": False})
    (checkpoint / "tokenizer.json").write_text(json.dumps(raw))
    write_gguf(checkpoint, tmp_path / "m.gguf")
    import_gguf(tmp_path / "m.gguf", tmp_path / "back")
    back = JsonTokenizer(tmp_path / "back")
    assert back.encode("[TOOL]", control=False) == [index]
    assert len(back.encode("<|im_end|>", control=False)) > 1
    assert prove_parity(back, tmp_path / "m.gguf", ["a[TOOL]b", "退[TOOL]", "a<|im_end|>b"]) == 3


def test_an_unknown_pre_tokenizer_is_refused_by_name(gguf: Path) -> None:
    metadata = {**read_metadata(gguf), "tokenizer.ggml.pre": "tekken"}
    with pytest.raises(ModelError, match="pre-tokenizer 'tekken' is not known"):
        build_tokenizer(metadata, gguf)


def test_a_vocabulary_that_is_not_byte_level_bpe_is_refused(gguf: Path) -> None:
    metadata = {**read_metadata(gguf), "tokenizer.ggml.model": "llama"}
    with pytest.raises(ModelError, match="vocabulary of kind 'llama'"):
        build_tokenizer(metadata, gguf)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_refused_and_nothing_is_left(gguf: Path, tmp_path: Path, share: float) -> None:
    data = gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        import_gguf(path, tmp_path / "back")
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.gguf"]


def test_an_architecture_that_cannot_be_imported_is_refused(gguf: Path, tmp_path: Path) -> None:
    from gguf import GGUFWriter

    metadata = read_metadata(gguf)
    writer = GGUFWriter(tmp_path / "odd.gguf", "clip")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(metadata["tokenizer.ggml.tokens"])
    writer.add_token_types(metadata["tokenizer.ggml.token_type"])
    writer.add_token_merges(metadata["tokenizer.ggml.merges"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match="clip"):
        import_gguf(tmp_path / "odd.gguf", tmp_path / "back")
    assert not (tmp_path / "back").exists()
