"""The scrolling list of turns, one widget that paints its own lines.

A draft grows many times a second; here a new line of it costs that line and a scroll, and no other widget is laid out.
Promises: it follows its end until somebody scrolls up, and again once they are back near it; a source opens by a click;
what is selected is copied as the text itself, not as it was broken into lines. Knows nothing of what a turn holds.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import ClassVar, Final

from rich.segment import Segment
from textual import events
from textual._border import BORDER_CHARS
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from runtime.events import Citation
from tui.base.i18n import Catalogue
from tui.state import State
from tui.widgets.transcript_rows import MARGIN, LaidTurn, TranscriptRow, indent_cells, lay_out_turn
from tui.widgets.turn_blocks import KINDS

NEAR_LINES: Final = 2


class Transcript(ScrollView, can_focus=True):
    """Every turn of the conversation, the newest last."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"turn--{kind}" for kind in KINDS}

    class Opened(Message):
        """The agent wants to read source `number` (from 1) of these."""

        def __init__(self, citations: tuple[Citation, ...], number: int) -> None:
            super().__init__()
            self.citations = citations
            self.number = number

    def __init__(self) -> None:
        super().__init__(id="turns")
        self._follow = True
        self._laid: tuple[LaidTurn, ...] = ()
        self._starts: list[int] = []
        """The row at which each turn begins, and the one after the last."""
        self._bases: list[int] = []
        """The line of the whole text at which each turn begins."""
        self._rows: list[TranscriptRow] = []
        self._hovered: TranscriptRow | None = None
        self._shown: tuple[State, Catalogue, bool] | None = None

    @property
    def allow_select(self) -> bool:
        """Text is selected with the mouse, as anywhere else."""
        return True

    # What is shown.

    def show(self, state: State, words: Catalogue, *, assisted: bool) -> None:
        """Show these turns; only rows that changed are painted."""
        self._shown = (state, words, assisted)
        width = self.scrollable_content_region.width
        if not width:
            return  # Not laid out yet, or another pane has the screen; `on_resize` shows the turns then.
        known = {one.turn.number: one for one in self._laid}
        if any(turn.number not in known for turn in state.turns):
            # A new message, or another conversation: an agent who had scrolled up wants to see its end.
            self._follow = True
        self._laid = tuple(
            lay_out_turn(turn, words, width, assisted=assisted, before=known.get(turn.number)) for turn in state.turns
        )
        before, self._rows = self._rows, [row for one in self._laid for row in one.rows]
        self._starts = [0, *accumulate(len(one.rows) for one in self._laid)]
        self._bases = [0, *accumulate(len(one.lines) for one in self._laid)]
        self._repaint(before)
        if self._follow:
            self.scroll_end(animate=False, immediate=True)

    def _repaint(self, before: list[TranscriptRow]) -> None:
        rows = self._rows
        # By identity: a row that is the same object looks the same (`transcript_rows`), so the first other one is
        # where painting begins. Comparing contents would cost more than painting.
        first = next((n for n, (one, two) in enumerate(zip(rows, before, strict=False)) if one is not two), None)
        if first is None:
            first = min(len(rows), len(before))
        if len(rows) != len(before):
            # Not by the attribute, which would lay out the whole screen: nobody else's place depends on it.
            size = Size(self.scrollable_content_region.width, len(rows))
            self.set_reactive(Widget.virtual_size, size)
            self._scroll_update(size)
        elif first == len(rows):
            return
        self.refresh_lines(first, max(len(rows), len(before)) - first)

    def _again(self) -> None:
        if self._shown is not None:
            state, words, assisted = self._shown
            self.show(state, words, assisted=assisted)

    def on_resize(self, _: events.Resize) -> None:
        """Lay out anew where the width is another."""
        self._again()

    def notify_style_update(self) -> None:
        """Another theme: nothing that was painted holds."""
        super().notify_style_update()
        for row in self._rows:
            row.painted = None

    # Painting.

    def render_line(self, y: int) -> Strip:
        """One line of the window."""
        place = self.scroll_offset.y + y
        width = self.scrollable_content_region.width
        if place >= len(self._rows):
            return Strip.blank(width, self.visual_style.rich_style)
        row = self._rows[place]
        turn = bisect_right(self._starts, place) - 1
        line = self._bases[turn] + row.y
        selection = self.text_selection
        # A strip is kept only while nothing outside the row changes its look, and only for the line it was painted at:
        # its offsets, by which the mouse finds the text, name that line.
        plain = selection is None and row is not self._hovered
        if plain and row.painted is not None and row.painted[0] == line:
            return row.painted[1]
        strip = self._paint(row, line, selection, width)
        row.painted = (line, strip) if plain else None
        return strip

    def _paint(self, row: TranscriptRow, line: int, selection: Selection | None, width: int) -> Strip:
        base = self.visual_style
        style = self.get_visual_style(f"turn--{row.kind}") if row.kind else base
        content = row.content
        if row is self._hovered:
            content = content.stylize("underline")
        if selection is not None and (span := selection.get_span(line)) is not None:
            start, end = (max(0, edge - row.x) for edge in span)
            marked = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            content = content.stylize(marked, start, len(content) if span[1] == -1 else end)
        text = Strip(content.render_segments(style)).apply_offsets(row.x, line)
        parts = [Strip([self._bar(row.kind, base)]), text] if row.kind else []
        return Strip.join(parts).adjust_cell_length(width, base.rich_style)

    def _bar(self, kind: str, base: Style) -> Segment:
        """The margin, and the bar that a part may have on its left."""
        edge, colour = self.get_component_styles(f"turn--{kind}").border_left
        room = indent_cells(kind)
        if not edge or not room:
            return Segment(" " * (MARGIN + room), base.rich_style)
        sign = BORDER_CHARS[edge][1][0]
        looks = Style(base.background, base.background + colour).rich_style
        return Segment(" " * MARGIN + sign + " " * (room - 1), looks)

    # Scrolling.

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

    # The mouse.

    def _row_at(self, y: int) -> TranscriptRow | None:
        place = self.scroll_offset.y + y
        row = self._rows[place] if 0 <= place < len(self._rows) else None
        return row if row is not None and row.source else None

    def on_click(self, event: events.Click) -> None:
        """Open the source."""
        row = self._row_at(event.y)
        if row is not None and self.text_selection is None:
            place = self.scroll_offset.y + event.y
            turn = self._laid[bisect_right(self._starts, place) - 1].turn
            self.post_message(self.Opened(turn.citations, row.source))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Underline the source below the mouse."""
        self._hover(self._row_at(event.y))

    def on_leave(self, _: events.Leave) -> None:
        """The mouse went elsewhere."""
        self._hover(None)

    def _hover(self, row: TranscriptRow | None) -> None:
        if row is not self._hovered:
            for one in (self._hovered, row):
                if one is not None:
                    one.painted = None
            self._hovered = row
            self.refresh()

    # Copying.

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, its paragraphs whole."""
        return selection.extract("\n".join(line for one in self._laid for line in one.lines)), "\n"

    def selection_updated(self, _: Selection | None) -> None:
        """Show what is selected."""
        self.refresh()
