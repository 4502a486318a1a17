"""Prints docs/reference/settings.md from the settings class: `python -m runtime.base.settings_page`.

A test holds the file against it (`tests/runtime/base/test_settings_page.py`).
"""

from __future__ import annotations

import ast
import inspect
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from runtime.base import settings
from runtime.base.settings import OTHER_VARIABLES, PREFIX, Settings

HEAD = """# Settings of a branch

Made from `runtime/base/settings.py` by `python -m runtime.base.settings_page`.

A setting comes from a flag of the command, else from its variable in the environment, else from `settings.toml` in the
home, else from its default. An unknown name is refused, in the file and in the environment.

    # settings.toml
    threads = 2
    branch = "Lisbon"

| setting | values | default | meaning |
|---|---|---|---|
"""
FOOT = f"""
Each setting is also a variable: `{PREFIX}THREADS=2`; a list has commas. A variable left empty is not given.

## Other variables

| variable | meaning |
|---|---|
"""


def settings_page() -> str:
    """The page."""
    meanings = _docstrings()
    rows = [
        f"| `{name}` | {_values(field)} | {_default(field)} | {meanings[name]} |"
        for name, field in Settings.model_fields.items()
    ]
    others = [f"| `{name}` | {meaning} |" for name, meaning in OTHER_VARIABLES.items()]
    return HEAD + "\n".join(rows) + "\n" + FOOT + "\n".join(others) + "\n"


def _docstrings() -> dict[str, str]:
    """The text below each field, in one line. Read from the source: Python keeps no docstrings of attributes."""
    tree = ast.parse(Path(inspect.getfile(settings)).read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    found = {}
    for field, below in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found


def _values(field: FieldInfo) -> str:
    """The type in words, with its bounds."""
    text = str(field.annotation)
    bounds = {
        name: getattr(each, name) for each in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(each, name)
    }
    low = f"from {bounds['ge']:,}" if "ge" in bounds else f"above {bounds['gt']:,}" if "gt" in bounds else ""
    high = f" to {bounds['le']:,}" if "le" in bounds else ""
    if "Literal" in text:
        choices: tuple[Any, ...] = getattr(field.annotation, "__args__", ())
        return ", ".join(f"`{choice}`" for choice in choices)
    if "tuple" in text:
        return "list of texts"
    if "bool" in text:
        return "`true`, `false`"
    kind = "whole number" if "int" in text else "number" if "float" in text else "path" if "Path" in text else "text"
    return f"{kind} {low}{high}".strip()


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default in (None, "", ()):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
