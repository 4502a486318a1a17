"""The background work: watching the server, the inbox, verdicts, unsent text, reading ahead.

Promises: a server that is absent, starting, stopping or gone is looked for again and again, and nothing else counts as
a server that is gone; a verdict is sent until the server has it or says that it never will; what is typed is on this
disk within `REMEMBER_S` and with the server at the next look. Where two consoles type into one conversation, the last
one to type wins and the other shows its text.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC
from typing import Any

from runtime.client.answers import ArticlePage, UnsentText
from runtime.errors import BusyError, EdgedeskError, InputError, MissingError, UnavailableError
from runtime.text.sentences import ends_sentence
from tui.app.view import View
from tui.base.limits import MAX_TEXT_CHARS
from tui.services.server_link import link_event
from tui.services.session_file import SessionFile
from tui.state import ConsoleTurn, Kept, Link, Linked, Listed, Loaded, Mode, ReadAhead, Saved, Sourced, Synced, Thread
from tui.state.inbox import arrange, read_row

REMEMBER_S = 0.3
"""From a change to the session file: a kill loses what was typed in this time, and the disk is written 3 times a second
at most."""
LAST_SAVE_S = 1.0
"""Nobody who quits waits longer for a server that does not answer."""
AHEAD_S = 0.35
"""A pause in typing after which the text so far is sent to be read, and answered as if it were whole."""
INBOX_LIMIT = 200
REPLY_MARK = "/reply\n"
"""Unsent text that begins with it is a reply; any other is a customer's message."""


class Sync:
    """The background work of one console."""

    def __init__(self, view: View, session: SessionFile | None, poll_s: float, retry_s: tuple[float, ...]) -> None:
        """`session` is where unsent text survives the console; `poll_s`, `retry_s` in seconds."""
        self._view = view
        self._session = session
        self._poll_s = poll_s
        self._retry_s = retry_s
        self._look_now = asyncio.Event()
        self._sent: dict[str, str] = {}
        """Unsent text by conversation, as the server and this console last agreed on it."""
        self._sourced: set[int] = set()
        """Turns whose sources were asked for: once each, since an article that is gone stays gone."""
        self._remember_due = False
        self._ahead_off = False
        self._ahead_sent = ""
        self._draft_begun = False
        """Whether the server may be writing a draft for `_ahead_sent`: it is told when the text goes on."""
        self._remarked = ""
        """The last trouble that was shown; one that lasts is not shown again at every look."""

    # The server.

    def look_now(self) -> None:
        """Do not wait for the next look."""
        self._look_now.set()

    async def watch(self) -> None:
        """Ask the server how it is and what is new; start one where that is this console's to do. Never returns."""
        while True:
            wait = self._poll_s
            try:
                status = await self._view.server.status()
                self._view.dispatch(link_event(status, await self._view.server.health(status)))
                if self._view.state.link is Link.READY:
                    await self._refresh()
                else:
                    wait = self._retry_s[0]
            except EdgedeskError as error:
                wait = await self._revive(error)
            await self._wait(wait)

    async def _revive(self, error: EdgedeskError) -> float:
        """What to do about a server that does not answer; seconds until the next look."""
        view = self._view
        if view.state.link is not Link.LOOKING:
            view.dispatch(Linked(Link.GONE, why=_reason(error)))
            await self._wait(self._retry_s[min(view.state.retry, len(self._retry_s)) - 1])
        try:
            if await view.server.start():
                view.dispatch(Linked(Link.STARTING))
                return self._retry_s[0]
        except EdgedeskError as failure:
            error = failure
        if view.state.link is Link.LOOKING:
            view.dispatch(Linked(Link.GONE, why=_reason(error)))
        return 0.0

    async def _wait(self, seconds: float) -> None:
        """That long, or until somebody has reason to look sooner."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look_now.wait(), seconds)
        self._look_now.clear()

    async def _refresh(self) -> None:
        """Exchange everything that is new. Only a server that does not answer ends the round early.

        The server refuses a single request for reasons of that request: a full disk, a text that is too long, a
        conversation that is gone. None of them says anything of the server, and none may keep the other requests from
        being made.
        """
        troubles = []
        steps = [self._save(), self._list()]
        if name := self._view.state.conversation:
            steps += [self.load(name), self._sync(name)]
        for number, step in enumerate(steps):
            try:
                await step
            except UnavailableError:
                for rest in steps[number + 1 :]:
                    rest.close()
                raise
            except EdgedeskError as error:
                troubles.append(str(error))
        self._remark(troubles)

    def _remark(self, troubles: list[str]) -> None:
        said = "; ".join(dict.fromkeys(troubles))
        if said and said != self._remarked:
            self._view.say("not_saved", text=said)
        self._remarked = said

    async def _list(self) -> None:
        with suppress(MissingError):
            rows = await self._view.server.agents.list_conversations(limit=INBOX_LIMIT)
            now = self._view.today().astimezone(UTC).isoformat(timespec="milliseconds")
            self._view.dispatch(Listed(arrange(map(read_row, rows), now)))

    async def load(self, conversation: str) -> None:
        """Read a conversation; one the server does not know yet is begun here."""
        with suppress(MissingError):
            self._view.dispatch(Loaded(await self._view.server.agents.read_conversation(conversation)))
        turn = self._view.state.current
        if turn is not None and turn.number not in self._sourced and any(not one.text for one in turn.citations):
            self._sourced.add(turn.number)
            await self._fetch_sources(turn)

    async def _fetch_sources(self, turn: ConsoleTurn) -> None:
        """The text of a stored draft's sources, which the journal keeps by name only."""
        found = []
        for cited in turn.citations:
            page = ArticlePage(article=cited.article)
            with suppress(MissingError):  # No longer in the articles: its name is all there is.
                page = await self._view.server.article(cited.article, cited.lang)
            found.append(next((one for one in page.sections if one.section == cited.section), cited))
        self._view.dispatch(Sourced(turn.number, tuple(found)))

    # Verdicts.

    async def _save(self) -> None:
        """Send the verdicts that the server does not have; one that it cannot take now is sent at the next look."""
        trouble: EdgedeskError | None = None
        for conversation, turn in self._view.state.unsaved():
            # Verdicts on practice customers stay here: nothing of practice is stored.
            if not conversation.startswith("practice-"):
                try:
                    await self._view.server.agents.send_feedback(conversation, turn.stored, feedback_of(turn))
                except UnavailableError:
                    raise
                except (MissingError, InputError) as error:
                    # The server will never take it: the turn is gone, or the request is wrong. Trying again is no use.
                    self._view.say("not_taken", text=str(error))
                except EdgedeskError as error:
                    # A full disk, a busy journal, a fault inside the server: later it may be taken. The verdict stays
                    # unsaved, here and in the session file, until it is.
                    trouble = error
                    continue
            self._view.dispatch(Saved(turn.number))
        if trouble is not None:
            raise trouble

    async def last_save(self) -> None:
        """Send what the server does not have yet, while the console ends; the session file has it in any case.

        Else a reply that was shown as sent would lie in that file until the agent comes back, and miss an export.
        """
        if self._view.state.unsaved() and self._view.state.link is Link.READY:
            with suppress(EdgedeskError, TimeoutError):
                await asyncio.wait_for(self._save(), LAST_SAVE_S)

    # Unsent text.

    async def _sync(self, name: str) -> None:
        """Send the server what is typed, or take up what another console typed."""
        thread = self._thread(name)
        if thread is None or thread.practice:
            return
        agents, mine = self._view.server.agents, to_wire(thread)
        if len(mine) > MAX_TEXT_CHARS:
            return  # The server would refuse it; it is in the session file, and sending it is refused in words.
        with suppress(MissingError):
            if mine == self._sent.get(name, ""):
                self._take_up(name, await agents.read_unsent_text(name), mine)
                return
            try:
                kept = await agents.keep_unsent_text(name, mine, thread.revision)
            except BusyError:
                # Another console wrote since: what is typed here is newer, so it replaces that at its revision.
                newer = await agents.read_unsent_text(name)
                kept = await agents.keep_unsent_text(name, mine, newer.revision)
            self._sent[name] = mine
            self._view.dispatch(Kept(name, kept.revision))

    def _take_up(self, name: str, theirs: UnsentText, mine: str) -> None:
        thread = self._thread(name)
        if thread is None or to_wire(thread) != mine or theirs.revision <= thread.revision:
            return  # Typed on while the server was asked, or nothing new.
        text, mode = from_wire(theirs.text)
        self._sent[name] = theirs.text
        if self._view.state.conversation == name:
            self._view.dispatch(Synced(name, text, mode.value, theirs.revision, over=thread.composer))

    def _thread(self, name: str) -> Thread | None:
        return next((one for one in self._view.state.threads if one.conversation == name), None)

    # The session file.

    def restore(self) -> None:
        """Take up what the console's last session left."""
        if self._session is not None and (restored := self._session.read()):
            self._view.dispatch(restored)

    def changed(self) -> None:
        """The state changed: something may be worth remembering, or sending."""
        if self._session is not None and not self._remember_due:
            self._remember_due = True
            self._view.after(REMEMBER_S, self.remember)
        # Not while the server refuses verdicts: each refusal is shown, which changes the state, which would look again.
        if self._view.state.unsaved() and not self._remarked:
            self.look_now()

    async def remember(self) -> None:
        """Write the session file."""
        self._remember_due = False
        if self._session is not None:
            state = self._view.state
            with suppress(EdgedeskError, OSError):
                await asyncio.to_thread(self._session.write, state)

    # Reading ahead.

    def typed(self) -> None:
        """The field changed."""
        state = self._view.state
        wanted = self._view.settings.read_ahead and not self._ahead_off and state.mode is Mode.CUSTOMER
        if wanted and state.link is Link.READY and not state.busy and len(state.composer) <= MAX_TEXT_CHARS:
            text = state.composer.strip()
            if text != self._ahead_sent:
                self._view.start_work(self._read_ahead(text), "ahead", exclusive=True)

    def stop_reading_ahead(self) -> None:
        """What was read ahead is being used: the field, empty now, must not drop it."""
        self._ahead_sent, self._draft_begun = "", False
        self._view.cancel_work("ahead")

    async def leave(self) -> None:
        """The console ends: what was typed and not sent is not to stay in the server's memory."""
        sent, self._ahead_sent = self._ahead_sent, ""
        if sent and self._view.state.link is Link.READY:
            with suppress(EdgedeskError, TimeoutError):
                conversation = self._view.state.thread.conversation
                await asyncio.wait_for(self._view.server.typing("", conversation, paused=False), LAST_SAVE_S)

    async def _read_ahead(self, text: str) -> None:
        typed, conversation = self._view.state.composer, self._view.state.thread.conversation
        if conversation is not None and (self._draft_begun or typed[-1:].isspace()):
            # At once, not after the pause: what is being written belongs to a text that is gone, or a word is whole.
            self._draft_begun = False
            with suppress(EdgedeskError):
                await self._view.server.typing(typed, conversation, paused=False)
        if not ends_sentence(text):
            await asyncio.sleep(AHEAD_S)
        while True:
            self._ahead_sent, thread = text, self._view.state.thread
            self._draft_begun = bool(text)
            try:
                said = await self._view.server.typing(text, thread.conversation, paused=True)
            except MissingError:
                self._ahead_off = True  # A server that does not read ahead.
                return
            except EdgedeskError:
                return
            if self._view.state.open != thread.key:
                return
            state = "drafted" if said.written else said.state
            self._view.dispatch(ReadAhead(state, said.tokens, said.conversation))
            if said.state != "reading" or self._view.state.composer.strip() != text:
                return
            await asyncio.sleep(AHEAD_S)


def feedback_of(turn: ConsoleTurn) -> dict[str, Any]:
    """A verdict as `POST …/feedback` takes it; a reply without a draft has none."""
    body: dict[str, Any] = {"reply": turn.reply or None, "seconds": turn.decided_s}
    if turn.verdict in ("accepted", "edited", "rejected"):
        body["verdict"] = turn.verdict
    if turn.reason:
        body["reason"] = turn.reason
    return body


def to_wire(thread: Thread) -> str:
    """Unsent text as the server keeps it."""
    return (REPLY_MARK if thread.mode is Mode.REPLY else "") + thread.composer


def from_wire(text: str) -> tuple[str, Mode]:
    """Text and what it is."""
    return (text.removeprefix(REPLY_MARK), Mode.REPLY) if text.startswith(REPLY_MARK) else (text, Mode.CUSTOMER)


def _reason(error: EdgedeskError) -> str:
    """Why there is no server, with what to do about it."""
    return f"{error.what} ({error.hint})" if error.hint else error.what
