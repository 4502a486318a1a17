"""Text that cannot steer a terminal, whoever wrote it."""

from __future__ import annotations

import re

# Control characters but newline and tab, and the marks that turn the direction of text.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control and direction characters, but newline and tab, as spaces."""
    return STEERING.sub(" ", text)
