# noqa: INP001 - a program, no package
"""Prints docs/reference/cli.md: the help of every command.

    python docs/cli_reference.py > docs/reference/cli.md

tests/system/test_cli_reference.py compares the page with what this prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["TYPER_USE_RICH"] = "0"  # read at import: the page has plain text

import typer

import edgedesk

WIDTH = 100
INTRODUCTION = """# Commands

Printed from `--help` by `docs/cli_reference.py`. Every command takes `--help`; [exit codes](exit-codes.md) have a page.

Shell completion: `edgedesk --install-completion`.
"""


def commands(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """Name and help of a command and of those below it."""
    yield context.command_path, command.get_help(context)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        yield from commands(below, type(context)(below, info_name=name, parent=context))


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = str(WIDTH)  # click wraps at the terminal's width
    for name in [name for name in os.environ if name.startswith("EDGEDESK_")]:
        del os.environ[name]
    command = typer.main.get_command(edgedesk.app)
    context = command.make_context(
        "edgedesk", [], resilient_parsing=True, max_content_width=WIDTH, terminal_width=WIDTH
    )
    parts = [INTRODUCTION]
    for name, text in commands(command, context):
        lines = "\n".join(f"    {line}".rstrip() for line in text.strip().splitlines())
        parts.append(f"## {name}\n\n{lines}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
