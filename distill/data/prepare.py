"""Makes records out of raw conversations: clean, redacted, split, without repeats, and accounted for.

Every customer message that got a reply becomes a record with the turns before it as context. Promises: personal data is
replaced before anything is written; a conversation is in one split only, chosen by its name and the seed, so adding
conversations moves none; what is not kept is counted in the report with its reason. Pure but for the four files.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from distill.data.conversation import RawConversation, RawTurn
from runtime.base.files import write_atomic
from runtime.base.jsonl import write_rows
from runtime.base.manifest import digest
from runtime.errors import InputError
from runtime.text.personal_data import NO_RULES, Kind, PersonalRules
from runtime.text.records import Record, Split, Turn
from runtime.text.redaction import Redactor

SHARES: dict[Split, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
MAX_CONTEXT_TURNS = 6
"""Earlier messages a record carries; a branch keeps no more in the prompt."""
_ENTITY_KINDS: dict[str, Kind] = {
    "name": "NAME",
    "email": "EMAIL",
    "phone": "PHONE",
    "order_id": "ORDER",
    "card": "CARD",
    "iban": "IBAN",
    "address": "ADDRESS",
    "customer_id": "ID",
    "resident_id": "ID",
}
"""Entities that are personal whatever they look like."""
_COMPATIBILITY = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f]+)")
_KEPT_FORMAT = {"\u200c", "\u200d"}


def prepare(
    conversations: Iterable[RawConversation | InputError],
    out: Path,
    *,
    seed: int,
    link: Callable[[str], str | None] | None = None,
    public: str = "",
    rules: PersonalRules = NO_RULES,
) -> dict[str, Any]:
    """Write train, valid and test.jsonl and report.json into `out`; returns the report.

    `link` names the best section for a question whose transcript names none. `public` is text the company publishes
    (its articles): contacts in it are not personal; `rules` are its policies'. `InputError` when nothing is kept.
    """
    report = Report()
    rows: dict[Split, list[Record]] = {split: [] for split in SHARES}
    seen: set[str] = set()
    for conversation in conversations:
        if isinstance(conversation, InputError):
            report.refused.append(str(conversation))
            continue
        report.conversations += 1
        redactor = Redactor(public, rules)
        for record in records(conversation, redactor, seed=seed, link=link):
            report.read += 1
            if record is None:
                report.without_reply += 1
                continue
            key = digest([record.lang, [turn.content for turn in record.context], record.query, record.response])
            if key in seen:
                report.duplicates += 1
                continue
            seen.add(key)
            rows[record.split].append(record)
        report.redactions.update(redactor.counts)
    result = report.as_dict(record for split in rows.values() for record in split)
    if not result["kept"]:
        raise InputError(
            f"no record could be made of {report.conversations} conversations, {len(report.refused)} refused",
            where=report.refused[0] if report.refused else "",
            hint="a record needs a customer's message and the reply to it",
        )
    for split, kept in rows.items():
        write_rows(out / f"{split}.jsonl", kept)
    write_atomic(out / "report.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return result


class Report:
    """What came in and what became of it: read = kept + duplicates + without_reply."""

    def __init__(self) -> None:
        self.conversations = 0
        self.read = 0
        self.without_reply = 0
        self.duplicates = 0
        self.refused: list[str] = []
        self.redactions: Counter[str] = Counter()

    def as_dict(self, kept: Iterable[Record]) -> dict[str, Any]:
        """Return the form of report.json; counts are of records, `refused` holds `file:line: why`."""
        rows = list(kept)

        def by(column: str) -> dict[str, int]:
            return dict(sorted(Counter(str(getattr(row, column) or "none") for row in rows).items()))

        return {
            "conversations": self.conversations,
            "read": self.read,
            "kept": len(rows),
            "duplicates": self.duplicates,
            "without_reply": self.without_reply,
            "refused": self.refused,
            "not_answerable": sum(not row.evidence for row in rows),
            "by_split": {split: sum(row.split == split for row in rows) for split in get_args(Split)},
            "by_intent": by("intent"),
            "by_emotion": by("emotion"),
            "by_lang": by("lang"),
            "by_source": by("source"),
            "redactions": dict(sorted(self.redactions.items())),
        }


def records(
    conversation: RawConversation,
    redactor: Redactor,
    *,
    seed: int,
    link: Callable[[str], str | None] | None = None,
) -> Iterator[Record | None]:
    """Make the records of one conversation, redacted; None for a customer message without a reply."""
    for kind, value in conversation.personal:
        redactor.learn(kind, value)
    split = split_of(conversation.conversation, seed)
    name = _name(conversation, redactor)
    context: list[Turn] = []
    asked: RawTurn | None = None
    turns = merge_turns(conversation.turns)
    for number, turn in enumerate(turns):
        entities = {key: _entity(redactor, key, value) for key, value in turn.entities.items()}
        content = redactor.redact(normalise(turn.content))
        if turn.role == "user":
            asked = turn.model_copy(update={"content": content, "entities": entities})
            continue
        if asked is not None and (number == len(turns) - 1 or not conversation.only_last):
            query = "\n".join([asked.content, *(f"[{redactor.redact(normalise(line))}]" for line in turn.known)])
            evidence = next((each for each in (asked.evidence, turn.evidence) if each is not None), None)
            if evidence is None:
                section = link(asked.content) if link else None
                evidence = (section,) if section else ()
            yield Record(
                id=f"{name}-{number}",
                conversation=name,
                turn=number,
                lang=conversation.lang or "en",
                context=tuple(context[-MAX_CONTEXT_TURNS:]),
                query=query,
                response=content,
                intent=asked.intent or turn.intent,
                emotion=asked.emotion,
                entities={**entities, **asked.entities},
                evidence=evidence,
                source=conversation.source,
                split=split,
            )
            context.append(Turn(role="user", content=query))
            asked = None
        elif asked is not None:
            context.append(Turn(role="user", content=asked.content))
            asked = None
        context.append(Turn(role="assistant", content=content))
    if asked is not None:
        yield None


def _name(conversation: RawConversation, redactor: Redactor) -> str:
    """Name it as it came, unless that gives somebody away: then by where it was read."""
    name = normalise(conversation.conversation)
    if redactor.redact(name) == name:
        return name
    return f"c-{digest([conversation.where, len(conversation.turns)])[:12]}"


def _entity(redactor: Redactor, key: str, value: str) -> str:
    text = normalise(value)
    kind = _ENTITY_KINDS.get(key)
    # Learnt before the message is read, so that the value is found there without a cue.
    return redactor.learn(kind, text) if kind and text and not text.startswith("<") else redactor.redact(text)


def merge_turns(turns: Iterable[RawTurn]) -> list[RawTurn]:
    """Messages sent one after the other by the same side, as one; the first label of each sort counts."""
    merged: list[RawTurn] = []
    for turn in turns:
        if not normalise(turn.content):
            continue
        if merged and merged[-1].role == turn.role:
            last = merged[-1]
            merged[-1] = RawTurn(
                role=turn.role,
                content=f"{last.content}\n{turn.content}",
                intent=last.intent or turn.intent,
                emotion=turn.emotion or last.emotion,
                evidence=turn.evidence
                if last.evidence is None
                else tuple(dict.fromkeys((*last.evidence, *(turn.evidence or ())))),
                entities={**turn.entities, **last.entities},
                known=tuple(dict.fromkeys((*last.known, *turn.known))),
            )
        else:
            merged.append(turn)
    return merged


def split_of(conversation: str, seed: int) -> Split:
    """Where a conversation goes: by its name and the seed alone."""
    place = int.from_bytes(hashlib.sha256(f"{seed}:{conversation}".encode()).digest()[:8]) / 2**64
    for split, share in SHARES.items():
        place -= share
        if place < 0:
            return split
    return "test"


def normalise(text: str) -> str:
    """NFC, without control and direction marks, runs of blanks as one; line breaks stay.

    Compatibility ideographs are left as written: NFC would turn them, in names mostly, into other characters.
    """
    parts = _COMPATIBILITY.split(text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(part if place % 2 else unicodedata.normalize("NFC", part) for place, part in enumerate(parts))
    text = "".join(
        char
        for char in re.sub(r"[\t\v\f\u2028\u2029]", " ", text)
        if char == "\n" or char in _KEPT_FORMAT or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
    )
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
