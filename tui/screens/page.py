"""A text to read in a box: why this draft, a hand-off's card, what would leave the branch, the shift, the figures.

Promises: the text is fetched when the box opens and its absence said in words; it can be copied and saved. Knows
nothing of sockets: it is given a function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from runtime.errors import EdgedeskError
from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line
from tui.base.keys import bindings
from tui.screens.base import BoxScreen
from tui.widgets.keybar import KeyBar
from tui.widgets.label import InertLabel

Block = tuple[str, Sequence[str]]
"""A heading and its lines."""
Load = Callable[[Catalogue], Awaitable[Sequence[Block]]]


class PageScreen(BoxScreen[None]):
    """Blocks of text, scrolled."""

    BINDINGS = bindings("page")

    class Copy(Message):
        """The agent wants the text in the clipboard, or in a file called `name`."""

        def __init__(self, text: str, name: str = "") -> None:
            super().__init__()
            self.text = text
            self.name = name

    def __init__(self, words: Catalogue, title: str, load: Load, name: str) -> None:
        """`name` is what a saved file is called, without its ending."""
        super().__init__(words, title)
        self._load = load
        self.file = name
        self._text = Content("")

    def compose(self) -> ComposeResult:
        """The text and the keys."""
        with Vertical(id="box"):
            with VerticalScroll(id="page-text"):
                yield InertLabel(id="page-body")
            yield InertLabel(id="page-note")
            yield KeyBar()

    def on_mount(self) -> None:
        """Fetch the text."""
        self.query_one("#page-text").focus()
        self.relabel(self.words)

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language; the text is made anew, since it is in words too."""
        super().relabel(words)
        self.note(words("page.loading"))
        self.run_worker(self._fetch, exclusive=True)  # type: ignore[arg-type]  # it takes any async function

    async def _fetch(self) -> None:
        try:
            self._text = render(await self._load(self.words))
            self.note("" if self._text else self.words("page.empty"))
        except EdgedeskError as error:
            self.note(self.words("page.failed", why=one_line(str(error))))
        self.query_one("#page-body", InertLabel).put(self._text)

    def note(self, text: str) -> None:
        """Say something below the text."""
        self.query_one("#page-note", InertLabel).put(text)

    def action_close(self) -> None:
        """Back to the conversation."""
        self.dismiss()

    def action_copy_page(self) -> None:
        """Copy the text."""
        self.post_message(self.Copy(self._text.plain))

    def action_save_page(self) -> None:
        """Save the text."""
        self.post_message(self.Copy(self._text.plain, self.file))


def render(blocks: Sequence[Block]) -> Content:
    """Headings in bold, their lines below; everything inert."""
    parts = []
    for heading, lines in blocks:
        body = [Content("  " + line) for text in lines for line in inert(text).split("\n")]
        parts.append(Content("\n").join([Content.styled(one_line(heading), "bold"), *body]))
    return Content("\n\n").join(parts)
