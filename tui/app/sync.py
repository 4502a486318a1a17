"""What goes on by itself: looking after the server, the inbox, verdicts on their way, unsent text, reading ahead.

Promises: a server that is absent, starting, stopping or gone is looked for again and again; a verdict is sent until the
server has it; what is typed is on this disk within `REMEMBER_S` and with the server at the next look; where two
consoles type into one conversation the one that types last wins, and the other shows it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runtime.errors import BusyError, EdgedeskError, MissingError, UnavailableError
from runtime.events import Citation
from tui.services import session_file
from tui.services.server_link import link_event
from tui.state import ConsoleTurn, Kept, Link, Linked, Listed, Loaded, Mode, ReadAhead, Saved, Sourced, Synced, Thread
from tui.state.inbox import arrange, read_row

if TYPE_CHECKING:
    from tui.app.console import Console

REMEMBER_S = 0.3
AHEAD_S = 0.35
"""A pause in typing after which the words so far are sent to be read."""
INBOX_LIMIT = 200
REPLY_MARK = "/reply\n"
"""Unsent text that begins with it is a reply; any other is a customer's message."""


class Sync:
    """The background of one console."""

    def __init__(self, app: Console, poll_s: float, retry_s: tuple[float, ...]) -> None:
        self.app = app
        self._poll_s = poll_s
        self._retry_s = retry_s
        self._look_now = asyncio.Event()
        self._sent: dict[str, str] = {}
        """Unsent text by conversation, as the server was last told or last told us."""
        self._sourced: set[int] = set()
        self._remember_due = False
        self._ahead_off = False
        self._ahead_sent = ""

    # The server.

    def look_now(self) -> None:
        """Do not wait for the next look."""
        self._look_now.set()

    async def watch(self) -> None:
        """Ask the server how it is and what is new; start one if that is ours to do; say what is known."""
        while True:
            wait = self._poll_s
            try:
                status = await self.app.desk.status()
                self.app.dispatch(link_event(status, await self.app.desk.health(status)))
                if self.app.state.link is Link.READY:
                    await self._refresh()
                else:
                    wait = self._retry_s[0]
            except EdgedeskError as error:
                wait = await self._revive(error)
            await self._wait(wait)

    async def _revive(self, error: EdgedeskError) -> float:
        """What to do about a server that does not answer; seconds until the next look."""
        app = self.app
        if app.state.link is not Link.LOOKING:
            app.dispatch(Linked(Link.GONE, why=error.what))
            await self._wait(self._retry_s[min(app.state.retry, len(self._retry_s)) - 1])
        try:
            if await app.desk.start():
                app.dispatch(Linked(Link.STARTING))
                return self._retry_s[0]
        except EdgedeskError as failure:
            error = failure
        if app.state.link is Link.LOOKING:
            app.dispatch(Linked(Link.GONE, why=error.what))
        return 0.0

    async def _wait(self, seconds: float) -> None:
        """That long, or until somebody has reason to look sooner."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look_now.wait(), seconds)
        self._look_now.clear()

    async def _refresh(self) -> None:
        await self._save()
        with suppress(MissingError):
            said = await self.app.desk.get("conversations", limit=INBOX_LIMIT)
            self.app.dispatch(Listed(arrange(map(read_row, said["conversations"]), self._now())))
        if name := self.app.state.conversation:
            await self.load(name)
            await self._sync(name)

    def _now(self) -> str:
        from datetime import UTC

        return self.app.today().astimezone(UTC).isoformat(timespec="milliseconds")

    async def load(self, conversation: str) -> None:
        """Read a conversation; one the server does not know yet is begun here."""
        with suppress(MissingError):
            said = await self.app.desk.get(f"conversations/{conversation}")
            about = {key: value for key, value in said.items() if key not in ("turns", "conversation")}
            self.app.dispatch(Loaded(conversation, tuple(said["turns"]), about))
        turn = self.app.state.current
        if turn is not None and turn.number not in self._sourced and any(not one.text for one in turn.citations):
            self._sourced.add(turn.number)
            await self._source(turn)

    async def _source(self, turn: ConsoleTurn) -> None:
        """The words of a stored draft's sources, which the journal keeps by name only."""
        found = []
        for one in turn.citations:
            try:
                page = await self.app.desk.article(one.article, one.lang)
                sections = [Citation.model_validate(item) for item in page["sections"]]
                found.append(next(section for section in sections if section.section == one.section))
            except (MissingError, StopIteration):
                found.append(one)  # No longer in the articles.
        self.app.dispatch(Sourced(turn.number, tuple(found)))

    # Verdicts.

    async def _save(self) -> None:
        for conversation, turn in self.app.state.unsaved():
            if not conversation.startswith("practice-"):
                body: dict[str, Any] = {"reply": turn.reply or None, "seconds": turn.decided_s}
                if turn.verdict in ("accepted", "edited", "rejected"):
                    body["verdict"] = turn.verdict
                if turn.reason:
                    body["reason"] = turn.reason
                try:
                    await self.app.desk.put("POST", f"conversations/{conversation}/turns/{turn.stored}/feedback", body)
                except UnavailableError:
                    raise
                except EdgedeskError as error:
                    self.app.say("not_saved", text=str(error))
            self.app.dispatch(Saved(turn.number))

    # Unsent text.

    async def _sync(self, name: str) -> None:
        """Tell the server what is typed, or hear what another console typed."""
        thread = self._thread(name)
        if thread is None or thread.practice:
            return
        path, mine = f"conversations/{name}/composer", wire(thread)
        with suppress(MissingError):
            if mine == self._sent.get(name, ""):
                said = await self.app.desk.get(path)
                self._hear(name, said, mine)
                return
            try:
                said = await self.app.desk.put("PUT", path, {"text": mine, "revision": thread.revision})
            except BusyError:
                newer = await self.app.desk.get(path)
                said = await self.app.desk.put("PUT", path, {"text": mine, "revision": newer["revision"]})
            self._sent[name] = mine
            self.app.dispatch(Kept(name, int(said["revision"])))

    def _hear(self, name: str, said: dict[str, Any], mine: str) -> None:
        thread = self._thread(name)
        if thread is None or wire(thread) != mine or int(said["revision"]) <= thread.revision:
            return  # Typed on meanwhile, or nothing new.
        text, mode = unwire(str(said["text"]))
        self._sent[name] = str(said["text"])
        if self.app.state.conversation == name:
            self.app.dispatch(Synced(name, text, mode.value, int(said["revision"]), over=thread.composer))

    def _thread(self, name: str) -> Thread | None:
        return next((one for one in self.app.state.threads if one.conversation == name), None)

    # Memory.

    def restore(self) -> None:
        """Take up what the console's last life left."""
        if self.app.folder and (kept := session_file.read(self.app.folder / session_file.FILE_NAME)):
            self.app.dispatch(kept)

    def changed(self) -> None:
        """Something may be worth remembering."""
        if self.app.folder and not self._remember_due:
            self._remember_due = True
            self.app.set_timer(REMEMBER_S, self.remember)
        if self.app.state.unsaved():
            self.look_now()

    async def remember(self) -> None:
        """Write it down."""
        self._remember_due = False
        if self.app.folder:
            kept = session_file.snapshot(self.app.state)
            with suppress(EdgedeskError, OSError):
                await asyncio.to_thread(session_file.write, self.app.folder / session_file.FILE_NAME, kept)

    # Reading ahead.

    def typed(self) -> None:
        """The field changed."""
        state = self.app.state
        wanted = self.app.settings.read_ahead and not self._ahead_off and state.mode is Mode.CUSTOMER
        if wanted and state.link is Link.READY and not state.busy:
            text = state.composer.strip()
            if text != self._ahead_sent:
                self.app.run_worker(self._read_ahead(text), group="ahead", exclusive=True)

    def asked(self) -> None:
        """What was read ahead is being used: the empty field must not drop it."""
        self._ahead_sent = ""
        self.app.workers.cancel_group(self.app, "ahead")

    async def _read_ahead(self, text: str) -> None:
        await asyncio.sleep(AHEAD_S)
        while True:
            self._ahead_sent, thread = text, self.app.state.thread
            try:
                said = await self.app.desk.typing(text, thread.conversation)
            except MissingError:
                self._ahead_off = True  # A server that does not read ahead.
                return
            except EdgedeskError:
                return
            if self.app.state.open != thread.key:
                return
            self.app.dispatch(ReadAhead(str(said["state"]), int(said["tokens"]), said.get("conversation")))
            if said["state"] != "reading" or self.app.state.composer.strip() != text:
                return
            await asyncio.sleep(AHEAD_S)


def wire(thread: Thread) -> str:
    """Unsent text as the server keeps it."""
    return (REPLY_MARK if thread.mode is Mode.REPLY else "") + thread.composer


def unwire(text: str) -> tuple[str, Mode]:
    """Text and what it is."""
    return (text.removeprefix(REPLY_MARK), Mode.REPLY) if text.startswith(REPLY_MARK) else (text, Mode.CUSTOMER)
