"""Fixtures every package's tests share: the example shop, tiny real models made on the spot, a branch's home."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# A branch's fixtures, for every folder of tests: pytest finds them under the names they have here.
from .branch import (  # noqa: F401
    articles_folder,
    embedder,
    embedder_folder,
    endless_gguf,
    make_bundle,
    make_home,
    random_gguf,
    scripted_gguf,
)

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

ROOT = Path(__file__).resolve().parent.parent
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


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
    from distill.models import cache_folder

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

    from distill.gguf_import import QWEN2_PATTERN

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
    import torch
    from tokenizers import Tokenizer, decoders, models, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples" / "shop").rglob("articles/*.md"))]
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
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHATML
    wrapped.save_pretrained(out)
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(wrapped),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(out)
    return out


def _byte_alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())
