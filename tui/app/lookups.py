"""Looking things up: the acts that open a list or a text over the conversation and change nothing.

Promises: what is shown is fetched when it is asked for; without a server that is said. `tui.app.actions` has the other
acts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from runtime.errors import EdgedeskError
from runtime.events import Citation
from tui.app import reports
from tui.base.i18n import Catalogue
from tui.screens.article import ArticleScreen
from tui.screens.finder import Find, FinderResult, FinderScreen, once
from tui.screens.page import Block, Load, PageScreen
from tui.state import ConsoleTurn, InboxRow, Inserted, Opened

if TYPE_CHECKING:
    from tui.app.console import Console

SUPERVISED = 20
"""Conversations a supervisor's figures are counted from."""
Work = Coroutine[Any, Any, None]


class Lookups:
    """The acts of one console that only look."""

    def __init__(self, app: Console) -> None:
        self._app = app

    def open_source(self, citations: tuple[Citation, ...], number: int) -> None:
        """A source by its number."""
        app = self._app
        if number > len(citations):
            app.say("no_source", number=number)
            return

        def done(text: str | None) -> None:
            if text:
                app.chat.go("talk")
                app.dispatch(Inserted(text))

        app.push_screen(ArticleScreen(citations, number, app.words, app.desk.article), done)

    def do_knowledge(self) -> None:
        """Search the articles."""
        app = self._app

        async def find(text: str) -> Sequence[FinderResult]:
            hits = await app.desk.search(text, None) if text else []
            return [
                FinderResult(
                    " > ".join(dict.fromkeys(part for part in (hit.title, hit.heading) if part)),
                    (tuple(hits), number),
                    app.words("turn.internal") if hit.audience == "internal" else "",
                    hit.text,
                )
                for number, hit in enumerate(hits, start=1)
            ]

        self._find("knowledge.title", find, lambda one: self.open_source(*one.value))

    def do_past(self) -> None:
        """Search what was said in past conversations."""

        async def find(text: str) -> Sequence[FinderResult]:
            if not text:
                return []
            said = await self._app.desk.get("conversations/search", q=text)
            return [
                FinderResult(str(one["question"]), str(one["conversation"]), str(one["asked"])[:16].replace("T", " "),
                      str(one.get("reply") or one.get("draft") or ""))
                for one in said["turns"]
            ]  # fmt: skip

        self._find("past.title", find, lambda one: self.open_conversation(str(one.value)))

    def do_queue(self) -> None:
        """Hand-offs that nobody has taken."""

        async def load() -> Sequence[FinderResult]:
            said, words = await self._app.desk.get("handoffs", state="open"), self._app.words
            return [
                FinderResult(words.get(f"handoff.{one['reason']}") or str(one["reason"]), str(one["conversation"]),
                      str(one["opened"])[:16].replace("T", " "))
                for one in said["handoffs"]
            ]  # fmt: skip

        self._find("queue.title", once(load), lambda one: self.open_conversation(str(one.value)))

    def do_why(self) -> None:
        """Why the draft is as it is."""
        turn, name = self._stored()
        if turn is None:
            self._app.say("no_message")
            return

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.why_page(await self._app.desk.get(f"conversations/{name}/turns/{turn.stored}/why"), words)

        self._page("why.title", load, f"why-{name}-{turn.stored}")

    def do_lens(self) -> None:
        """Exactly what would leave the branch."""

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.lens_page(await self._app.desk.get("outbox"), words)

        self._page("lens.title", load, "would-leave")

    def do_gaps(self) -> None:
        """Questions that no article answers, as tickets for head office."""

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.gaps_page((await self._app.desk.get("outbox", limit=1000))["rows"], words)

        self._page("gaps.title", load, "knowledge-gaps")

    def do_shift(self) -> None:
        """What the next shift must know."""

        async def load(words: Catalogue) -> Sequence[Block]:
            said = await self._app.desk.get("handoffs", state="open")
            return reports.shift_page(self._served(), said["handoffs"], words)

        self._page("shift.title", load, "shift")

    def do_supervisor(self) -> None:
        """The branch at a glance."""

        async def load(words: Catalogue) -> Sequence[Block]:
            desk, rows = self._app.desk, self._served()
            handoffs = {
                state: (await desk.get("handoffs", state=state))["handoffs"] for state in ("open", "taken", "closed")
            }
            turns = [
                turn
                for row in rows[:SUPERVISED]
                for turn in (await desk.get(f"conversations/{row.conversation}"))["turns"]
            ]
            return reports.supervisor_page(rows, handoffs, turns, words)

        self._page("supervisor.title", load, "supervisor")

    def open_conversation(self, name: str) -> None:
        """Bring a conversation on screen."""
        self._app.dispatch(Opened(name))
        self._app.chat.go("talk")
        self._app.keeping.look_now()

    def _served(self) -> list[InboxRow]:
        """The conversations with real customers."""
        return [row for row in self._app.state.inbox if not row.practice]

    def _stored(self) -> tuple[ConsoleTurn | None, str]:
        """The newest message that the server has, and its conversation."""
        state = self._app.state
        turn = next((one for one in reversed(state.turns) if one.stored), None)
        return (turn, state.conversation) if turn and state.conversation else (None, "")

    def _page(self, title: str, load: Load, name: str) -> None:
        self._app.push_screen(PageScreen(self._app.words, title, load, name))

    def _find(self, title: str, find: Find, chosen: Callable[[FinderResult], Work | None]) -> None:
        def done(one: FinderResult | None) -> None:
            if one is not None and (work := chosen(one)) is not None:
                self._app.run_worker(self._guarded(work), group="act")

        self._app.push_screen(FinderScreen(self._app.words, title, find), done)

    async def _guarded(self, work: Work) -> None:
        try:
            await work
        except EdgedeskError as error:
            self._app.say("cannot", text=str(error))
