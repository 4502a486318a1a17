"""Commands that change something: what is sent, what becomes of a draft, the state of a conversation.

Promises: a command that cannot be done now says why; one that needs the server says so when there is none, and loses
nothing; a reply with a figure that no source has, or with the words of an internal one, goes out only when it is sent
twice. Knows nothing of widgets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from runtime.errors import EdgedeskError
from runtime.events import Failed
from tui.app import reports
from tui.app.boxes import Boxes
from tui.app.sync import Sync
from tui.app.view import View
from tui.base.i18n import Catalogue
from tui.base.limits import MAX_TEXT_CHARS
from tui.screens.finder import FinderResult, load_once, narrow_choices
from tui.screens.page import Block
from tui.screens.reject import Rejection, RejectScreen
from tui.screens.wrap import WrapScreen
from tui.services import export
from tui.services.reply_check import unsupported_parts
from tui.state import (
    Accepted,
    Asked,
    Cancelled,
    ConsoleTurn,
    Doubted,
    Editing,
    HandedOff,
    Heard,
    Inserted,
    Labelled,
    LeftReply,
    Mode,
    NewConversation,
    Opened,
    Rejected,
    Replied,
    Typed,
    newest_stored_turn,
)
from tui.widgets.assist import label_name

HANDOFF_REASONS = ("asks_for_person", "no_article", "complaint", "legal", "safety", "other")
SNOOZES = {
    "minutes_30": timedelta(minutes=30),
    "hour_1": timedelta(hours=1),
    "hours_3": timedelta(hours=3),
    "day_1": timedelta(days=1),
}
SUMMARY_TURNS = 6
"""Turns that a wrap-up's summary quotes, the newest."""
SUMMARY_CHARS = 80
"""Of each question and reply in it."""


class Actions:
    """The commands of one console that change something."""

    def __init__(
        self,
        view: View,
        boxes: Boxes,
        sync: Sync,
        after_verdict: Callable[[], None],
        asking: Callable[[str], str | None],
    ) -> None:
        """`after_verdict` is called once a draft is decided on; `asking` says what of a message asks."""
        self._view = view
        self._boxes = boxes
        self._sync = sync
        self._after_verdict = after_verdict
        self._asking = asking

    # The draft.

    def send(self) -> None:
        """Send what is typed: a message asks for a draft, a reply ends one."""
        view = self._view
        if len(view.state.composer) > MAX_TEXT_CHARS:
            # The server would refuse it whole; said here, the text stays and everything else works on.
            view.say("too_long", number=MAX_TEXT_CHARS)
        elif view.state.mode is Mode.REPLY:
            if not self._needs_second_look(view.state.composer.strip()):
                view.dispatch(Replied(view.clock()))
                self._after_verdict()
        else:
            self._ask()

    def _ask(self) -> None:
        view = self._view
        before = view.state.asked
        view.dispatch(Asked(view.clock()))
        turn = view.state.current
        if turn is not None and turn.number != before:
            view.show_draft()
            self._sync.stop_reading_ahead()
            state = view.state
            # A newer message of the same conversation takes the place of the answer that is streamed.
            view.start_work(
                self._stream(turn.number, turn.question, state.conversation), f"ask-{state.open}", exclusive=True
            )

    async def _stream(self, number: int, question: str, conversation: str | None) -> None:
        view = self._view
        try:
            async with aclosing(view.server.ask(question, conversation, self._asking(question))) as stream:
                async for event in stream:
                    view.dispatch(Heard(number, view.clock(), event))
        except EdgedeskError as error:
            view.dispatch(Heard(number, view.clock(), Failed.of(error)))
        self._sync.look_now()

    def accept(self) -> None:
        """Send the draft unchanged."""
        turn = self._view.state.current
        if turn is None or not turn.offered or not self._needs_second_look(turn.draft.strip()):
            self._view.dispatch(Accepted(self._view.clock()))
            self._after_verdict()

    def edit(self) -> None:
        """Write the reply, beginning with the draft."""
        self._view.show_pane("talk")
        self._view.dispatch(Editing())

    def reject(self) -> None:
        """Say why the draft is no use, and what would have been right."""
        view = self._view
        turn = view.state.current
        if turn is None or not turn.offered:
            view.dispatch(Rejected(view.clock(), "", ""))
            return

        def done(said: Rejection | None) -> None:
            if said is not None:
                view.dispatch(Rejected(view.clock(), said.reason, said.right))
                self._after_verdict()

        view.open_box(RejectScreen(view.words, turn.draft), done)

    def _needs_second_look(self, reply: str) -> bool:
        """Whether the agent must look again before this goes out; asked for a second time it goes."""
        state = self._view.state
        turn = state.current
        if turn is None or not reply or state.thread.doubted == reply:
            return False
        said = [*(one.question for one in state.turns), *(one.reply for one in state.turns)]
        found = unsupported_parts(reply, said, turn.citations)
        if found:
            self._view.dispatch(Doubted(reply, found))
            self._view.say("doubt")
        return bool(found)

    def cancel(self) -> None:
        """Leave the reply, or stop the draft; the message comes back."""
        view = self._view
        if view.state.mode is Mode.REPLY:
            view.dispatch(LeftReply())
            return
        view.dispatch(Cancelled())
        view.cancel_work(f"ask-{view.state.open}")

    def ask_again(self) -> None:
        """Ask the newest message again, as for a draft that was interrupted."""
        view = self._view
        turn = view.state.current
        if turn is None or view.state.mode is Mode.REPLY or view.state.composer.strip():
            view.say("again_no")
            return
        view.dispatch(Typed(turn.question))
        self.send()

    def insert_canned(self) -> None:
        """Put a ready-made reply into the reply."""
        turn = self._view.state.current
        lang = turn.lang if turn and turn.lang else self._view.words.lang

        async def load() -> Sequence[FinderResult]:
            replies = await self._view.server.agents.list_canned_replies(lang)
            return [FinderResult(one.title, one.text, one.id, one.text) for one in replies]

        self._boxes.open_finder(
            "canned.title", load_once(load), lambda one: self._view.dispatch(Inserted(str(one.value)))
        )

    def copy_reply(self) -> None:
        """Copy the reply that was sent, the one being written, or the draft."""
        view, state = self._view, self._view.state
        turn = state.current
        if state.mode is Mode.REPLY:
            text = state.composer.strip()
        else:
            text = (turn.reply or turn.draft).strip() if turn else ""
        if not text:
            view.say("no_draft")
        elif (turn and turn.reply == text) or not self._needs_second_look(text):
            view.say("plain", text=view.copy(text))

    # The conversation.

    def open_conversation(self, name: str) -> None:
        """Bring a conversation on screen."""
        self._view.dispatch(Opened(name))
        self._view.show_pane("talk")
        self._sync.look_now()

    def begin_conversation(self) -> None:
        """Begin with the next customer; a draft under way continues in its own conversation."""
        self._view.dispatch(NewConversation())
        self._view.show_pane("talk")

    def hand_off(self) -> None:
        """Hand the conversation to a person, or look at the hand-off there is."""
        if (stored := self._stored()) is None:
            return
        name, turn = stored
        words, agents = self._view.words, self._view.server.agents
        if not turn.handoff:
            rows = [FinderResult(words(f"handoff.{reason}"), ("open", reason)) for reason in HANDOFF_REASONS]
        else:
            rows = [FinderResult(words("card.show"), ("card", ""))]
            rows += [FinderResult(words(f"card.{state}_do"), (state, "")) for state in ("taken", "closed", "open")]

        async def load(words: Catalogue) -> Sequence[Block]:
            return reports.card_page(await agents.read_handoff_card(name, turn.stored), words)

        async def choose(one: FinderResult) -> None:
            state, reason = one.value
            if state != "card":
                await agents.change_handoff(name, turn.stored, state, reason)
                self._view.dispatch(HandedOff(turn.number, reason, state))
            if state in ("card", "open"):
                self._boxes.open_page("card.title", load, f"card-{name}-{turn.stored}")

        self._boxes.open_finder("handoff.title", narrow_choices(rows), choose)

    def correct_labels(self) -> None:
        """Correct what the customer wants or how they feel."""
        if (stored := self._stored()) is None:
            return
        name, turn = stored
        agents = self._view.server.agents

        async def load() -> Sequence[FinderResult]:
            known, words = await agents.list_labels(), self._view.words
            return [
                FinderResult(label_name(kind, label, words), (kind, label), words(f"label.{kind}"))
                for kind, labels in (("intent", known.intents), ("emotion", known.emotions))
                for label in labels
            ]

        async def choose(one: FinderResult) -> None:
            kind, label = one.value
            await agents.correct_label(name, turn.stored, kind, label)
            self._view.dispatch(Labelled(turn.number, **{kind: label}))

        self._boxes.open_finder("labels.title", load_once(load), choose)

    def wrap_up(self) -> None:
        """Satisfaction, tags, a note, and close."""
        if (stored := self._stored()) is None:
            return
        view, name = self._view, stored[0]

        def done(changes: dict[str, Any] | None) -> None:
            if changes:
                self._boxes.run(self._change(name, changes, "wrapped"))

        view.open_box(WrapScreen(view.words, view.state.thread.meta, summarise(view.state.turns)), done)

    async def _change(self, name: str, changes: dict[str, Any], notice: str) -> None:
        await self._view.server.agents.change_conversation(name, changes)
        await self._sync.load(name)
        self._view.say(notice)
        self._sync.look_now()

    def snooze(self) -> None:
        """Let the conversation come back later."""
        if (stored := self._stored()) is None:
            return
        view, name = self._view, stored[0]
        rows = [FinderResult(view.words(f"snooze.{key}"), after) for key, after in SNOOZES.items()]

        async def choose(one: FinderResult) -> None:
            until = (view.today() + one.value).isoformat(timespec="seconds")
            await self._change(name, {"status": "snoozed", "snooze_until": until}, "snoozed")

        self._boxes.open_finder("snooze.title", narrow_choices(rows), choose)

    def export(self) -> None:
        """The conversation as Markdown and as JSON, both at once."""
        if (stored := self._stored()) is None:
            return
        view, name = self._view, stored[0]

        async def write() -> None:
            said = await view.server.agents.read_conversation(name)
            view.save(export.file_name(name, "json"), export.as_json(said))
            view.say("plain", text=view.save(export.file_name(name, "md"), export.as_markdown(said, view.words)))

        self._boxes.run(write())

    def toggle_reading_ahead(self) -> None:
        """Read messages ahead while they are typed, or no longer."""
        view = self._view
        now = not view.settings.read_ahead
        view.settings = view.settings.model_copy(update={"read_ahead": now})
        view.say("ahead_on" if now else "ahead_off")

    def _stored(self) -> tuple[str, ConsoleTurn] | None:
        """The conversation and its newest message that the server has; says so where there is none."""
        stored = newest_stored_turn(self._view.state)
        if stored is None:
            self._view.say("no_message")
        return stored


def summarise(turns: Sequence[ConsoleTurn]) -> str:
    """The conversation in a few lines, quoted: what was asked, and what was replied."""
    lines = []
    for turn in turns[-SUMMARY_TURNS:]:
        question = " ".join(turn.question.split())[:SUMMARY_CHARS]
        reply = " ".join(turn.reply.split())[:SUMMARY_CHARS]
        lines.append(f"{question} → {reply}" if reply else question)
    return "\n".join(lines)
