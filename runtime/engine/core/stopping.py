"""Ends an answer before one of the caller's stop strings, however the text is cut into pieces. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Feed pieces; what comes back may be shown. `hit` is set once a stop string was found; nothing comes after it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.hit = False

    def feed(self, piece: str) -> str:
        """What is safe to show; the end of it that may begin a stop string is held back."""
        if self.hit:
            return ""
        self._held += piece
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.hit = True
            return self._give(min(places))
        keep = max(
            (
                size
                for stop in self._stops
                for size in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:size])
            ),
            default=0,
        )
        return self._give(len(self._held) - keep)

    def rest(self) -> str:
        """What was held back, at the end of a text that held no stop string after all."""
        return "" if self.hit else self._give(len(self._held))

    def _give(self, count: int) -> str:
        given, self._held = self._held[:count], self._held[count:]
        return given
