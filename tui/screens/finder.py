"""A list to choose from, narrowed by typing: canned replies, articles, past conversations, labels, hand-offs.

Promises: the list is fetched again while the agent types, the newest text wins, an error is shown in words, and every
row is inert. Knows nothing of sockets: it is given a function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from runtime.errors import EdgedeskError
from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line
from tui.base.keys import bindings
from tui.base.limits import MAX_SEARCH_CHARS
from tui.screens.base import BoxScreen
from tui.widgets.field import Field
from tui.widgets.keybar import KeyBar
from tui.widgets.label import InertLabel

PAUSE_S = 0.12
"""After a key before the list is asked for."""
PREVIEW_CHARS = 600


class FinderResult(NamedTuple):
    """One thing to choose."""

    title: str
    value: Any
    detail: str = ""
    """Shown dim after the title."""
    preview: str = ""
    """Shown below the list while the result is highlighted."""


Find = Callable[[str], Awaitable[Sequence[FinderResult]]]


class FinderScreen(BoxScreen[FinderResult | None]):
    """A field, a list, a preview."""

    WHERE = "finder"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("finder"),
        *(Binding(key, f"mark({step})", show=False, priority=True) for key, step in (("down", 1), ("up", -1))),
    ]

    def __init__(
        self, words: Catalogue, title: str, find: Find, hint: str = "finder.hint", pause_s: float = PAUSE_S
    ) -> None:
        super().__init__(words, title)
        self._find = find
        self._hint = hint
        self._pause_s = pause_s
        self.found: list[FinderResult] = []
        self._looked = ""

    def compose(self) -> ComposeResult:
        """From top to bottom; the field is not the last."""
        with Vertical(id="box"):
            yield Field(id="finder-field", max_length=MAX_SEARCH_CHARS)
            yield InertLabel(id="finder-note")
            yield OptionList(id="finder-list", markup=False)
            yield InertLabel(id="finder-preview")
            yield KeyBar()

    def on_mount(self) -> None:
        """Show the whole list first."""
        self.query_one(Input).focus()
        self.relabel(self.words)
        self._begin("", 0.0)

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language."""
        super().relabel(words)
        self.query_one(Input).placeholder = words(self._hint)

    def on_input_changed(self, message: Input.Changed) -> None:
        """Look again once the typing pauses."""
        self._begin(message.value, self._pause_s)

    def _begin(self, text: str, pause_s: float) -> None:
        look = partial(self._look, text, pause_s)
        self.run_worker(look, exclusive=True)  # type: ignore[arg-type]  # it takes any async function

    async def _look(self, text: str, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        self._looked = text
        note = self.query_one("#finder-note", InertLabel)
        note.put(self.words("finder.looking"))
        try:
            self.found = list(await self._find(text.strip()))
            note.put("" if self.found else self.words("finder.nothing"))
        except EdgedeskError as error:
            self.found = []
            note.put(self.words("page.failed", why=one_line(str(error))))
        options = self.query_one(OptionList)
        options.set_options([Option(_row(one)) for one in self.found])
        options.highlighted = 0 if self.found else None
        self._preview()

    def on_option_list_option_highlighted(self, _: OptionList.OptionHighlighted) -> None:
        """Show what is marked."""
        self._preview()

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Choose what was clicked."""
        self.dismiss(self.found[message.option_index])

    async def on_input_submitted(self, _: Input.Submitted) -> None:
        """Choose what is highlighted."""
        await self.action_choose()

    def _preview(self) -> None:
        place = self.query_one(OptionList).highlighted
        text = self.found[place].preview if place is not None and place < len(self.found) else ""
        self.query_one("#finder-preview", InertLabel).put(inert(text[:PREVIEW_CHARS]))

    def action_mark(self, step: int) -> None:
        """Move the mark while the cursor stays in the field."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if step > 0 else options.action_cursor_up)()

    async def action_choose(self) -> None:
        """Choose what is highlighted."""
        # Typing may be ahead of the list: it is looked up first, so that Enter never chooses a row of an older search.
        if (text := self.query_one(Input).value) != self._looked:
            self.workers.cancel_node(self)
            await self._look(text, 0.0)
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self.found):
            self.dismiss(self.found[place])

    def action_leave(self) -> None:
        """Close without choosing."""
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        """What is typed while the box opens, or beside its field, belongs into the field."""
        if event.is_printable and event.character is not None and not isinstance(self.focused, Input):
            event.stop()
            field = self.query_one(Input)
            field.focus()
            field.insert_text_at_cursor(event.character)


def _row(one: FinderResult) -> Content:
    title = Content(one_line(one.title) or " ")
    return Content.assemble(title, Content.styled(f"  {one_line(one.detail)}", "dim")) if one.detail else title


def narrow_choices(choices: Sequence[FinderResult]) -> Find:
    """A fixed list, narrowed to what holds every word that is typed."""

    async def find(text: str) -> list[FinderResult]:
        wanted = text.casefold().split()
        return [one for one in choices if all(word in f"{one.title} {one.detail}".casefold() for word in wanted)]

    return find


def load_once(load: Callable[[], Awaitable[Sequence[FinderResult]]]) -> Find:
    """A list that is fetched when it is first looked at, and narrowed after that."""
    known: list[Sequence[FinderResult]] = []

    async def find(text: str) -> Sequence[FinderResult]:
        if not known:
            known.append(await load())
        return await narrow_choices(known[0])(text)

    return find
