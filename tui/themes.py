"""The console's themes by the names agents give them."""

from __future__ import annotations

from typing import Final

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
)
THEMES: Final = {"dark": "textual-dark", "light": "textual-light", "contrast": CONTRAST.name}
