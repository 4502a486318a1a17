"""The seed form: {query, response, context, intent, entities}, a question and its answer; also as a table's row.

Promises: what `seed_rows` writes, `pair_conversation` reads back as the same query, response, context, intent and
entities. A branch's journal export has the same shape under other names and comes in by the same door.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from distill.data.authors import plain_name
from distill.data.conversation import RawConversation, RawTurn
from runtime.base.manifest import digest
from runtime.base.validation import first_problem
from runtime.errors import InputError
from runtime.text.records import Record

PAIR_NAMES: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "question", "instruction", "prompt", "q", "input", "问题", "提问", "客户问题", "问"),
    "response": ("response", "answer", "reply", "completion", "a", "output", "回答", "答案", "答复", "客服回复", "答"),
    "context": ("context", "history", "上下文"),
    "intent": ("intent", "category", "意图", "类别"),
    "emotion": ("emotion", "情绪"),
    "entities": ("entities", "slots", "实体"),
    "lang": ("lang", "language", "语言"),
    "evidence": ("evidence", "依据"),
    "conversation": ("conversation", "conversation_id", "id", "编号"),
}


_LABELLED_NAMES: Mapping[str, tuple[str, ...]] = {
    "conversation": ("conversation", "conversation_id"),
    "query": ("text", "utterance", "question", "query", "sentence", "message", "文本", "问题", "提问"),
    "intent": ("intent", "category", "label", "class", "意图", "类别", "标签"),
    "emotion": ("emotion", "情绪"),
    "lang": ("lang", "language", "语言"),
}


def labelled_columns(names: Iterable[str]) -> dict[str, str]:
    """Part → column, where the columns hold a question and its label; {} where they do not."""
    found = _columns(names, _LABELLED_NAMES)
    return found if "query" in found and {"intent", "emotion"} & set(found) else {}


def labelled_question(given: Mapping[str, Any], number: int, where: str) -> RawConversation:
    """One question with its label, the `number`-th of its file; `InputError` naming what does not fit."""
    query = _text(given.get("query"))
    labels = {part: _text(given.get(part)) or None for part in ("intent", "emotion")}
    if not query or not any(labels.values()):
        raise InputError("not a question and its label", where=where, hint="both in every row")
    # Questions of one conversation are in one split: what stands before `~` decides it.
    name = _text(given.get("conversation")) or f"question-{digest([where, query])[:12]}"
    try:
        turn = RawTurn.model_validate({"role": "user", "content": query, **labels})
        return RawConversation(
            conversation=f"{name}~{number}", lang=_text(given.get("lang")), turns=(turn,), where=where
        )
    except ValidationError as error:
        problem = first_problem(error, "column")
        raise InputError(problem.sentence, where=where, hint=problem.hint) from None


def pair_columns(names: Iterable[str]) -> dict[str, str]:
    """Part → column, where the columns hold a question and its answer; {} where they do not."""
    found = _columns(names, PAIR_NAMES)
    return found if "query" in found and "response" in found else {}


def _columns(names: Iterable[str], parts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    plain = {plain_name(name): name for name in names}
    return {
        part: plain[plain_name(each)]
        for part, common in parts.items()
        for each in reversed(common)
        if plain_name(each) in plain
    }


def pair_conversation(given: Mapping[str, Any], where: str) -> RawConversation:
    """One question and answer with the turns before them; `InputError` naming what does not fit."""
    query, response = _text(given.get("query")), _text(given.get("response"))
    for part, text in (("query", query), ("response", response)):
        if not text:
            raise InputError(f"column '{part}' is empty", where=where, hint="a question and its answer a row")
    labels: dict[str, Any] = {
        "intent": _text(given.get("intent")) or None,
        "emotion": _text(given.get("emotion")) or None,
        "entities": _entities(given.get("entities"), where),
    }
    if given.get("evidence") is not None:
        evidence = given["evidence"]
        labels["evidence"] = tuple(evidence.split() if isinstance(evidence, str) else map(str, evidence))
    try:
        asked = RawTurn.model_validate({"role": "user", "content": query, **labels})
        turns = (*_context(given.get("context")), asked, RawTurn(role="assistant", content=response))
        return RawConversation.model_validate(
            {
                "conversation": _text(given.get("conversation")) or f"pair-{digest([where, query])[:12]}",
                "lang": _text(given.get("lang")),
                "turns": turns,
                "source": given.get("source") or "transcript",
                "where": where,
                "only_last": True,
            }
        )
    except ValidationError as error:
        problem = first_problem(error, "column")
        raise InputError(problem.sentence, where=where, hint=problem.hint) from None


def seed_rows(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Records in the seed form."""
    for record in records:
        yield {
            "query": record.query,
            "response": record.response,
            "context": [turn.model_dump() for turn in record.context],
            "intent": record.intent,
            "entities": record.entities,
        }


def journal_pair(row: Mapping[str, Any], where: str) -> RawConversation:
    """A turn out of a branch's journal: the question, and the reply that an agent sent or took over."""
    verdict = str(row.get("verdict") or "")
    reply = _text(row.get("reply")) or (_text(row.get("draft")) if verdict in ("accepted", "sent", "copied") else "")
    if not reply:
        raise InputError(f"turn without a reply that an agent stood by ({verdict or 'no verdict'})", where=where)
    given = {part: row.get(part) for part in ("lang", "intent", "emotion")} | {
        "query": row.get("question"),
        "response": reply,
        "conversation": f"{row.get('conversation', '')}-{row.get('turn', '')}",
        "source": "journal",
        "evidence": row.get("citations") if verdict and not _text(row.get("reply")) else None,
    }
    return pair_conversation(given, where)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def _entities(value: Any, where: str) -> dict[str, str]:
    if not value:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError("column 'entities' is not JSON", where=where, hint='{"order_id": "123"}') from None
    if not isinstance(value, Mapping):
        raise InputError("column 'entities' must be names with values", where=where, hint='{"order_id": "123"}')
    return {str(key): _text(each) for key, each in value.items()}


def _context(value: Any) -> Sequence[RawTurn]:
    """Earlier turns: a list of {role, content}, or text in turns, customer first."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not value:
        return ()
    if isinstance(value, str):
        value = [value]
    turns = []
    for place, each in enumerate(value):
        if isinstance(each, Mapping):
            turns.append(RawTurn.model_validate({"role": each.get("role", ""), "content": each.get("content", "")}))
        else:
            turns.append(RawTurn.model_validate({"role": ("user", "assistant")[place % 2], "content": str(each)}))
    return turns
