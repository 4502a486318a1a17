"""What llama.cpp needs to cut text as a SentencePiece BPE vocabulary does (Llama 2 and its kin).

Such a tokenizer.json holds merges, llama.cpp joins the pair whose whole has the highest score; the scores are read off
the order of the merges. It also puts a space before every run of plain text, so that the first word is cut as any
other. Knows nothing of byte-level vocabularies, which keep merges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtime.errors import ModelError

UNKNOWN, BYTE = 2, 6
"""Token types of the GGUF specification that only these vocabularies have."""
LOWEST = -1e4
"""Score of what no merge makes: single characters, bytes, control tokens, padding rows."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"


def is_sentencepiece(model: Mapping[str, Any]) -> bool:
    """Whether the `model` of a tokenizer.json is BPE over characters with bytes to fall back on."""
    return model.get("type") == "BPE" and bool(model.get("byte_fallback")) and "<0x0A>" in model["vocab"]


def is_byte(text: str) -> bool:
    """Whether a token stands for one byte."""
    return _BYTE.fullmatch(text) is not None


def piece_scores(model: Mapping[str, Any]) -> dict[str, float]:
    """Score by token, those made by merges alone: the earlier the merge, the higher."""
    scores: dict[str, float] = {}
    for merge in model.get("merges") or ():
        whole = merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
        scores.setdefault(whole, -float(len(scores)))
    return scores


def space_prefix(tokenizer: Mapping[str, Any], where: str = "tokenizer.json") -> bool:
    """Whether a space goes before every run of text; `ModelError` for another way of cutting."""
    normalizer, pre = tokenizer.get("normalizer") or {}, tokenizer.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", []) if normalizer.get("type") == "Sequence" else [normalizer]
    kinds = [_step(step) for step in steps if step]
    if not pre and kinds in (["prepend", "replace"], ["replace"]):
        return kinds[0] == "prepend"
    # `first` leaves it out behind control tokens, `always` where a text begins with a space: llama.cpp does neither.
    if (
        pre.get("type") == "Metaspace"
        and not kinds
        and not pre.get("split", True)
        and pre.get("prepend_scheme") == "never"
    ):
        return False
    what = pre.get("prepend_scheme") or pre.get("type") or ", ".join(kinds) or "none"
    raise ModelError(
        f"a SentencePiece vocabulary that llama.cpp would cut otherwise ({what})",
        where=where,
        hint="save the tokenizer with legacy=True",
    )


def _step(step: Mapping[str, Any]) -> str:
    if step.get("type") == "Prepend" and step.get("prepend") == _SPACE:
        return "prepend"
    pattern = step.get("pattern") or {}
    if step.get("type") == "Replace" and step.get("content") == _SPACE and pattern.get("String") == " ":
        return "replace"
    return str(step.get("type"))
