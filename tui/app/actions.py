"""What each act of the key table does: it changes the state, or opens a box over the conversation.

Promises: an act that cannot be done now says why; what needs the server says so when there is none, and loses nothing;
a reply with a figure no source has, or with the words of an internal one, goes out only when asked for twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tui.app import reports
from tui.app.lookups import Lookups
from tui.app.practice import Customer
from tui.base.i18n import Catalogue
from tui.screens.finder import FinderResult, among, once
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
    Inserted,
    Labelled,
    LeftReply,
    Mode,
    NewConversation,
    Rejected,
    Replied,
    Typed,
)
from tui.widgets.assist import label_name

HANDOFF_REASONS = ("asks_for_person", "no_article", "complaint", "legal", "safety", "other")
SNOOZES = {
    "minutes_30": timedelta(minutes=30),
    "hour_1": timedelta(hours=1),
    "hours_3": timedelta(hours=3),
    "day_1": timedelta(days=1),
}


class Actions(Lookups):
    """The acts of one console."""

    def do(self, act: str) -> None:
        """An act by its id in `tui.base.keys`; what goes wrong on the way is said."""
        got = getattr(self, f"do_{act}")()
        if got is not None:
            self._app.run_worker(self._guarded(got), group="act")

    # The draft.

    def send(self) -> None:
        """Send what is typed: a message asks for a draft, a reply ends one."""
        app = self._app
        if app.state.mode is Mode.REPLY:
            if not self._doubtful(app.state.composer.strip()):
                app.dispatch(Replied(app.clock()))
                self._after()
            return
        before = app.state.asked
        app.dispatch(Asked(app.clock()))
        turn = app.state.current
        if turn is not None and turn.number != before:
            app.chat.read()
            app.keeping.asked()
            app.ask(app.state.open, turn.number, turn.question, app.state.conversation)

    def do_accept(self) -> None:
        """Send the draft as it stands."""
        turn = self._app.state.current
        if turn is None or not turn.offered or not self._doubtful(turn.draft.strip()):
            self._app.dispatch(Accepted(self._app.clock()))
            self._after()

    def do_edit(self) -> None:
        """Write the reply, beginning with the draft."""
        self._app.chat.go("talk")
        self._app.dispatch(Editing())

    def do_reject(self) -> None:
        """Say why the draft is no use, and what would have been right."""
        turn = self._app.state.current
        if turn is None or not turn.offered:
            self._app.dispatch(Rejected(self._app.clock(), "", ""))
            return

        def done(said: Rejection | None) -> None:
            if said is not None:
                self._app.dispatch(Rejected(self._app.clock(), said.reason, said.right))
                self._after()

        self._app.push_screen(RejectScreen(self._app.words, turn.draft), done)

    def _doubtful(self, reply: str) -> bool:
        """Whether the agent must look again before this goes out; asked for a second time it goes."""
        state = self._app.state
        turn = state.current
        if turn is None or not reply or state.thread.doubted == reply:
            return False
        said = [*(one.question for one in state.turns), *(one.reply for one in state.turns)]
        found = unsupported_parts(reply, said, turn.citations)
        if found:
            self._app.dispatch(Doubted(reply, found))
            self._app.say("doubt")
        return bool(found)

    def _after(self) -> None:
        self._app.practice.follow()

    def do_cancel(self) -> None:
        """Leave the reply, or stop the draft; the message comes back."""
        app = self._app
        if app.state.mode is Mode.REPLY:
            app.dispatch(LeftReply())
            return
        app.dispatch(Cancelled())
        app.workers.cancel_group(app, f"ask-{app.state.open}")

    def do_again(self) -> None:
        """Ask the newest message again, as for a draft that broke off."""
        app = self._app
        turn = app.state.current
        if turn is None or app.state.mode is Mode.REPLY or app.state.composer.strip():
            app.say("again_no")
            return
        app.dispatch(Typed(turn.question))
        self.send()

    def do_canned(self) -> None:
        """Put a ready-made reply into the reply."""
        turn = self._app.state.current
        lang = turn.lang if turn and turn.lang else self._app.words.lang

        async def load() -> Sequence[FinderResult]:
            said = await self._app.desk.get("canned", lang=lang)
            return [
                FinderResult(str(one["title"]), one["text"], str(one["id"]), str(one["text"])) for one in said["canned"]
            ]

        self._find("canned.title", once(load), lambda one: self._app.dispatch(Inserted(str(one.value))))

    def do_copy(self) -> None:
        """Copy the reply that was sent, the one being written, or the draft."""
        state = self._app.state
        turn = state.current
        text = (
            state.composer.strip() if state.mode is Mode.REPLY else (turn.reply or turn.draft).strip() if turn else ""
        )
        if not text:
            self._app.say("no_draft")
        elif (turn and turn.reply == text) or not self._doubtful(text):
            self._app.say("plain", text=self._app.copy(text))

    # The conversation.

    def do_new(self) -> None:
        """Begin with the next customer; a draft under way goes on in its own conversation."""
        self._app.dispatch(NewConversation())
        self._app.chat.go("talk")

    def do_handoff(self) -> None:
        """Hand the conversation to a person, or look at the hand-off there is."""
        turn, name = self._stored()
        if turn is None:
            self._app.say("no_message")
            return
        words = self._app.words
        if not turn.handoff:
            rows = [FinderResult(words(f"handoff.{reason}"), ("open", reason)) for reason in HANDOFF_REASONS]
        else:
            rows = [FinderResult(words("card.show"), ("card", ""))]
            rows += [FinderResult(words(f"card.{state}_do"), (state, "")) for state in ("taken", "closed", "open")]

        async def chosen(one: FinderResult) -> None:
            state, reason = one.value
            if state != "card":
                body = {"state": state, **({"reason": reason} if reason else {})}
                await self._app.desk.put("POST", f"handoffs/{name}/{turn.stored}", body)
                self._app.dispatch(HandedOff(turn.number, reason, state))
            if state in ("card", "open"):
                path = f"handoffs/{name}/{turn.stored}/card"

                async def load(words: Catalogue) -> Sequence[Block]:
                    return reports.card_page(await self._app.desk.get(path), words)

                self._page("card.title", load, f"card-{name}-{turn.stored}")

        self._find("handoff.title", among(rows), chosen)

    def do_labels(self) -> None:
        """Correct what the customer wants or how they feel."""
        turn, name = self._stored()
        if turn is None:
            self._app.say("no_message")
            return

        async def load() -> Sequence[FinderResult]:
            said, words = await self._app.desk.get("labels"), self._app.words
            return [
                FinderResult(label_name(kind, str(label), words), (kind, str(label)), words(f"label.{kind}"))
                for kind in ("intent", "emotion")
                for label in said[f"{kind}s"]
            ]

        async def chosen(one: FinderResult) -> None:
            kind, label = one.value
            await self._app.desk.put("POST", f"conversations/{name}/turns/{turn.stored}/labels", {kind: label})
            self._app.dispatch(Labelled(turn.number, **{kind: label}))

        self._find("labels.title", once(load), chosen)

    def do_wrap(self) -> None:
        """Satisfaction, tags, a note, and close."""
        app = self._app
        turn, name = self._stored()
        if turn is None:
            app.say("no_message")
            return
        summary = summarise(app.state.turns)

        def done(body: dict[str, Any] | None) -> None:
            if body:
                app.run_worker(self._guarded(self._change(name, body, "wrapped")), group="act")

        app.push_screen(WrapScreen(app.words, app.state.thread.meta, summary), done)

    async def _change(self, name: str, body: dict[str, Any], notice: str) -> None:
        await self._app.desk.put("PATCH", f"conversations/{name}", body)
        await self._app.keeping.load(name)
        self._app.say(notice)
        self._app.keeping.look_now()

    def do_snooze(self) -> None:
        """Let the conversation come back later."""
        app = self._app
        turn, name = self._stored()
        if turn is None:
            app.say("no_message")
            return
        rows = [FinderResult(app.words(f"snooze.{key}"), after) for key, after in SNOOZES.items()]

        async def chosen(one: FinderResult) -> None:
            until = (app.today() + one.value).isoformat(timespec="seconds")
            await self._change(name, {"status": "snoozed", "snooze_until": until}, "snoozed")

        self._find("snooze.title", among(rows), chosen)

    async def do_export(self) -> None:
        """The conversation as Markdown and as JSON, both at once."""
        app = self._app
        turn, name = self._stored()
        if turn is None:
            app.say("no_message")
            return
        said = await app.desk.get(f"conversations/{name}")
        app.save(export.file_name(name, "json"), export.as_json(said))
        app.say("plain", text=app.save(export.file_name(name, "md"), export.as_markdown(said, app.words)))

    async def do_practice(self) -> None:
        """A simulated customer comes in."""
        await self._app.practice.begin(self._app.state.asked)

    def show_score(self, customer: Customer) -> None:
        """How a practice customer was served."""

        async def load(words: Catalogue) -> Sequence[Block]:
            rows = [
                words("practice.helped", helped=customer.helped, asked=len(customer.sections)),
                words("practice.claimed", count=customer.claimed),
                words("practice.stars", stars=customer.stars),
            ]
            return [(words(f"practice.mood_{customer.mood}"), rows)]

        self._page("practice.title", load, "practice")

    def do_ahead(self) -> None:
        """Read ahead while typing, or no longer."""
        app = self._app
        now = not app.settings.read_ahead
        app.settings = app.settings.model_copy(update={"read_ahead": now})
        app.say("ahead_on" if now else "ahead_off")


def summarise(turns: Sequence[ConsoleTurn]) -> str:
    """The conversation in a few lines, quoted: what was asked, and what was replied."""
    lines = []
    for turn in turns[-6:]:
        said = turn.reply or ""
        question = " ".join(turn.question.split())[:80]
        lines.append(f"{question} → {' '.join(said.split())[:80]}" if said else question)
    return "\n".join(lines)
