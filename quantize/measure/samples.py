"""Records laid out as the runtime feeds them, with the place where the reply begins: what quantized files read.

Promises: the same records give the same samples; the choice is spread over the file and does not depend on its order.
Knows nothing of models. The sections a record rests on stand in its prompt; an unanswerable one gets others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.base.files import read_text
from runtime.base.jsonl import read_rows
from runtime.errors import InputError, MissingError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import PromptSpan, PromptSpec, Tokenizer, encode, layout
from runtime.text.articles import Section, load_articles
from runtime.text.records import Record

MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Of a text that is measured on: 2 million tokens, hours of reading."""


@dataclass(frozen=True)
class Sample:
    """Token ids of a prompt and its reply; the reply (with its end token) begins at index `reply`."""

    record: str
    tokens: tuple[int, ...]
    reply: int
    intent: str = ""
    """What the record's question wants, for figures by intent."""


def section_index(articles: Path) -> dict[tuple[str, str], Section]:
    """(language, `article#section`) → section of every article below a folder."""
    return {(section.lang, section.ref): section for article in load_articles(articles) for section in article.sections}


def read_sample_records(
    folder: Path, count: int, languages: Collection[str], splits: Sequence[str] = ("test", "valid")
) -> list[Record]:
    """`count` records of the first split that has a file, the held-out ones by default, spread by a hash of their ids.

    In languages the model writes only: what it makes of others says nothing about a file.
    """
    for name in (f"{split}.jsonl" for split in splits):
        if (folder / name).is_file():
            rows = [row for row in read_rows(Record, folder / name) if row.lang in languages]
            return sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:count]
    raise InputError(
        f"no {' nor '.join(f'{split}.jsonl' for split in splits)}", where=str(folder), hint="prepare records first"
    )


def make_samples(
    records: Iterable[Record], spec: PromptSpec, sections: Mapping[tuple[str, str], Section], tokenizer: Tokenizer
) -> list[Sample]:
    """Lay records out; one that does not fit the prompt's context is left out. `InputError` when none is left."""
    samples = []
    for record in records:
        parts = layout(spec, record.lang, _sections(record, spec, sections), record.context, record.query)
        prompt = encode(parts.spans(), tokenizer)
        stop = spec.pieces.stop[0] if spec.pieces.stop else ""
        reply = encode([PromptSpan(record.response, False), PromptSpan(stop, True)], tokenizer)
        if len(prompt) + len(reply) <= spec.context_tokens:
            samples.append(Sample(record.id, (*prompt, *reply), len(prompt), record.intent or ""))
    if not samples:
        raise InputError("no record fits the prompt's context", hint="raise context_tokens, or shorten the articles")
    return samples


def cut_text(path: Path, checkpoint: Path, length: int = 512) -> list[tuple[int, ...]]:
    """A text file as token ids of a checkpoint's tokenizer, in pieces of `length` (the last one shorter).

    `MissingError` for a file that is not there, `InputError` for one without text.
    """
    if not path.is_file():
        raise MissingError("no such text file", where=str(path), hint="check the path")
    tokens = JsonTokenizer(checkpoint).encode(read_text(path, max_bytes=MAX_TEXT_BYTES), control=False)
    if len(tokens) < 2:
        raise InputError("no text in it", where=str(path), hint="give a file with some pages of text")
    return [tuple(tokens[start : start + length]) for start in range(0, len(tokens), length)]


def text_samples(path: Path, checkpoint: Path, *, length: int = 512, count: int = 8) -> list[Sample]:
    """A general text as samples: whole pieces, of which the second half is measured, as llama-perplexity does it.

    `InputError` for a text that fills no piece.
    """
    pieces = [piece for piece in cut_text(path, checkpoint, length) if len(piece) == length][:count]
    if not pieces:
        raise InputError(f"fewer than {length} tokens", where=str(path), hint="give a longer text")
    return [Sample(f"piece {index}", piece, length // 2 + 1) for index, piece in enumerate(pieces)]


def _sections(record: Record, spec: PromptSpec, sections: Mapping[tuple[str, str], Section]) -> Sequence[Section]:
    found = [sections[record.lang, ref] for ref in record.evidence if (record.lang, ref) in sections]
    if not found:
        others = sorted(key for key in sections if key[0] == record.lang)
        start = int(hashlib.sha256(record.id.encode()).hexdigest(), 16) % max(1, len(others))
        found = [sections[key] for key in (others[start:] + others[:start])]
    return found[: spec.articles]
