"""The records of one conversation: its messages joined, redacted, paired with their replies and with evidence.

Pure: the same conversation gives the same records. Promises: personal data is replaced before anything is returned; a
customer's message without a reply is said to be one, or is a labelled question where it has a label. Knows nothing of
files, splits' counts and other conversations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from distill.data.conversation import RawConversation, RawTurn
from distill.data.labelled import LabelledQuestion
from runtime.base.manifest import digest
from runtime.text.personal_data import Kind
from runtime.text.records import Record, Split, Turn
from runtime.text.redaction import Redactor

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


def records(
    conversation: RawConversation,
    redactor: Redactor,
    *,
    split: Split,
    link: Callable[[str], str | None] | None = None,
) -> Iterator[Record | LabelledQuestion | None]:
    """Make the records of one conversation, redacted; None for a customer's message without a reply and a label."""
    for kind, value in conversation.personal:
        redactor.learn(kind, value)
    name = _name(conversation, redactor)
    context: list[Turn] = []
    asked: RawTurn | None = None
    if all(turn.role == "user" for turn in conversation.turns):
        # Labelled messages alone: each is an example, and joining them would mix their labels.
        for number, turn in enumerate(conversation.turns):
            query = redactor.redact(normalise(turn.content))
            yield _labelled(turn, query, f"{name}-{number}", conversation.lang, split)
        return
    turns = merge_turns(conversation.turns)
    for number, turn in enumerate(turns):
        entities = {key: _entity(redactor, key, value) for key, value in turn.entities.items()}
        content = redactor.redact(normalise(turn.content), asked=context[-1].content if context else "")
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
        yield _labelled(asked, asked.content, f"{name}-{len(turns) - 1}", conversation.lang, split)


def _labelled(turn: RawTurn, query: str, identity: str, lang: str, split: Split) -> LabelledQuestion | None:
    if not query or not (turn.intent or turn.emotion):
        return None
    return LabelledQuestion(
        id=identity, lang=lang or "en", query=query, intent=turn.intent, emotion=turn.emotion, split=split
    )


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
