"""Text that comes in at once: cleaning it, and knowing a burst of keys for a paste.

A terminal hands over a paste in one of two ways. With bracketed paste it is one event whose line breaks are carriage
returns. Without it (a serial line, an old multiplexer, `tmux paste-buffer`) it is a burst of keys, each line break an
Enter like the agent's own. Promises: pure; `clean_pasted(clean_pasted(text)) == clean_pasted(text)`; time linear in the
text. Knows nothing of widgets and clocks.
"""

from __future__ import annotations

import re
from typing import Final

from runtime.text.normalize import INVISIBLE
from tui.base.inert_text import inert

_LINE_BREAKS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
"""Word processors and web pages put them between words, where a search looks for a space. Not U+3000, which is the
space of Chinese text."""
BURST_GAP_S: Final = 0.015
"""Keys that were read closer together than this may come from a paste: nobody types so fast, and a terminal that writes
a paste in pieces is faster. On a machine that is starved for a moment, typed keys are read together as well; so a burst
alone never keeps an Enter from sending, only what follows it does."""


def clean_pasted(text: str) -> str:
    """Pasted text as it may be typed: line feeds, plain spaces, nothing invisible; controls as visible signs."""
    lines = _LINE_BREAKS.sub("\n", text)
    return inert(INVISIBLE.sub("", _SPACES.sub(" ", lines)))


def clean_pasted_line(text: str) -> str:
    """The same on one line, for a field of one line."""
    return " ".join(clean_pasted(text).split())


def is_invisible(char: str) -> bool:
    """Whether a typed character would leave no trace on the screen and is left out."""
    return bool(INVISIBLE.fullmatch(char))


class KeyBurst:
    """The keys of a terminal, by which a burst is distinguished from typing."""

    def __init__(self) -> None:
        self._last_at = float("-inf")
        self._run = 0
        self._enters = 0

    def note(self, key: str, at: float) -> None:
        """A key was read at this time, in seconds of a monotonic clock."""
        if at - self._last_at > BURST_GAP_S:
            self._run = self._enters = 0
        self._last_at = at
        self._run += 1
        self._enters += key == "enter"

    @property
    def may_be_paste(self) -> bool:
        """Whether the newest key was read together with the one before it."""
        return self._run > 1

    @property
    def has_lines(self) -> bool:
        """Whether the burst of the newest key has a line break before its last key: a paste of several lines."""
        return self._enters > 1
