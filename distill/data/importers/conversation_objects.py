"""One JSON object as a conversation: told by its names, whichever program wrote it.

Promises: an object that is no conversation is left to the caller; messages of nested lists keep the object's place with
their number. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from distill.data.conversation import RawConversation
from distill.data.importers.columns import ColumnMap, MessageRow
from distill.data.importers.json_files import JsonItem
from distill.data.importers.seed_form import journal_pair, pair_columns, pair_conversation
from distill.data.importers.tables import cell_text
from distill.data.importers.taubench import parse_chat
from runtime.base.validation import first_problem
from runtime.errors import InputError

Messages = Callable[[str], Iterator[MessageRow | InputError]]
"""Messages of one object, given its place."""
_MAX_NESTING = 6
_IDS = ("conversation_id", "conversation", "ticket_id", "convo_id", "dialog_id", "dialogue_id", "id", "number", "key")


def read_object(item: JsonItem, columns: ColumnMap, messages: str) -> Callable[[], RawConversation] | None:
    """How the object becomes a conversation; None where it is none of the known forms (a single message, perhaps)."""
    value = item.value
    assert not isinstance(value, InputError)
    if "messages_display" in value:
        name = item.where.rsplit("/", 1)[-1].replace(":", "-").replace(".jsonl", "")
        return lambda: parse_chat(str(value["messages_display"]), name, item.where)
    if "turns" in value and "conversation" in value:
        return lambda: _own_form(value, item.where)
    if "draft" in value and "question" in value and "revision" in value:
        return lambda: journal_pair(value, item.where)
    if message_list(value, columns, messages) is not None:
        return lambda: _never(item.where)  # read message by message, by the caller
    if pairs := pair_columns(value):
        given = {part: value[name] for part, name in pairs.items()}
        known = value.get("source") if "split" in value else None
        return lambda: pair_conversation({**given, "source": known}, item.where)
    return None


def message_list(value: Mapping[str, Any], columns: ColumnMap, messages: str) -> Messages | None:
    """The messages of a nested conversation; None where the object holds no list of them."""
    if "turns" in value and "conversation" in value:
        return None
    for path in [messages] if messages else columns.message_lists:
        found = _at(value, path)
        if isinstance(found, list) and found and all(isinstance(each, dict | list) for each in found):
            return lambda where: _nested(value, found, columns, where)
    return None


def flat_text(value: Mapping[str, Any]) -> dict[str, str]:
    """The object's plain values as text, nested names joined by dots; lists of text parts are joined."""
    flat: dict[str, str] = {}

    def walk(inside: Mapping[str, Any], prefix: str, depth: int) -> None:
        for key, each in inside.items():
            name = f"{prefix}{key}"
            if isinstance(each, Mapping):
                if depth < _MAX_NESTING:
                    walk(each, f"{name}.", depth + 1)
            elif isinstance(each, list):
                if text := _parts(each):
                    flat[name] = text
            else:
                flat[name] = cell_text(each)

    walk(value, "", 0)
    return flat


def _nested(
    value: Mapping[str, Any], listed: list[Any], columns: ColumnMap, where: str
) -> Iterator[MessageRow | InputError]:
    around = {key: each for key, each in value.items() if not isinstance(each, list)}
    name = next(
        (text for key in _IDS if (text := cell_text(value.get(key))) and not isinstance(value[key], dict)), where
    )
    outside = flat_text(around)
    opening = next((text for path in columns.openings if (text := outside.get(path, "").strip())), "")
    if opening:
        time = next((outside[key] for key in ("created_at", "source.created_at", "time") if outside.get(key)), "")
        yield MessageRow(f"{where} opening", name, "", "user", opening, time, "", outside.get("lang", ""), "", "", None)
    for number, each in enumerate(listed, start=1):
        place = f"{where} message {number}"
        cells = flat_text(each) if isinstance(each, Mapping) else _from_pair(each)
        if not any(key in cells for key in ("content", "value", "body")) and "tool_calls" in (each or ()):
            cells = {**cells, "content": "", "role": "tool"}
        # The customer of a ticket stands beside its messages.
        cells = {**{key: text for key, text in outside.items() if key not in cells and "requester" in key}, **cells}
        found = columns.find(cells, place)
        if missing := columns.missing({**found, "conversation": "id"}):
            yield _unreadable(place, name, missing, cells)
            continue
        message = columns.message(_getter(cells), found, place, name)
        if not message.content.strip() and not message.problem:
            message = _hidden(message)
        yield message


def _getter(cells: Mapping[str, str]) -> Callable[[str], str]:
    return lambda column: cells.get(column, "")


def _hidden(message: MessageRow) -> MessageRow:
    return message if message.hidden else replace(message, hidden="without text")


def _unreadable(where: str, name: str, missing: str, cells: Mapping[str, str]) -> MessageRow:
    hint = f"found: {', '.join(cells)[:200]}"
    problem = f"'{missing}' is missing"
    return MessageRow(where, name, "", "skip", "", "", "", "", "", "", None, problem, hint)


def _from_pair(each: Any) -> dict[str, str]:
    """`["customer", "Hello"]`: an author and a text."""
    if isinstance(each, list) and len(each) >= 2 and all(isinstance(part, str) for part in each[:2]):
        return {"role": each[0], "content": each[1]}
    return {}


def _parts(listed: list[Any]) -> str:
    """Text out of a list of content parts, such as OpenAI's `[{"type": "text", "text": …}]`."""
    texts = [each.get("text") for each in listed if isinstance(each, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _at(value: Mapping[str, Any], path: str) -> Any:
    found: Any = value
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _own_form(value: Mapping[str, Any], where: str) -> RawConversation:
    try:
        row = RawConversation.model_validate(dict(value))
    except ValidationError as error:
        problem = first_problem(error, "column", RawConversation)
        columns = f"columns of a conversation: {', '.join(RawConversation.model_fields)}"
        raise InputError(problem.sentence, where=where, hint=problem.hint or columns) from None
    return row if row.where else row.model_copy(update={"where": where})


def _never(where: str) -> RawConversation:
    raise AssertionError(f"{where}: read message by message")
