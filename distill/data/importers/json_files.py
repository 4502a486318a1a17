"""Reads JSON in the shapes that exports have: objects line by line, one list, or one object that wraps a list.

Promises: a list is read item by item, never whole; an item has bounded size and depth; what is no JSON is refused with
its place. Knows nothing of what objects mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from distill.data.importers.encoding import open_text, text_lines
from runtime.errors import InputError

MAX_DEPTH = 64
MAX_ITEM_CHARS = 64 * 1024 * 1024
WRAPPERS = (
    "tickets",
    "conversations",
    "data",
    "items",
    "results",
    "rows",
    "records",
    "dialogs",
    "dialogues",
    "chats",
    "threads",
)
"""Names under which an export wraps its list of conversations or messages."""


@dataclass(frozen=True)
class JsonItem:
    """One object of a file and its place; `value` is the error that refuses it where it is none."""

    where: str
    value: Mapping[str, Any] | InputError


def read_json(path: Path, *, encoding: str = "") -> Iterator[JsonItem]:
    """Every object of a file; `InputError` where the file itself is no JSON."""
    with open_text(path, encoding) as text:
        lines = text_lines(text, path)
        first_number, first = _first_line(lines, path)
        rest = ((number, line) for number, line in enumerate(lines, start=first_number + 1))
        if first.lstrip("\ufeff \t").startswith("{") and _is_object(first):
            second = next(((number, line) for number, line in rest if line.strip()), None)
            if second is None:
                yield from _unwrapped(_item(first, f"{path}:{first_number}"), path)
                return
            for number, line in chain([(first_number, first), second], rest):
                if line.strip():
                    yield _item(line, f"{path}:{number}")
            return
        if first.lstrip("\ufeff \t")[:1] not in ("{", "["):
            # Lines, of which the first is broken: each is refused by itself.
            yield from (_item(line, f"{path}:{n}") for n, line in chain([(first_number, first)], rest) if line.strip())
            return
        yield from _document(path, chain([first], (line for _, line in rest)))


def _first_line(lines: Iterator[str], path: Path) -> tuple[int, str]:
    for number, line in enumerate(lines, start=1):
        if line.strip("\ufeff \t\r\n"):
            return number, line
    raise InputError("the file is empty", where=str(path), hint="put something into it, or leave it out")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line.lstrip("\ufeff")), dict)
    except (ValueError, RecursionError):
        # An object that begins a line and ends on another is one document; a broken line is not.
        return line.rstrip().endswith("}") and line.strip() != "{}"


def _item(line: str, where: str) -> JsonItem:
    try:
        value = json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:  # broken JSON, a number of 5,000 digits, 5,000 brackets
        reason = str(error).splitlines()[0][:200]
        return JsonItem(where, InputError(f"not a JSON object ({reason})", where=where, hint="one JSON object a line"))
    if not isinstance(value, dict):
        return JsonItem(where, InputError("not a JSON object", where=where, hint="one JSON object a line"))
    if _too_deep(value):
        return JsonItem(where, InputError(f"nested more than {MAX_DEPTH} deep", where=where, hint="flatten it"))
    return JsonItem(where, value)


def _too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


class _Utf8:
    """Text as the bytes that ijson reads."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._left = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        while len(self._left) < size and (line := next(self._lines, None)) is not None:
            self._left += line.lstrip("\ufeff").encode("utf-8", "surrogatepass")
        part, self._left = self._left[:size], self._left[size:]
        return part


def _document(path: Path, lines: Iterator[str]) -> Iterator[JsonItem]:
    import ijson

    count = 0
    try:
        events = ijson.basic_parse(_Utf8(lines), use_float=True)
        kind, _ = next(events)
        if kind == "start_array":
            for value in _elements(events, path):
                count += 1
                yield from _unwrapped(_element(value, f"{path}: item {count}"), path)
            if next(events, None) is not None:
                raise InputError("something after the end of the list", where=str(path), hint="one list a file")
        else:
            whole = _value(("start_map", None), events, path)
            yield from _unwrapped(JsonItem(f"{path}:1", whole), path)
    except ijson.JSONError as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"not JSON after item {count} ({reason})", where=str(path), hint="a list of objects, or one object a line"
        ) from None


def _elements(events: Iterator[tuple[str, Any]], path: Path) -> Iterator[Any]:
    for event in events:
        if event[0] == "end_array":
            return
        yield _value(event, events, path)


def _value(event: tuple[str, Any], events: Iterator[tuple[str, Any]], path: Path) -> Any:
    """One whole value, its size and depth counted as it is built."""
    from ijson.common import ObjectBuilder

    builder, depth, size = ObjectBuilder(), 0, 0
    while True:
        kind, said = event
        builder.event(kind, said)
        depth += (kind in ("start_map", "start_array")) - (kind in ("end_map", "end_array"))
        size += 16 + (len(said) if isinstance(said, str) else 0)
        if depth > MAX_DEPTH:
            raise InputError(f"nested more than {MAX_DEPTH} deep", where=str(path), hint="flatten it")
        if size > MAX_ITEM_CHARS:
            raise InputError(
                f"one object of over {MAX_ITEM_CHARS // 1024**2} MiB",
                where=str(path),
                hint="write one conversation a line",
            )
        if not depth:
            return builder.value
        event = next(events)


def _element(value: Any, where: str) -> JsonItem:
    if isinstance(value, dict):
        return JsonItem(where, value)
    return JsonItem(where, InputError("not a JSON object", where=where, hint="a list of objects"))


def _unwrapped(item: JsonItem, path: Path) -> Iterator[JsonItem]:
    """The objects of a wrapper; anything else as it is."""
    if isinstance(item.value, InputError):
        yield item
        return
    for name in WRAPPERS:
        inner = item.value.get(name)
        if not isinstance(inner, list) or not inner or not all(isinstance(each, dict) for each in inner):
            continue
        # A list of messages belongs to its object; a list of conversations is what the object is for.
        if name != "conversations" or not _is_message(inner[0]):
            if len(item.value) > 1 and any(key in item.value for key in ("messages", "turns", "id", "comments")):
                break
            for number, each in enumerate(inner, start=1):
                yield JsonItem(f"{path}: {name}[{number}]", each)
            return
    values = list(item.value.values())
    if len(values) > 1 and all(isinstance(each, dict) for each in values):
        for name, each in item.value.items():  # conversations by their ids
            yield JsonItem(f"{path}: {name[:60]}", {"id": name, **each})
        return
    yield item


def _is_message(value: Mapping[str, Any]) -> bool:
    return bool({"from", "value", "role", "content", "body", "body_text", "incoming"} & value.keys()) and not any(
        isinstance(each, list) and each and isinstance(each[0], dict) for each in value.values()
    )
