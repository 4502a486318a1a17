"""A GGUF file as a Hugging Face checkpoint: weights through transformers, the tokenizer from the file's own metadata.

transformers' import ignores the pre-tokenizer (`tokenizer.ggml.pre`), so that digits and spaces are cut differently
from llama.cpp; here the tokenizer is built from the vocabulary, merges and that name instead.
Knows nothing of where the file came from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.base.files import new_folder
from runtime.errors import ModelError

_CONTROL, _USER_DEFINED, _UNKNOWN = 3, 4, 2
"""Token types of the GGUF specification that must never be split by merges."""

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def import_gguf(gguf: Path, out: Path) -> None:
    """Write an f32 checkpoint folder: config, model.safetensors, tokenizer.json, chat template.

    `ModelError` for a damaged file, an architecture that transformers does not import, a vocabulary that is not
    byte-level BPE, or one whose pre-tokenizer is not known here.
    """
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    metadata = read_metadata(gguf)
    tokenizer = build_tokenizer(metadata, gguf)
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    with new_folder(out) as folder:
        try:
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        except ValueError as error:
            raise ModelError(str(error), where=str(gguf), hint="pass the Hugging Face checkpoint instead") from error
        model.config.bos_token_id = model.generation_config.bos_token_id = metadata.get("tokenizer.ggml.bos_token_id")
        model.config.eos_token_id = model.generation_config.eos_token_id = metadata.get("tokenizer.ggml.eos_token_id")
        model.config._name_or_path = ""
        model.save_pretrained(folder)
        special = {
            f"{role}_token": tokens[metadata[key]]
            for role, key in (
                ("bos", "tokenizer.ggml.bos_token_id"),
                ("eos", "tokenizer.ggml.eos_token_id"),
                ("pad", "tokenizer.ggml.padding_token_id"),
            )
            if key in metadata
        }
        if "eos_token" in special:
            special.setdefault("pad_token", special["eos_token"])
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            clean_up_tokenization_spaces=False,
            **special,
        )
        wrapped.chat_template = metadata.get("tokenizer.chat_template")
        wrapped.save_pretrained(folder)
        # llama.cpp picks its splitting rules by this name; the way back to GGUF needs it.
        (folder / "pre_tokenizer.json").write_text(json.dumps({"pre": metadata["tokenizer.ggml.pre"]}) + "\n")


def read_metadata(gguf: Path) -> dict[str, Any]:
    """The file's key-value pairs as Python values; tensors are not read. `ModelError` when it is damaged."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except Exception as error:  # the reader trusts its file and fails in many ways
        raise ModelError("not a complete GGUF file", where=str(gguf), hint=f"copy it again ({error})") from error
    return {name: field.contents() for name, field in reader.fields.items()}


def build_tokenizer(metadata: dict[str, Any], gguf: Path) -> Any:
    """A `tokenizers.Tokenizer` that cuts text exactly as llama.cpp does with this metadata."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    if metadata.get("tokenizer.ggml.model") != "gpt2":
        raise ModelError(
            f"vocabulary of kind '{metadata.get('tokenizer.ggml.model')}'",
            where=str(gguf),
            hint="only byte-level BPE is imported from GGUF; pass the Hugging Face checkpoint instead",
        )
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    pre = metadata.get("tokenizer.ggml.pre", "default")
    if pre == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    elif pre == "qwen2":
        from tokenizers import normalizers

        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        raise ModelError(
            f"pre-tokenizer '{pre}' is not known",
            where=str(gguf),
            hint="smollm and qwen2 are; pass the Hugging Face checkpoint instead",
        )
    tokenizer.decoder = decoders.ByteLevel()
    kinds: list[int] = metadata["tokenizer.ggml.token_type"]
    # llama.cpp reads a user-defined token in any text, a control token only where it is asked to.
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (_CONTROL, _UNKNOWN):
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind == _USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, special=False, normalized=False)])
    return tokenizer
