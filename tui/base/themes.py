"""The console's themes by the names agents give them, and what a terminal without the finer signs gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.theme import Theme

CONTRAST: Final = Theme(
    name="edgedesk-contrast",
    primary="#ffff00",
    secondary="#00ffff",
    warning="#ffff00",
    error="#ff8080",
    success="#00ff00",
    accent="#00ffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#202020",
    dark=True,
    variables={"text-muted": "#ffffff", "border": "#ffff00", "input-cursor-background": "#ffff00"},
)
THEMES: Final = {"dark": "textual-dark", "light": "textual-light", "contrast": CONTRAST.name}
PLAIN_TERMINALS: Final = ("linux", "cons25", "vt100", "vt220")


def is_plain(environment: Mapping[str, str]) -> bool:
    """Whether this terminal's font may lack rounded corners and eighths of blocks (class `plain` in console.tcss)."""
    return environment.get("TERM", "") in PLAIN_TERMINALS


class PlainBar(ScrollBarRender):
    """A scroll bar of whole cells."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8


def use_plain_bars() -> None:
    """For every scroll bar of this process."""
    ScrollBar.renderer = PlainBar
