"""Records laid out as the runtime feeds them, with the place where the reply begins: what quantized files read.

Promises: the same records give the same samples; the choice is spread over the file and does not depend on its order.
Knows nothing of models. The sections a record rests on stand in its prompt; an unanswerable one gets others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantize.llama_file import LlamaFile
from runtime.articles import Section, load_articles
from runtime.errors import InputError, ModelError
from runtime.prompt import PromptSpec, Span, Tokenizer, encode, layout
from runtime.record import Record, read_rows
from runtime.tokenizer import JsonTokenizer

TOKEN_PROBES = (
    "",
    "  two  spaces ",
    "\n\nlines\n\t",
    "€49.99 (50%-off!!!)",
    "1234567890 2026-11-23",
    "don't I'll we've",
    "naïve café, ÅÄÖ",
    "退货期限是30天，价格49欧元。",
    "全角：１２３（括号）～",
    "混合 mixed 文本 text",
    "<|im_start|>a<|im_end|>",
    "<|endoftext|>",
    "日本語 русский 한국어",
    "🙂👍🏽",
    "https://a.b/c?d=e",
    "x" * 60,
)
"""Texts that tokenizers are known to disagree on, in both languages."""


@dataclass(frozen=True)
class Sample:
    """Token ids of a prompt and its reply; the reply (with its end token) begins at index `reply`."""

    record: str
    tokens: tuple[int, ...]
    reply: int


def section_index(articles: Path) -> dict[tuple[str, str], Section]:
    """(language, `article#section`) → section of every article below a folder."""
    return {(section.lang, section.ref): section for article in load_articles(articles) for section in article.sections}


def read_sample_records(folder: Path, count: int) -> list[Record]:
    """`count` records of the held-out file (test.jsonl, else valid.jsonl), spread by a hash of their ids."""
    for name in ("test.jsonl", "valid.jsonl"):
        if (folder / name).is_file():
            rows = list(read_rows(Record, folder / name))
            return sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:count]
    raise InputError("neither test.jsonl nor valid.jsonl", where=str(folder), hint="prepare records first")


def make_samples(
    records: Iterable[Record], spec: PromptSpec, sections: Mapping[tuple[str, str], Section], tokenizer: Tokenizer
) -> list[Sample]:
    """Lay records out; one that does not fit the prompt's context is left out. `InputError` when none is left."""
    samples = []
    for record in records:
        parts = layout(spec, record.lang, _sections(record, spec, sections), record.context, record.query)
        prompt = encode(parts.spans(), tokenizer)
        stop = spec.pieces.stop[0] if spec.pieces.stop else ""
        reply = encode([Span(record.response, False), Span(stop, True)], tokenizer)
        if len(prompt) + len(reply) <= spec.context_tokens:
            samples.append(Sample(record.id, (*prompt, *reply), len(prompt)))
    if not samples:
        raise InputError("no record fits the prompt's context", hint="raise context_tokens, or shorten the articles")
    return samples


def prove_tokens(checkpoint: Path, gguf: Path, texts: Iterable[str]) -> int:
    """Compare llama.cpp's tokens with the checkpoint's, control tokens read and unread; returns how many texts.

    `ModelError` on the first text they cut differently: the file would feed the model what it was not trained on.
    """
    texts = list(texts)
    theirs = JsonTokenizer(checkpoint / "tokenizer.json")
    with LlamaFile(gguf, vocab_only=True) as ours:
        for text in texts:
            for control in (False, True):
                if ours.encode(text, control=control) != theirs.encode(text, control=control):
                    raise ModelError(
                        f"llama.cpp cuts {text[:60]!r} differently", where=str(gguf), hint="check tokenizer.json"
                    )
    return len(texts)


def _sections(record: Record, spec: PromptSpec, sections: Mapping[tuple[str, str], Section]) -> Sequence[Section]:
    found = [sections[record.lang, ref] for ref in record.evidence if (record.lang, ref) in sections]
    if not found:
        others = sorted(key for key in sections if key[0] == record.lang)
        start = int(hashlib.sha256(record.id.encode()).hexdigest(), 16) % max(1, len(others))
        found = [sections[key] for key in (others[start:] + others[:start])]
    return found[: spec.articles]
