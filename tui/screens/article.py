"""A cited section, or its whole article.

Promises: the section is shown at once from what came with the draft; the whole article is fetched only when asked for
(or when its words did not come with the draft), and an article that cannot be had is named in words. An internal
article carries a warning, and is quoted only when asked for twice. Knows nothing of sockets: it is given a function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen

from runtime.client.answers import ArticlePage
from runtime.errors import EdgedeskError
from runtime.events import Citation
from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line
from tui.base.keys import COMMANDS, bindings
from tui.widgets.keybar import KeyBar
from tui.widgets.label import InertLabel

Load = Callable[[str, str], Awaitable[ArticlePage]]


class ArticleScreen(Screen[str | None]):
    """One source of a draft."""

    BINDINGS = bindings("article")

    def __init__(self, citations: tuple[Citation, ...], number: int, words: Catalogue, load: Load) -> None:
        super().__init__()
        self.citations = citations
        self.number = number
        self.words = words
        self._load = load
        self._whole: ArticlePage | None = None
        self._note = ""
        self._warned = False

    def compose(self) -> ComposeResult:
        """Title, warning, text, keys."""
        yield InertLabel(id="article-title")
        yield InertLabel(id="article-warning")
        with VerticalScroll(id="article-text"):
            yield InertLabel(id="article-body")
        yield InertLabel(id="article-note")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the section."""
        self.query_one("#article-text").focus()
        self.relabel(self.words)
        if not self.citation.text:
            self.action_whole()

    @property
    def citation(self) -> Citation:
        """The source on screen."""
        return self.citations[self.number - 1]

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language."""
        self.words = words
        cited = self.citation
        internal = cited.audience == "internal"
        self._put("#article-title", f"[{self.number}] {one_line(cited.title)} · {cited.article}#{cited.section}")
        self._put("#article-warning", words("article.internal") if internal else "")
        self._put("#article-body", self._body())
        self._put("#article-note", self._note)
        self.query_one(KeyBar).show(
            [command for command in COMMANDS if command.where == "article" or command.id in ("help", "quit")], words
        )

    def _body(self) -> Content:
        if self._whole is None:
            return _section(self.citation)
        return Content("\n\n").join(_section(section) for section in self._whole.sections)

    def action_back(self) -> None:
        """Back to the conversation."""
        self.dismiss()

    def action_cite(self, number: int) -> None:
        """Another source of the same draft."""
        if number > len(self.citations):
            self._put("#article-note", self.words("notice.no_source", number=number))
            return
        self.number, self._whole, self._note, self._warned = number, None, "", False
        self.query_one("#article-text").scroll_home(animate=False)
        self.relabel(self.words)
        if not self.citation.text:
            self.action_whole()

    def action_quote(self) -> None:
        """Put the section into the reply and go back to it; an internal one only when asked for twice."""
        if not self.citation.text:
            return
        if self.citation.audience == "internal" and not self._warned:
            self._warned = True
            self._put("#article-note", self.words("article.quote_internal"))
            return
        self.dismiss(inert(self.citation.text))

    def action_whole(self) -> None:
        """The whole article, or the section alone again."""
        if self._whole is not None:
            self._whole = None
            self.relabel(self.words)
            return
        self._note = self.words("article.loading")
        self.relabel(self.words)
        self.run_worker(self._fetch(self.citation), exclusive=True)

    async def _fetch(self, cited: Citation) -> None:
        try:
            self._whole = await self._load(cited.article, cited.lang)
            self._note = ""
            if not cited.text:
                self._take(cited)
        except EdgedeskError as error:
            self._note = self.words("article.failed", why=one_line(str(error)))
        self.relabel(self.words)

    def _take(self, cited: Citation) -> None:
        """A source of which only the name was known gets its words."""
        sections = self._whole.sections if self._whole is not None else ()
        found = next((one for one in sections if one.section == cited.section), None)
        if found is not None:
            self.citations = tuple(found if one is cited else one for one in self.citations)
            self._whole = None

    def _put(self, selector: str, text: str | Content) -> None:
        self.query_one(selector, InertLabel).put(text)


def _section(section: Citation) -> Content:
    heading = Content.styled(one_line(section.heading), "bold underline")
    return Content("\n\n").join([heading, Content(inert(section.text))])
