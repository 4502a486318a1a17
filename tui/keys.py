"""Every key of the console, in one table: what it does, where it counts, and what it is called.

The bindings, the key bar, the help screen and the key table in the docs are made from it; a key can be moved by its
`id` (`App.set_keymap`). Knows nothing of what the acts do.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from textual.binding import Binding, BindingType


class Act(NamedTuple):
    """One thing an agent can do. `id` is also its label's place in the catalogue (`key.<id>`, `help.<id>`)."""

    id: str
    keys: str
    """As Textual writes them, separated by commas."""
    action: str
    shown: str
    """As a person reads them."""
    where: str
    """`app`, `chat` or `article`."""
    priority: bool = False


DIGITS: Final = "123456789"

ACTS: Final = (
    Act("send", "enter", "send", "Enter", "composer"),
    Act("newline", "ctrl+j,shift+enter", "newline", "Ctrl+J", "composer"),
    Act("cancel", "escape", "cancel", "Esc", "chat"),
    Act("cite", "1", "cite(1)", "1-9", "chat"),
    Act("write", "tab,slash", "write", "Tab", "chat"),
    Act("scroll_up", "pageup", "scroll(-1)", "PgUp", "chat", True),
    Act("scroll_down", "pagedown", "scroll(1)", "PgDn", "chat", True),
    Act("new", "ctrl+n", "new", "Ctrl+N", "chat", True),
    Act("back", "escape,backspace,q", "back", "Esc", "article"),
    Act("other", "1", "cite(1)", "1-9", "article"),
    Act("whole", "a", "whole", "A", "article"),
    Act("help", "f1", "help", "F1", "app", True),
    Act("quit", "ctrl+q", "quit", "Ctrl+Q", "app", True),
    Act("language", "f2", "language", "F2", "app", True),
    Act("theme", "f3", "theme", "F3", "app", True),
    Act("commands", "ctrl+p", "command_palette", "Ctrl+P", "app", True),
)


def bindings(where: str) -> list[BindingType]:
    """The bindings of a screen or of the app; where one digit is bound, all nine are.

    Not Alt with a digit: without the kitty protocol Textual reads it as the letter a Mac would type, `£` for Alt+3.
    """
    out: list[BindingType] = []
    for act in ACTS:
        if act.where != where:
            continue
        if act.keys == "1":
            out += [Binding(digit, f"cite({digit})", show=False, id=f"{act.id}_{digit}") for digit in DIGITS]
        else:
            out.append(Binding(act.keys, act.action, show=False, id=act.id, priority=act.priority))
    return out
