"""tokenizer.json → what GGUF stores of a BPE vocabulary, byte-level or SentencePiece's.

llama.cpp does not read the pre-tokenizer, it has its own by name; so the name is found by comparing the rules, and
rules it has no name for are refused instead of guessed. Promises: control tokens stay control tokens and no other token
becomes one. Knows nothing of weights. (llama.cpp normalises nothing: a tokenizer with NFC agrees on NFC text.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantize.formats.gguf_sentencepiece import (
    BYTE,
    LOWEST,
    UNKNOWN,
    is_byte,
    is_sentencepiece,
    piece_scores,
    space_prefix,
)
from runtime.errors import ModelError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Token types of the GGUF specification."""

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

PRE_TOKENIZERS: Mapping[tuple[str, ...], str] = {
    ("digits", "bytes:gpt2"): "smollm",
    ("bytes:gpt2",): "gpt-2",
    (f"split:{_QWEN2}", "bytes"): "qwen2",
    (f"split:{_LLAMA3}", "bytes"): "llama-bpe",
}
"""Pre-tokenizer steps of tokenizer.json → llama.cpp's name for the same rules (its `llama-vocab.cpp`)."""


@dataclass(frozen=True)
class GgufVocabulary:
    """A vocabulary in GGUF's terms; `tokens` and `types` have one entry for every embedding row."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    """Of a byte-level vocabulary."""
    pre: str
    scores: tuple[float, ...] = ()
    """Of a SentencePiece vocabulary, one for every row."""
    space_prefix: bool = False
    """Whether a space goes before every run of plain text."""

    @property
    def kind(self) -> str:
        """llama.cpp's name for the way it cuts text."""
        return "llama" if self.scores else "gpt2"


def read_vocabulary(tokenizer: Mapping[str, Any], rows: int, where: str = "tokenizer.json") -> GgufVocabulary:
    """Translate a parsed tokenizer.json for `rows` embedding rows; `ModelError` when llama.cpp cannot match it."""
    model = tokenizer.get("model") or {}
    if model.get("type") == "BPE" and is_sentencepiece(model):
        return _sentencepiece(tokenizer, model, rows, where)
    if model.get("type") != "BPE" or "<0x0A>" in model["vocab"]:
        raise ModelError(
            f"a tokenizer of type '{model.get('type')}' that is neither byte-level BPE nor SentencePiece BPE",
            where=where,
            hint="models with such a tokenizer (SmolLM2, Llama 2 and 3, Mistral, Qwen2, Qwen3) can be converted",
        )
    pre = pre_tokenizer_name(tokenizer.get("pre_tokenizer") or {}, where)
    if model.get("ignore_merges") and pre != "llama-bpe":
        raise ModelError(
            f"'ignore_merges' with pre-tokenizer '{pre}'", where=where, hint="llama.cpp knows it for Llama 3"
        )
    entries = _entries(tokenizer, model, rows, where)
    return GgufVocabulary(
        tokens=tuple(text for text, _ in entries),
        types=tuple(kind for _, kind in entries),
        merges=tuple(merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges") or ()),
        pre=pre,
    )


def _sentencepiece(tokenizer: Mapping[str, Any], model: Mapping[str, Any], rows: int, where: str) -> GgufVocabulary:
    entries = _entries(tokenizer, model, rows, where)
    scores = piece_scores(model)

    def kind_of(text: str, kind: int) -> int:
        if text == model.get("unk_token"):
            return UNKNOWN
        return BYTE if kind == NORMAL and is_byte(text) else kind

    return GgufVocabulary(
        tokens=tuple(text for text, _ in entries),
        types=tuple(kind_of(text, kind) for text, kind in entries),
        merges=(),
        pre="default",
        scores=tuple(scores.get(text, LOWEST) if kind == NORMAL else LOWEST for text, kind in entries),
        space_prefix=space_prefix(tokenizer, where),
    )


def _entries(tokenizer: Mapping[str, Any], model: Mapping[str, Any], rows: int, where: str) -> list[tuple[str, int]]:
    """Text and type of the token of every row; rows that no token has are padding."""
    by_id: dict[int, tuple[str, int]] = {int(index): (text, NORMAL) for text, index in model["vocab"].items()}
    for added in tokenizer.get("added_tokens") or ():
        by_id[int(added["id"])] = (str(added["content"]), CONTROL if added.get("special") else USER_DEFINED)
    if by_id and max(by_id) >= rows:
        raise ModelError(
            f"token {max(by_id)} has no row in an embedding of {rows}", where=where, hint="resize the model's embedding"
        )
    return [by_id.get(index, (f"[PAD{index}]", UNUSED)) for index in range(rows)]


def pre_tokenizer_name(rules: Mapping[str, Any], where: str = "tokenizer.json") -> str:
    """llama.cpp's name for a pre-tokenizer; `ModelError` for rules it has no name for."""
    steps = rules.get("pretokenizers", []) if rules.get("type") == "Sequence" else [rules]
    key = tuple(_step(step) for step in steps)
    if key not in PRE_TOKENIZERS:
        raise ModelError(
            f"a pre-tokenizer llama.cpp has no name for ({', '.join(key) or 'none'})",
            where=where,
            hint=f"known: {', '.join(sorted(PRE_TOKENIZERS.values()))}",
        )
    return PRE_TOKENIZERS[key]


def _step(step: Mapping[str, Any]) -> str:
    """One rule as a comparable word; options that change the result are part of it."""
    kind = step.get("type")
    if kind == "Digits" and step.get("individual_digits"):
        return "digits"
    if kind == "ByteLevel" and not step.get("add_prefix_space"):
        return "bytes:gpt2" if step.get("use_regex", True) else "bytes"
    if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        pattern = step.get("pattern") or {}
        return f"split:{pattern.get('Regex', pattern.get('String'))}"
    return f"{kind} {dict(step)}"
