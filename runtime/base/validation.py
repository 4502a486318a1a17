"""What is wrong with input that a pydantic model refused, in one line."""

from __future__ import annotations

from pydantic import ValidationError


def describe(error: ValidationError) -> str:
    """The first thing wrong with a row, in one line, naming the column."""
    first = error.errors()[0]
    column = ".".join(str(part) for part in first["loc"]) or "row"
    message = "is missing" if first["type"] == "missing" else str(first["msg"]).lower()
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"column '{column}' {message}{more}"
