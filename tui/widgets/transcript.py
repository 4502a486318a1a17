"""The scrolling list of turns. It follows its end until somebody scrolls up, and again once they are back near it.

Textual's `anchor()` would do this, but it pushes content shorter than the window down by a negative scroll offset.
Knows nothing of what a turn holds.
"""

from __future__ import annotations

from typing import Final

from textual.containers import VerticalScroll

from tui.state import State
from tui.widgets.answer import TurnView
from tui.words import Words

NEAR_LINES: Final = 2


class Transcript(VerticalScroll):
    """Every turn of the conversation, the newest last."""

    def __init__(self) -> None:
        super().__init__(id="turns")
        self._follow = True
        self._views: dict[int, TurnView] = {}

    async def show(self, state: State, words: Words) -> None:
        """Show these turns; only what changed is touched."""
        views = self._views
        for number in views.keys() - {turn.number for turn in state.turns}:
            await views.pop(number).remove()
        for place, turn in enumerate(state.turns):
            if turn.number not in views:
                after = views.get(state.turns[place - 1].number) if place else None
                views[turn.number] = TurnView(turn.number)
                await self.mount(
                    views[turn.number], before=0 if after is None and len(views) > 1 else None, after=after
                )
                self._follow = True
            await views[turn.number].show(turn, words)
        if self._follow:
            self.scroll_end(animate=False)

    def turn_page(self, direction: int) -> None:
        """One page up (-1) or down (1)."""
        (self.scroll_page_up if direction < 0 else self.scroll_page_down)(animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following on the way up; follow again near the end."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value:
            self._follow = False
        if self.max_scroll_y - new_value <= NEAR_LINES:
            self._follow = True
