"""A whole build on tiny real models: random weights, but every stage, file format and process as in a real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.app_folder import make_app_folder
from tests.support.installed_branch import Branch

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a system test: `pytest -m "not system and not slow"` is the short loop."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT sentence encoder of two layers over byte-level BPE, as a Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    out = tmp_path_factory.mktemp("tiny-encoder")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(out)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(out)
    return out


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as a release carries it, its dependencies borrowed."""
    return make_app_folder(tmp_path_factory.mktemp("app") / "app", tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def program(app_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program alone, installed once."""
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(app_folder, folder / "release" / "app")
    shutil.move(folder / "release" / "app" / "install.sh", folder / "release" / "install.sh")
    branch = Branch(folder, folder / "release")
    branch.install("--program-only")
    return branch.prefix
