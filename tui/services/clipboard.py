"""Copying that works over SSH and in tmux: an OSC 52 sequence to the terminal.

A terminal that does not take it says nothing, so what is copied also goes into a file (`tui.services.private_files`).
Promises: the sequence holds nothing of the text but base64, so a hostile text cannot control the terminal. Knows
nothing of widgets.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

MAX_BYTES = 74_994
"""Of a text: terminals drop longer sequences (xterm's limit is 100,000 characters of base64)."""


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """What to write to the terminal; empty where the text is too long for any.

    In tmux twice: plain, for tmux's own buffer (`set-clipboard on`), and wrapped, for the terminal around it
    (`allow-passthrough on`); either alone does nothing where it is not allowed. In GNU screen wrapped in its way.
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) > MAX_BYTES:
        return ""
    plain = f"\x1b]52;c;{base64.b64encode(raw).decode()}\x07"
    if environment.get("TMUX"):
        return plain + "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environment.get("STY"):
        return f"\x1bP{plain}\x1b\\"
    return plain
