"""The numbered sources under a draft. A click or the number's key opens one.

Promises: an internal source says so in words. Knows nothing of screens; it posts `CitationLine.Opened`.
"""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from runtime.events import Citation
from tui.text import one_line
from tui.words import Words


class CitationLine(Static):
    """One source: its number, title and heading."""

    class Opened(Message):
        """The agent wants to read source `number` (from 1) of these."""

        def __init__(self, citations: tuple[Citation, ...], number: int) -> None:
            super().__init__()
            self.citations = citations
            self.number = number

    def __init__(self, citations: tuple[Citation, ...], number: int, words: Words) -> None:
        super().__init__(citation_label(citations[number - 1], number, words), markup=False)
        self.citations = citations
        self.number = number

    def on_click(self) -> None:
        """Open it."""
        self.post_message(self.Opened(self.citations, self.number))


class CitationList(Vertical):
    """All sources of one draft, best first."""

    def __init__(self, *, titled: bool = True) -> None:
        super().__init__()
        self._titled = titled
        self._shown: tuple[tuple[Citation, ...], str] = ((), "")

    async def show(self, citations: tuple[Citation, ...], words: Words) -> None:
        """Show these; does nothing when they are shown already."""
        if self._shown == (citations, words.lang):
            return
        self._shown = (citations, words.lang)
        with self.app.batch_update():
            await self.remove_children()
            head = [Static(Content(words("turn.sources")), markup=False, classes="label")] if self._titled else []
            if citations:
                await self.mount(*head, *(CitationLine(citations, n + 1, words) for n in range(len(citations))))


def citation_label(citation: Citation, number: int, words: Words) -> Content:
    """`[2] Returns > How long (internal, do not quote)`."""
    title, heading = one_line(citation.title), one_line(citation.heading)
    name = title if heading in ("", title) else f"{title} > {heading}"
    mark = f" ({words('turn.internal')})" if citation.audience == "internal" else ""
    return Content.assemble(Content.styled(f"[{number}]", "bold"), f" {name}", Content.styled(mark, "bold"))
