"""Fixtures every package's tests share: the example shop, tiny real models made on the spot, a branch's home."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A branch's fixtures, for every folder of tests: pytest finds them under the names they have here.
from tests.support.branch import (  # noqa: F401
    articles_folder,
    embedder,
    embedder_folder,
    endless_gguf,
    make_bundle,
    make_home,
    random_gguf,
    scripted_gguf,
)
from tests.support.paths import ROOT
from tests.support.releases import company, key_folder, small_bundle, small_template  # noqa: F401
from tests.support.speech import speech_models  # noqa: F401

pytest_plugins = ["tests.support.faults", "tests.support.bare_root"]

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    ANONYMIZED_TELEMETRY="False",
    OMP_WAIT_POLICY="passive",  # as in the product: spinning threads make a busy machine ten times slower
)

# No test is timed: what is slow on a busy machine is not wrong.
hypothesis.settings.register_profile("edgedesk", deadline=None)
hypothesis.settings.load_profile("edgedesk")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for message in rest %}"
    "{% if loop.first and system %}{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
"""What Llama 2's chat checkpoints carry."""


@pytest.fixture(scope="session")
def shop() -> Path:
    """The example shop."""
    return ROOT / "examples" / "shop"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public data beside the project; what needs it is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data (../shared/data) is not here")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty branch."""
    folder = tmp_path / "home"
    monkeypatch.setenv("EDGEDESK_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real base model as a checkpoint, where `edgedesk models fetch` has left it (./build.sh test runs that)."""
    from runtime.base.user_cache import cache_folder

    for path in sorted((cache_folder() / "models").glob("smollm2-135m-instruct-*-checkpoint")):
        if (path / "model.safetensors").is_file():
            return path
    pytest.skip("the base model is not cached: edgedesk models fetch smollm2-135m-instruct")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama checkpoint of four layers; its byte-level BPE splits digits, as SmolLM2's does."""
    from tokenizers import pre_tokenizers

    pre = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return _tiny(tmp_path_factory.mktemp("tiny-llama"), "llama", pre, None)


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 checkpoint of four layers with Qwen2's way of cutting text."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    from distill.models.gguf_import import QWEN2_PATTERN

    pre = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return _tiny(tmp_path_factory.mktemp("tiny-qwen2"), "qwen2", pre, normalizers.NFC())


@pytest.fixture(scope="session")
def tiny_qwen3(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 checkpoint with Qwen2's tokenizer; queries and keys are normed, heads wide."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    folder = shutil.copytree(tiny_qwen2, tmp_path_factory.mktemp("tiny-qwen3") / "checkpoint")
    given = json.loads((tiny_qwen2 / "config.json").read_text())
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = Qwen3Config(
        **{key: given[key] for key in (*same, "num_key_value_heads", "eos_token_id")},
        head_dim=32,
        max_position_embeddings=given["max_position_embeddings"],
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama checkpoint with a tokenizer of Llama 2's kind, as transformers makes it from SentencePiece's file.

    BPE over characters, bytes to fall back on, a space before every text, a merge for every pair that makes a piece.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    control = ["<unk>", "<s>", "</s>"]
    known = [*control, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=known, limit_alphabet=200, max_token_length=16, show_progress=False
    )
    trained.train_from_iterator(_shop_texts(), trainer)
    found = json.loads(trained.to_str())["model"]
    vocab, scores = found["vocab"], {}
    for merge in found["merges"]:
        scores.setdefault("".join(merge), -len(scores))
    pairs = [(whole[:cut], whole[cut:]) for whole in scores for cut in range(1, len(whole))]
    merges = [(left, right) for left, right in pairs if left in vocab and right in vocab]
    merges.sort(key=lambda pair: (scores["".join(pair)], len(pair[0]), len(pair[1])), reverse=True)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(control)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    return _tiny_model(tmp_path_factory.mktemp("tiny-llama2"), "llama", wrapped, LLAMA2, bos_token_id=1)


@pytest.fixture(scope="session")
def with_pairs() -> Callable[[Path, Path], Path]:
    """A copy of a checkpoint in which `49` is a token, which only the splitting of digits keeps from being used."""

    def copy(checkpoint: Path, out: Path) -> Path:
        shutil.copytree(checkpoint, out)
        tokenizer = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))
        model = tokenizer["model"]
        last = "".join(model["merges"][-1])
        model["vocab"]["49"] = model["vocab"].pop(last)
        model["merges"][-1] = ["4", "9"]
        (out / "tokenizer.json").write_text(json.dumps(tokenizer))
        return out

    return copy


def _tiny(out: Path, kind: str, pre: object, normalizer: object) -> Path:
    from tokenizers import Tokenizer, decoders, models, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=_byte_alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_shop_texts(), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    return _tiny_model(out, kind, wrapped, CHATML, bos_token_id=None)


def _shop_texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples" / "shop").rglob("articles/*.md"))]


def _tiny_model(out: Path, kind: str, tokenizer: Any, template: str, *, bos_token_id: int | None) -> Path:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer.chat_template = template
    tokenizer.save_pretrained(out)
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=bos_token_id,
        eos_token_id=2,
        pad_token_id=0,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(out)
    return out


def _byte_alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())
