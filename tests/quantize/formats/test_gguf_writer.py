from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantize.formats.gguf_vocab import read_vocabulary
from quantize.formats.gguf_writer import write_gguf
from quantize.measure.divergence import TorchDecoder
from runtime.engine.llama.scorer import LlamaScorer
from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity
from runtime.errors import EdgedeskError, InputError, MissingError, ModelError, SpaceError
from runtime.prompting.json_tokenizer import JsonTokenizer
from tests.quantize.conftest import FAMILIES, variant

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("tiny_llama", {}),
    "llama with its own output layer": ("tiny_llama", {"tie_word_embeddings": False}),
    "llama 3 rope": ("tiny_llama", {"rope_scaling": LLAMA3, "rope_theta": 500000.0}),
    "llama linear rope": ("tiny_llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "llama with wide heads": ("tiny_llama", {"head_dim": 32}),
    "llama with biases": ("tiny_llama", {"attention_bias": True}),
    "llama with padded vocabulary": ("tiny_llama", {"vocab_size": 1600}),
    "llama in bf16 shards": ("tiny_llama", {"shard": "200KB", "dtype": "bfloat16"}),
    "qwen2": ("tiny_qwen2", {}),
    "qwen2 with its own output layer": ("tiny_qwen2", {"tie_word_embeddings": False, "rope_theta": 1000000.0}),
    "qwen3": ("tiny_qwen3", {}),
    "mistral": ("tiny_llama", {"model_type": "mistral", "sliding_window": None, "head_dim": 32}),
    "mistral, a window that holds all": ("tiny_llama", {"model_type": "mistral", "sliding_window": 4096}),
    "smollm3": ("tiny_llama", {"model_type": "smollm3", "num_hidden_layers": 8}),
    "granite": (
        "tiny_llama",
        {
            "model_type": "granite",
            "embedding_multiplier": 6.0,
            "attention_multiplier": 0.05,
            "residual_multiplier": 0.3,
            "logits_scaling": 4.0,
        },
    ),
    "phi3": ("tiny_qwen2", {"model_type": "phi3", "sliding_window": None}),
    "phi3 with a head of its own": ("tiny_llama", {"model_type": "phi3", "tie_word_embeddings": False}),
    "qwen3 with its own output layer": ("tiny_qwen3", {"tie_word_embeddings": False, "rope_theta": 1000000.0}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_logits_of_the_f32_file_are_transformers_logits(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Written for each family that is listed, with random weights."""
    family, options = VARIANTS[name]
    checkpoint = variant(request.getfixturevalue(family), tmp_path / "checkpoint", **options)  # type: ignore[arg-type]
    write_gguf(checkpoint, tmp_path / "f32.gguf", precision="f32")
    tokens = JsonTokenizer(checkpoint).encode("How long can I return it? 退货期限是30天。" * 6, control=False)
    with TorchDecoder(checkpoint) as torch, LlamaScorer(tmp_path / "f32.gguf", context=512, f32_cache=True) as llama:
        wanted, got = torch.logits(tokens), llama.logits(tokens)
    assert wanted.std() > 0.1
    assert np.abs(wanted - got).max() < 2e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_of_the_f32_file_is_transformers_own(
    family: str, family_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Over 20 prompts in two languages; where two tokens are as good, either may come."""
    checkpoint = family_checkpoint(family)
    write_gguf(checkpoint, tmp_path / "f32.gguf", precision="f32")
    tokenizer = JsonTokenizer(checkpoint)
    prompts = [f"{what} {n}?" for n in range(5) for what in ("How long may I return item", "What does delivery of")]
    prompts += [f"{n}天内可以{what}吗？" for n in range(5) for what in ("退货", "送到")]
    assert len(prompts) == 20
    compared = 0
    with TorchDecoder(checkpoint) as torch, LlamaScorer(tmp_path / "f32.gguf", context=128, f32_cache=True) as llama:
        for prompt in prompts:
            tokens = tokenizer.encode(prompt, control=False)
            start = len(tokens)
            for _ in range(6):
                tokens.append(int(torch.logits(tokens)[-1].argmax()))
            wanted, got = torch.logits(tokens)[start - 1 : -1], llama.logits(tokens)[start - 1 : -1]
            best = wanted.max(axis=1)
            chosen = wanted[np.arange(len(got)), got.argmax(axis=1)]
            assert (best - chosen).max() < 1e-3 * np.abs(wanted).max(), prompt
            compared += len(got)
    assert compared == 120


def test_logits_of_the_f16_file_differ_by_rounding_only(tiny_qwen2: Path, tmp_path: Path) -> None:
    checkpoint = variant(tiny_qwen2, tmp_path / "checkpoint")
    write_gguf(checkpoint, tmp_path / "f16.gguf")
    tokens = list(range(3, 200))
    with TorchDecoder(checkpoint) as torch, LlamaScorer(tmp_path / "f16.gguf", context=256) as llama:
        wanted, got = torch.logits(tokens), llama.logits(tokens)
    assert np.abs(wanted - got).max() < 1e-2 * np.abs(wanted).max()


def test_the_real_base_model_is_cut_alike(smollm2: Path, tmp_path: Path, shop: Path) -> None:
    write_gguf(smollm2, tmp_path / "f16.gguf")
    strings = parity_strings(path.read_text(encoding="utf-8") for path in shop.rglob("articles/*.md"))
    assert prove_parity(JsonTokenizer(smollm2), tmp_path / "f16.gguf", strings) >= 300


def test_metadata_names_template_ends_and_licence(tiny_llama: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    write_gguf(tiny_llama, tmp_path / "f16.gguf", name="shop", licence="apache-2.0")
    fields = GGUFReader(tmp_path / "f16.gguf").fields
    assert fields["general.name"].contents() == "shop"
    assert fields["general.license"].contents() == "apache-2.0"
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 2
    assert "<|im_start|>" in fields["tokenizer.chat_template"].contents()


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model_type": "mamba"}, ModelError, "mamba"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ModelError, "yarn"),
        ({"use_sliding_window": True}, ModelError, "sliding"),
        ({"model_type": "mistral", "sliding_window": 64}, ModelError, "sliding"),
        ({"model_type": "phi3", "sliding_window": 64}, ModelError, "sliding"),
        ({"model_type": "phi3", "partial_rotary_factor": 0.75}, ModelError, "a part of each head"),
        ({"model_type": "smollm3", "no_rope_layers": [1, 1, 1, 1]}, ModelError, "every fourth"),
        ({"hidden_act": "gelu"}, ModelError, "gelu"),
        ({"hidden_size": None}, ModelError, "config.json"),
        ({"vocab_size": 10}, ModelError, "no row"),
    ],
)
def test_a_model_llama_cpp_would_run_wrongly_is_refused_and_nothing_is_written(
    changes: dict[str, object], error: type[EdgedeskError], words: str, tiny_llama: Path, tmp_path: Path
) -> None:
    checkpoint = shutil.copytree(tiny_llama, tmp_path / "checkpoint")
    _edit(checkpoint / "config.json", **changes)
    with pytest.raises(error, match=words):
        write_gguf(checkpoint, tmp_path / "out" / "f16.gguf")
    assert not list((tmp_path).glob("out/*"))


def test_damaged_folders_are_refused_by_name(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such checkpoint folder"):
        write_gguf(tmp_path / "nowhere", tmp_path / "f16.gguf")
    for name, content, error in (
        ("config.json", b"{", InputError),
        ("tokenizer.json", b"[1]", InputError),
        ("model.safetensors", b"\x00" * 100, InputError),
        ("model.safetensors", None, MissingError),
    ):
        checkpoint = shutil.copytree(tiny_llama, tmp_path / "copy")
        (checkpoint / name).unlink()
        if content is not None:
            (checkpoint / name).write_bytes(content)
        with pytest.raises(error, match=name):
            write_gguf(checkpoint, tmp_path / "f16.gguf")
        shutil.rmtree(checkpoint)
    assert not list(tmp_path.glob("*gguf*"))


def test_weights_beyond_f16_are_refused_and_nothing_is_left(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = shutil.copytree(tiny_llama, tmp_path / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="up_proj"):
        write_gguf(checkpoint, tmp_path / "out" / "f16.gguf")
    assert not list((tmp_path / "out").iterdir())
    write_gguf(checkpoint, tmp_path / "out" / "f32.gguf", precision="f32")


def test_a_full_disk_is_said_before_writing(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError, match="f16 GGUF needs"):
        write_gguf(tiny_llama, tmp_path / "f16.gguf")
    assert not list(tmp_path.iterdir())


def test_a_pre_tokenizer_without_a_name_is_refused_not_guessed(tiny_llama: Path) -> None:
    tokenizer = json.loads((tiny_llama / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    with pytest.raises(ModelError, match="Whitespace"):
        read_vocabulary(tokenizer, 1500)
    tokenizer["model"]["type"] = "Unigram"
    with pytest.raises(ModelError, match="Unigram"):
        read_vocabulary(tokenizer, 1500)
