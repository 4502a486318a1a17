"""Every key of the console, in one table: what it does and where it counts.

The bindings, the key bar, the help screen, the command palette and docs/reference/keys.md are made from it; an agent
moves a key by its `id` in `console.toml` (`tui.base.settings`). Knows nothing of what the commands do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from textual.binding import Binding, BindingType


class Command(NamedTuple):
    """One thing an agent can do. `id` is also its label's place in the catalogue (`key.<id>`, `help.<id>`)."""

    id: str
    keys: str
    """As Textual writes them, separated by commas; empty = found by name in the command palette."""
    action: str
    where: str
    """`app`, `chat`, `composer`, `article`, `page`, `finder` or `form`."""
    priority: bool = False
    """Whether the key counts even where the cursor is in a text field that knows it too."""


DIGITS: Final = "123456789"

COMMANDS: Final = (
    Command("send", "enter", "send", "composer"),
    Command("newline", "ctrl+j,shift+enter", "newline", "composer"),
    Command("canned", "slash", "do('canned')", "chat"),
    Command("accept", "f5", "do('accept')", "chat", True),
    Command("edit", "f6", "do('edit')", "chat", True),
    Command("reject", "f7", "do('reject')", "chat", True),
    Command("cancel", "escape", "do('cancel')", "chat"),
    Command("cite", "1", "cite(1)", "chat"),
    Command("write", "tab", "write", "chat"),
    Command("handoff", "f8", "do('handoff')", "chat", True),
    Command("labels", "f9", "do('labels')", "chat", True),
    Command("why", "ctrl+g", "do('why')", "chat", True),
    Command("copy", "ctrl+y", "do('copy')", "chat", True),
    Command("talk", "f10", "do('talk')", "chat", True),
    Command("again", "ctrl+r", "do('again')", "chat", True),
    Command("knowledge", "ctrl+k", "do('knowledge')", "chat", True),
    Command("past", "ctrl+f", "do('past')", "chat", True),
    Command("pane", "f4", "pane", "chat", True),
    Command("scroll_up", "pageup", "scroll(-1)", "chat", True),
    Command("scroll_down", "pagedown", "scroll(1)", "chat", True),
    Command("new", "ctrl+n", "do('new')", "chat", True),
    Command("wrap", "f12", "do('wrap')", "chat", True),
    Command("snooze", "", "do('snooze')", "chat"),
    Command("export", "", "do('export')", "chat"),
    Command("lens", "ctrl+l", "do('lens')", "chat", True),
    Command("queue", "ctrl+t", "do('queue')", "chat", True),
    Command("gaps", "", "do('gaps')", "chat"),
    Command("receipt", "", "do('receipt')", "chat"),
    Command("shift", "", "do('shift')", "chat"),
    Command("supervisor", "", "do('supervisor')", "chat"),
    Command("practice", "", "do('practice')", "chat"),
    Command("ahead", "", "do('ahead')", "chat"),
    Command("attach", "ctrl+o", "do('attach')", "chat", True),
    Command("back", "escape,backspace,q", "back", "article"),
    Command("other", "1", "cite(1)", "article"),
    Command("whole", "a", "whole", "article"),
    Command("quote", "c", "quote", "article"),
    Command("close", "escape,q", "close", "page"),
    Command("copy_page", "c,ctrl+y", "copy_page", "page"),
    Command("save_page", "s", "save_page", "page"),
    Command("choose", "enter", "choose", "finder"),
    Command("leave", "escape", "leave", "finder", True),
    Command("submit", "ctrl+s", "submit", "form", True),
    Command("drop", "escape", "drop", "form", True),
    Command("help", "f1", "help", "app", True),
    Command("commands", "ctrl+p", "command_palette", "app", True),
    Command("language", "f2", "language", "app", True),
    Command("theme", "f3", "theme", "app", True),
    Command("quit", "ctrl+q", "quit", "app", True),
)
_NAMES: Final = {
    "escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn", "slash": "/", "backspace": "Bksp", "space": "Space",
}  # fmt: skip


def with_own_keys(keys: Mapping[str, str]) -> tuple[Command, ...]:
    """The table with an agent's own keys in it."""
    return tuple(command._replace(keys=keys.get(command.id, command.keys)) for command in COMMANDS)


def key_label(command: Command) -> str:
    """The command's first key as a person reads it; empty where it has none."""
    if command.keys == "1":
        return "1-9"
    return key_name(command.keys.split(",")[0]) if command.keys else ""


def key_name(key: str) -> str:
    """`ctrl+n` as `Ctrl+N`."""
    *modifiers, last = key.strip().split("+")
    name = _NAMES.get(last, last.upper() if len(last) == 1 or last[1:].isdigit() else last.capitalize())
    return "+".join([*(modifier.capitalize() for modifier in modifiers), name])


def clashes(commands: Iterable[Command]) -> list[tuple[str, str, str]]:
    """(key, id, id) where two commands that count at the same time have the same key."""
    out = []
    seen: dict[tuple[str, str], str] = {}
    for command in commands:
        for key in (one.strip() for one in command.keys.split(",") if one.strip()):
            here = "chat" if command.where == "composer" else command.where
            places = ("app", "chat", "article", "page", "finder", "form") if here == "app" else (here, "app")
            taken = next((seen[place, key] for place in places if (place, key) in seen), None)
            if taken:
                out.append((key, taken, command.id))
            seen[here, key] = command.id
    return out


def bindings(where: str) -> list[BindingType]:
    """The bindings of a screen or of the app; where one digit is bound, all nine are.

    Not Alt with a digit: without the kitty protocol Textual reads it as the letter a Mac would type, `£` for Alt+3.
    """
    out: list[BindingType] = []
    for command in COMMANDS:
        if command.where != where or not command.keys:
            continue
        if command.keys == "1":
            out += [Binding(digit, f"cite({digit})", show=False, id=f"{command.id}_{digit}") for digit in DIGITS]
        else:
            out.append(Binding(command.keys, command.action, show=False, id=command.id, priority=command.priority))
    return out
