"""Near duplicates across splits: what would let a model be measured on what it has learned by heart.

MinHash over character 5-grams finds candidates (Broder 1997, by rensa); each is then compared exactly. Promises: the
held-out records are in memory, the training records are not. Short replies ("You're welcome!") and simulated
conversations, which repeat their templates by design, are not counted. Knows nothing of how splits are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from distill.data.splits import split_name
from runtime.base.jsonl import read_rows
from runtime.errors import GateError
from runtime.text.normalize import nfkc
from runtime.text.records import Record

SAME_SHARE = 0.85
"""Jaccard share of 5-grams from which question and reply are taken for another's."""
MIN_CHARS = 40
_GRAM = 5
_PERMUTATIONS = 64
_BANDS = 16
_LONGEST = 4000


class Leak(NamedTuple):
    """A held-out record and the training record that is nearly the same."""

    held_out: str
    train: str
    share: float


def find_leaks(train: Iterable[Record], held_out: Sequence[Record]) -> Iterator[Leak]:
    """Each held-out record of which a training record of another conversation says nearly the same, once."""
    from rensa import RMinHash, RMinHashLSH

    texts = {place: text for place, each in enumerate(held_out) if (text := _compared(each))}
    if not texts:
        return
    index = RMinHashLSH(SAME_SHARE, _PERMUTATIONS, _BANDS)
    for place, text in texts.items():
        index.insert(place, _signature(RMinHash, text))
    left = set(texts)
    for record in train:
        text = _compared(record)
        if not text or not left:
            continue
        for place in index.query(_signature(RMinHash, text)):
            if place not in left or split_name(record.conversation) == split_name(held_out[place].conversation):
                continue
            share = _jaccard(text, texts[place])
            if share >= SAME_SHARE:
                left.discard(place)
                yield Leak(held_out[place].id, record.id, round(share, 3))


def check_leakage(folder: Path) -> int:
    """How many held-out records were compared; `GateError` naming the first pair where one leaks."""
    held_out = [row for split in ("valid", "test") for row in _read(folder / f"{split}.jsonl")]
    leaks = list(find_leaks(_read(folder / "train.jsonl"), held_out))
    if leaks:
        first = leaks[0]
        raise GateError(
            f"{len(leaks)} held-out records are nearly the same as training records, such as {first.held_out} and "
            f"{first.train} ({first.share:.0%})",
            where=str(folder),
            hint='leaks = "drop" leaves such records out of the held-out splits',
        )
    return len(held_out)


def _read(path: Path) -> Iterator[Record]:
    if path.stat().st_size:
        yield from read_rows(Record, path)


def _compared(record: Record) -> str:
    if record.source == "simulated":
        return ""
    text = re.sub(r"\s+", " ", nfkc(f"{record.query[:_LONGEST]} | {record.response[:_LONGEST]}")).lower()
    return text if len(text) >= MIN_CHARS else ""


def _grams(text: str) -> set[str]:
    return {text[place : place + _GRAM] for place in range(len(text) - _GRAM + 1)}


def _signature(kind: type, text: str) -> object:
    made = kind(num_perm=_PERMUTATIONS, seed=1)
    made.update(list(_grams(text)))
    return made


def _jaccard(left: str, right: str) -> float:
    one, two = _grams(left), _grams(right)
    return len(one & two) / max(1, len(one | two))
