"""Says in one sentence of our own what is wrong with input that a pydantic model refused.

Promises: the sentence calls the place by the noun the caller gives (a column of a row, a key of a file, a setting, a
field of a request), names it, and says what would fit. Values are shown where they are choices or numbers; text is
not, since it may be a customer's. Knows nothing of files and requests.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

Noun = Literal["key", "column", "setting", "field", "parameter", "option"]
_WHOLE: dict[Noun, str] = {
    "key": "file",
    "column": "row",
    "setting": "file",
    "field": "body",
    "parameter": "request",
    "option": "command",
}
"""What the nouns are parts of: named where the whole input has the wrong form."""
_SHOWN_CHARS = 40


class Problem(NamedTuple):
    """The first thing that is wrong with refused input."""

    location: str
    """Where: `tone.angry.phrases[0]`; "" for the whole input."""
    sentence: str
    """What, with the place named: "unknown key 'theme'"."""
    hint: str
    """What to do next: the nearest known name, or all of them; "" when the sentence says enough."""


def first_problem(
    error: ValidationError | Sequence[Mapping[str, Any]], noun: Noun, model: type[BaseModel] | None = None
) -> Problem:
    """The first problem of a pydantic error, or of such an error's list.

    `noun` is what a named value is called where the input comes from. With `model` the hint for an unknown name lists
    the known ones.
    """
    found = error.errors() if isinstance(error, ValidationError) else error
    # A union reports one error for each of its members, all at the same place.
    places = {_location(each) for each in found}
    # A slip of the pen is reported twice, as an unknown name and as a missing one: the unknown one is in the file.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    location = _location(first)
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return Problem(location, _sentence(first, location, noun) + more, _hint(first, model))


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all where none is near."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}"


def _sentence(error: Mapping[str, Any], location: str, noun: Noun) -> str:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown {noun} '{location}'"
    if kind in ("value_error", "assertion_error"):  # a validator of ours: its text is a sentence of ours
        own = str(context.get("error", error["msg"]))
        return f"{noun} '{location}': {own}" if location else own
    subject = f"{noun} '{location}'" if location else f"the {_WHOLE[noun]}"
    return f"{subject} {_verdict(kind, context, error.get('input'), str(error['msg']))}"


def _verdict(kind: str, context: Mapping[str, Any], given: Any, message: str) -> str:
    """What follows the subject: "is missing", "must be at least 1, not 0"."""
    if kind == "missing":
        return "is missing"
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        choices = str(context.get("expected") or context.get("expected_tags")).replace(" or ", ", ").replace("'", "")
        return f"must be one of {choices}{_shown(given)}"
    if kind in _BOUNDS:
        phrase, limit = _BOUNDS[kind]
        return f"{phrase} {context[limit]:,.15g}{_shown(given)}"
    if kind in ("string_too_short", "too_short", "bytes_too_short"):
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} {_units(kind)}"
    if kind in ("string_too_long", "too_long", "bytes_too_long"):
        return f"must have at most {context['max_length']:,} {_units(kind)}"
    if kind == "string_pattern_mismatch":
        return f"must match the pattern {context['pattern']}"
    if kind == "json_invalid":
        return f"is not JSON: {context['error']}"
    if kind == "string_unicode":
        return "is not valid Unicode text"
    for prefix, needed in _TYPES.items():
        if kind.startswith(prefix):
            return f"must be {needed}, not {_type_name(given)}"
    return f"cannot be used: {message[:1].lower()}{message[1:]}"


# Error type -> phrase, and where the error keeps the bound.
_BOUNDS = {
    "greater_than": ("must be above", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be below", "lt"),
    "less_than_equal": ("must be at most", "le"),
    "multiple_of": ("must be a multiple of", "multiple_of"),
}
# Prefixes of pydantic's error types, the longer ones first where one begins another.
_TYPES = {
    "string_": "text",
    "bytes_": "text",
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a finite number",
    "decimal_": "a number",
    "bool_": "true or false",
    "path_": "a path",
    "datetime_": "a time such as 2026-01-31T12:00:00",
    "date_": "a date such as 2026-01-31",
    "time_": "a time such as 12:00",
    "list_": "a list",
    "tuple_": "a list",
    "set_": "a list",
    "frozen_set_": "a list",
    "iterable_": "a list",
    "dict_": "a group of names with values",
    "mapping_": "a group of names with values",
    "model_": "a group of names with values",
    "dataclass_": "a group of names with values",
}


def _units(kind: str) -> str:
    return "characters" if kind.startswith(("string", "bytes")) else "entries"


def _shown(given: Any) -> str:
    """`, not …` for what can be shown in a few characters: a choice or a number."""
    if isinstance(given, bool | int | float):
        return f", not {str(given).lower()[:_SHOWN_CHARS]}"
    if isinstance(given, str) and len(given) <= _SHOWN_CHARS:
        return f", not '{given}'"
    return ""


def _type_name(given: Any) -> str:
    if isinstance(given, bool | float):
        return str(given).lower()
    for kinds, name in (
        ((int,), "a number"),
        ((str, bytes), "text"),
        ((Mapping,), "a group of names"),
        ((list, tuple, set, frozenset), "a list"),
    ):
        if isinstance(given, kinds):
            return name
    return "null" if given is None else f"a {type(given).__name__}"


def _location(error: Mapping[str, Any]) -> str:
    """`a.b[0].c`, without the parts in which pydantic names a member of a union."""
    parts = list(error["loc"])
    if len(parts) > 1 and parts[-1] in _MEMBERS and error["type"] not in ("missing", "extra_forbidden"):
        parts.pop()
    out = ""
    for part in parts:
        if isinstance(part, int):
            out += f"[{part}]"
        elif not any(mark in part for mark in "[("):  # `function-before[…]`, `tuple[str, ...]`
            out += f".{part}" if out else part
    return out


_MEMBERS = frozenset({"str", "int", "float", "bool", "none", "bytes", "path", "date", "datetime", "constrained-str"})


def _hint(error: Mapping[str, Any], model: type[BaseModel] | None) -> str:
    if error["type"] != "extra_forbidden" or model is None:
        return ""
    inner = _model_at(model, error["loc"][:-1])
    return nearest(str(error["loc"][-1]), list(_names(inner))) if inner else ""


def _names(model: type[BaseModel]) -> Iterator[str]:
    """The names its input may have."""
    for name, field in model.model_fields.items():
        yield field.alias or name


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that a part of the input is read as; None where the path leads through no single model."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            inner = next(_models_in(model.model_fields[part].annotation), None)
            if inner is None:
                return None
            model = inner
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models an annotation names, at any depth: `dict[str, Tone]`, `tuple[Answer, ...]`, `Lora | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
