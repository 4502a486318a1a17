"""Stop strings: text in, text out up to the first of them, wherever tokens cut it.

Promises: the time for an answer grows with its length times the length of the stop strings, whatever either contains.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Holds back what may be the beginning of a stop string until it is clear that it is none."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        """Never longer than the longest stop string plus the text that came last."""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that may be shown now; nothing comes after a stop string was found."""
        if self.found or not text:
            return ""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.found = True
            return self._take(min(places))
        longest = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        return self._take(len(self._held) - longest)

    def rest(self) -> str:
        """What was held back and is no stop string after all, at the end of the answer."""
        return "" if self.found else self._take(len(self._held))

    def _take(self, size: int) -> str:
        shown, self._held = self._held[:size], self._held[size:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that a stop string begins with."""
    return next(size for size in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:size]))
