"""Commands that look something up: each opens a list or a text over the conversation and changes nothing.

Promises: what is shown is fetched when it is asked for; without a server the box says so. `tui.app.actions` has
the commands that change something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.app import reports
from tui.app.boxes import Boxes
from tui.app.view import View
from tui.base.i18n import Catalogue
from tui.screens.finder import FinderResult, load_once
from tui.screens.page import Block
from tui.state import InboxRow, newest_stored_turn

SUPERVISED = 20
"""Conversations a supervisor's figures are counted from: the newest ones, one request each."""
GAP_ROWS = 1000
"""Outgoing rows that are searched for knowledge gaps; the most that the server gives at once."""


class Lookups:
    """The lookups of one console."""

    def __init__(self, view: View, boxes: Boxes, open_conversation: Callable[[str], None]) -> None:
        self._view = view
        self._boxes = boxes
        self._open_conversation = open_conversation

    def search_articles(self) -> None:
        """Search the articles."""

        async def find(text: str) -> Sequence[FinderResult]:
            hits = tuple(await self._view.server.search(text, None)) if text else ()
            return [
                FinderResult(
                    " > ".join(dict.fromkeys(part for part in (hit.title, hit.heading) if part)),
                    (hits, number),
                    self._view.words("turn.internal") if hit.audience == "internal" else "",
                    hit.text,
                )
                for number, hit in enumerate(hits, start=1)
            ]

        self._boxes.open_finder("knowledge.title", find, lambda one: self._boxes.open_source(*one.value))

    def search_past(self) -> None:
        """Search past conversations."""

        async def find(text: str) -> Sequence[FinderResult]:
            turns = await self._view.server.agents.search_turns(text) if text else []
            return [
                FinderResult(turn.question, turn.conversation, _minute(turn.asked), turn.reply or turn.draft)
                for turn in turns
            ]

        self._boxes.open_finder("past.title", find, lambda one: self._open_conversation(str(one.value)))

    def show_handoff_queue(self) -> None:
        """Hand-offs that nobody has taken."""

        async def load() -> Sequence[FinderResult]:
            words = self._view.words
            return [
                FinderResult(words.get(f"handoff.{one.reason}") or one.reason, one.conversation, _minute(one.opened))
                for one in await self._view.server.agents.list_handoffs("open")
            ]

        self._boxes.open_finder("queue.title", load_once(load), lambda one: self._open_conversation(str(one.value)))

    def explain_draft(self) -> None:
        """Why the draft is as it is."""
        stored = newest_stored_turn(self._view.state)
        if stored is None:
            self._view.say("no_message")
            return
        name, turn = stored

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.why_page(await self._view.server.agents.explain_turn(name, turn.stored), words)

        self._boxes.open_page("why.title", load, f"why-{name}-{turn.stored}")

    def show_outgoing(self) -> None:
        """Exactly what would leave the branch."""

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.lens_page(await self._view.server.agents.list_outgoing(), words)

        self._boxes.open_page("lens.title", load, "would-leave")

    def show_gaps(self) -> None:
        """Questions that no article answers, as tickets for head office."""

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.gaps_page(await self._view.server.agents.list_outgoing(limit=GAP_ROWS), words)

        self._boxes.open_page("gaps.title", load, "knowledge-gaps")

    def show_receipt(self) -> None:
        """Which corrections of this branch the model now answers right."""

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.receipt_page(await self._view.server.agents.read_receipt(), words)

        self._boxes.open_page("receipt.title", load, "improvement-receipt")

    def show_shift(self) -> None:
        """What the next shift must know."""

        async def load(words: Catalogue) -> Sequence[Block]:
            handoffs = await self._view.server.agents.list_handoffs("open")
            return reports.shift_page(self._customers(), handoffs, words)

        self._boxes.open_page("shift.title", load, "shift")

    def show_branch(self) -> None:
        """The branch at a glance, for a supervisor."""

        async def load(words: Catalogue) -> Sequence[Block]:
            agents, rows = self._view.server.agents, self._customers()
            handoffs = {state: await agents.list_handoffs(state) for state in ("open", "taken", "closed")}
            read = [await agents.read_conversation(row.conversation) for row in rows[:SUPERVISED]]
            turns, ahead = [turn for one in read for turn in one.turns], (await self._view.server.status()).ahead
            return reports.supervisor_page(rows, handoffs, turns, ahead, words)

        self._boxes.open_page("supervisor.title", load, "supervisor")

    def _customers(self) -> list[InboxRow]:
        """The conversations with real customers."""
        return [row for row in self._view.state.inbox if not row.practice]


def _minute(moment: str) -> str:
    """`2026-11-26T09:30:00.000+00:00` as `2026-11-26 09:30`."""
    return moment[:16].replace("T", " ")
