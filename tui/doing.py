"""What each act of the key table does: it changes the state, or opens a box over the conversation.

Promises: an act that cannot be done now says why; what needs the server says so when there is none, and loses nothing;
a reply with a figure no source has, or with the words of an internal one, goes out only when asked for twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runtime.errors import EdgedeskError
from runtime.events import Citation
from tui import export, pages
from tui.guard import doubts
from tui.practice import Customer
from tui.screens.article import ArticleScreen
from tui.screens.finder import FinderScreen, Found, among
from tui.screens.page import Block, Load, PageScreen
from tui.screens.reject import Rejection, RejectScreen
from tui.screens.wrap import WrapScreen
from tui.state import (
    Accepted,
    Asked,
    Cancelled,
    Doubted,
    Editing,
    HandedOff,
    Inserted,
    Labelled,
    LeftReply,
    Mode,
    NewConversation,
    Opened,
    Rejected,
    Replied,
    Turn,
    Typed,
)
from tui.words import Words

if TYPE_CHECKING:
    from tui.app import Console

HANDOFF_REASONS = ("asks_for_person", "no_article", "complaint", "legal", "safety", "other")
SNOOZES = {
    "minutes_30": timedelta(minutes=30),
    "hour_1": timedelta(hours=1),
    "hours_3": timedelta(hours=3),
    "day_1": timedelta(days=1),
}
SUPERVISED = 20
"""Conversations a supervisor's figures are counted from."""


class Doing:
    """The acts of one console."""

    def __init__(self, app: Console) -> None:
        self._app = app
        self._asked_ahead = True

    def do(self, act: str) -> None:
        """An act by its id in `tui.keys`; what goes wrong on the way is said."""
        got = getattr(self, f"do_{act}")()
        if got is not None:
            self._app.run_worker(self._guarded(got), group="act")

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except EdgedeskError as error:
            self._app.say("cannot", text=str(error))

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
        found = doubts(reply, said, turn.citations)
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

        async def find(text: str) -> Sequence[Found]:
            said = await self._app.desk.get("canned", lang=lang)
            rows = [Found(str(one["title"]), one["text"], str(one["id"]), str(one["text"])) for one in said["canned"]]
            return await among(rows)(text)

        self._find("canned.title", find, lambda one: self._app.dispatch(Inserted(str(one.value))))

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

    def open_conversation(self, name: str) -> None:
        """Bring a conversation on screen."""
        self._app.dispatch(Opened(name))
        self._app.chat.go("talk")
        self._app.keeping.look_now()

    def do_new(self) -> None:
        """Begin with the next customer; a draft under way goes on in its own conversation."""
        self._app.dispatch(NewConversation())
        self._app.chat.go("talk")

    async def do_handoff(self) -> None:
        """Hand the conversation to a person, or look at the hand-off there is."""
        turn, name = self._stored()
        if turn is None:
            self._app.say("no_message")
            return
        words = self._app.words
        if not turn.handoff:
            rows = [Found(words(f"handoff.{reason}"), ("open", reason)) for reason in HANDOFF_REASONS]
        else:
            rows = [Found(words("card.show"), ("card", ""))]
            rows += [Found(words(f"card.{state}"), (state, "")) for state in ("taken", "closed", "open")]

        async def chosen(one: Found) -> None:
            state, reason = one.value
            if state != "card":
                body = {"state": state, **({"reason": reason} if reason else {})}
                await self._app.desk.put("POST", f"handoffs/{name}/{turn.stored}", body)
                self._app.dispatch(HandedOff(turn.number, reason, state))
            if state in ("card", "open"):
                path = f"handoffs/{name}/{turn.stored}/card"

                async def load(words: Words) -> Sequence[Block]:
                    return pages.card_page(await self._app.desk.get(path), words)

                self._page("card.title", load, f"card-{name}-{turn.stored}")

        self._find("handoff.title", among(rows), chosen)

    async def do_labels(self) -> None:
        """Correct what the customer wants or how they feel."""
        turn, name = self._stored()
        if turn is None:
            self._app.say("no_message")
            return
        words = self._app.words
        said = await self._app.desk.get("labels")
        rows = [
            Found(
                words.get(f"{kind}.{label}") or str(label).replace("_", " "), (kind, str(label)), words(f"label.{kind}")
            )
            for kind in ("intent", "emotion")
            for label in said[f"{kind}s"]
        ]

        async def chosen(one: Found) -> None:
            kind, label = one.value
            await self._app.desk.put("POST", f"conversations/{name}/turns/{turn.stored}/labels", {kind: label})
            self._app.dispatch(Labelled(turn.number, **{kind: label}))

        self._find("labels.title", among(rows), chosen)

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
        rows = [Found(app.words(f"snooze.{key}"), after) for key, after in SNOOZES.items()]

        async def chosen(one: Found) -> None:
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

    # Looking things up.

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

        async def find(text: str) -> Sequence[Found]:
            hits = await app.desk.search(text, None) if text else []
            return [
                Found(
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

        async def find(text: str) -> Sequence[Found]:
            if not text:
                return []
            said = await self._app.desk.get("conversations/search", q=text)
            return [
                Found(str(one["question"]), str(one["conversation"]), str(one["asked"])[:16].replace("T", " "),
                      str(one.get("reply") or one.get("draft") or ""))
                for one in said["turns"]
            ]  # fmt: skip

        self._find("past.title", find, lambda one: self.open_conversation(str(one.value)))

    async def do_queue(self) -> None:
        """Hand-offs that nobody has taken."""
        said = await self._app.desk.get("handoffs", state="open")
        words = self._app.words
        rows = [
            Found(words.get(f"handoff.{one['reason']}") or str(one["reason"]), str(one["conversation"]),
                  str(one["opened"])[:16].replace("T", " "))
            for one in said["handoffs"]
        ]  # fmt: skip
        self._find("queue.title", among(rows), lambda one: self.open_conversation(str(one.value)))

    def do_why(self) -> None:
        """Why the draft is as it is."""
        turn, name = self._stored()
        if turn is None:
            self._app.say("no_message")
            return

        async def load(words: Words) -> Sequence[Block]:
            return pages.why_page(await self._app.desk.get(f"conversations/{name}/turns/{turn.stored}/why"), words)

        self._page("why.title", load, f"why-{name}-{turn.stored}")

    def do_lens(self) -> None:
        """Exactly what would leave the branch."""

        async def load(words: Words) -> Sequence[Block]:
            return pages.lens_page(await self._app.desk.get("outbox"), words)

        self._page("lens.title", load, "would-leave")

    def do_gaps(self) -> None:
        """Questions that no article answers, as tickets for head office."""

        async def load(words: Words) -> Sequence[Block]:
            return pages.gaps_page((await self._app.desk.get("outbox", limit=1000))["rows"], words)

        self._page("gaps.title", load, "knowledge-gaps")

    def do_shift(self) -> None:
        """What the next shift must know."""

        async def load(words: Words) -> Sequence[Block]:
            said = await self._app.desk.get("handoffs", state="open")
            return pages.shift_page(self._app.state.inbox, said["handoffs"], words)

        self._page("shift.title", load, "shift")

    def do_supervisor(self) -> None:
        """The branch at a glance."""

        async def load(words: Words) -> Sequence[Block]:
            desk, rows = self._app.desk, self._app.state.inbox
            handoffs = {
                state: (await desk.get("handoffs", state=state))["handoffs"] for state in ("open", "taken", "closed")
            }
            turns = [
                turn
                for row in rows[:SUPERVISED]
                for turn in (await desk.get(f"conversations/{row.conversation}"))["turns"]
            ]
            return pages.supervisor_page(rows, handoffs, turns, words)

        self._page("supervisor.title", load, "supervisor")

    async def do_practice(self) -> None:
        """A simulated customer comes in."""
        await self._app.practice.begin(self._app.state.asked)

    def show_score(self, customer: Customer) -> None:
        """How a practice customer was served."""

        async def load(words: Words) -> Sequence[Block]:
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

    def _stored(self) -> tuple[Turn | None, str]:
        """The newest message that the server has, and its conversation."""
        state = self._app.state
        turn = next((one for one in reversed(state.turns) if one.stored), None)
        return (turn, state.conversation) if turn and state.conversation else (None, "")

    def _page(self, title: str, load: Load, name: str) -> None:
        self._app.push_screen(PageScreen(self._app.words, title, load, name))

    def _find(self, title: str, find: Any, chosen: Any) -> None:
        def done(one: Found | None) -> None:
            if one is not None and (work := chosen(one)) is not None:
                self._app.run_worker(self._guarded(work), group="act")

        self._app.push_screen(FinderScreen(self._app.words, title, find), done)


def summarise(turns: Sequence[Turn]) -> str:
    """The conversation in a few lines, quoted: what was asked, and what was replied."""
    lines = []
    for turn in turns[-6:]:
        said = turn.reply or ""
        question = " ".join(turn.question.split())[:80]
        lines.append(f"{question} → {' '.join(said.split())[:80]}" if said else question)
    return "\n".join(lines)
