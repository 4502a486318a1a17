"""Opening lists and texts over the conversation, for commands and lookups alike.

Promises: what a choice sets going runs in the background, and an error in it becomes a remark. Knows nothing of what
the boxes hold.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.errors import EdgedeskError
from runtime.events import Citation
from tui.app.view import View, Work
from tui.screens.article import ArticleScreen
from tui.screens.finder import Find, FinderResult, FinderScreen
from tui.screens.page import Load, PageScreen
from tui.state import Inserted


class Boxes:
    """The boxes of one console."""

    def __init__(self, view: View) -> None:
        self._view = view

    def open_page(self, title: str, load: Load, file: str) -> None:
        """A text; `title` is a name in the catalogue, `file` what a saved copy is called, without its ending."""
        self._view.open_box(PageScreen(self._view.words, title, load, file))

    def open_finder(self, title: str, find: Find, choose: Callable[[FinderResult], Work | None]) -> None:
        """A list to choose from; what `choose` returns runs in the background."""

        def done(result: FinderResult | None) -> None:
            if result is not None and (work := choose(result)) is not None:
                self.run(work)

        self._view.open_box(FinderScreen(self._view.words, title, find), done)

    def open_source(self, citations: tuple[Citation, ...], number: int) -> None:
        """A cited section by its number, from 1; quoting it puts its text into the reply."""
        view = self._view
        if number > len(citations):
            view.say("no_source", number=number)
            return

        def done(text: str | None) -> None:
            if text:
                view.show_pane("talk")
                view.dispatch(Inserted(text))

        view.open_box(ArticleScreen(citations, number, view.words, view.server.article), done)

    def run(self, work: Work) -> None:
        """Work in the background, whose errors are shown."""
        self._view.start_work(self._guarded(work), "command")

    async def _guarded(self, work: Work) -> None:
        try:
            await work
        except EdgedeskError as error:
            self._view.say("cannot", text=str(error))
