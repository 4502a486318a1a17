"""What all endpoints share: the desk once it is there, the answers in work, who asks, and the counts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.base.home import run_folder
from runtime.base.settings import Settings
from runtime.bundle.generations import current_bundle
from runtime.desk.answer_ahead import AheadCounts
from runtime.errors import UnavailableError
from runtime.events import AskRequest, Audience
from runtime.journal.outbox_queue import OutboxCounts, outbox_counts
from runtime.journal.stored_turn import PRACTICE, is_practice
from runtime.server.access import AccessList, Caller
from runtime.server.attachment_queue import AttachmentQueue
from runtime.server.http_errors import ForbiddenError
from runtime.server.inbox_drafts import InboxDrafts
from runtime.server.log import Log
from runtime.server.metrics import ServerMetrics

if TYPE_CHECKING:
    from runtime.desk.desk import Desk

KEEP_ALIVE_S = 5.0
"""A stream that has nothing to send says so this often: proxies give up after 30 to 60 s."""
ANSWERS_TIMEOUT_S = 30
"""How long a stop waits for cancelled answers: one core reads a batch for a 13B model in less."""


class Service:
    """The server's state. Safe to call from several threads."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.home = home
        self.bundle = current_bundle(home)
        self.settings = settings
        self.agents = AccessList(home)
        self.metrics = ServerMetrics()
        self.attachments = AttachmentQueue(threads=min(2, settings.threads))
        self.log = Log(run_folder(home), text=settings.log_text)
        self.inbox_drafts = InboxDrafts(self)
        self.desk: Desk | None = None
        self.stopping = False
        self.keep_alive_s = KEEP_ALIVE_S
        self._public_text: str | None = None
        self._active: set[threading.Event] = set()
        self._changed = threading.Condition()

    @property
    def state(self) -> str:
        """`starting`, `ready` or `stopping`."""
        return "stopping" if self.stopping else "ready" if self.desk else "starting"

    def public_text(self) -> str:
        """What the company publishes itself: the redactor leaves it in. Read once a generation."""
        if self._public_text is None:
            self._public_text = self.bundle.public_text()
        return self._public_text

    def reload(self) -> None:
        """Another generation has become the current one."""
        self.bundle = current_bundle(self.home)
        self._public_text = None

    @property
    def active(self) -> int:
        """Answers in work."""
        return len(self._active)

    def ready_desk(self) -> Desk:
        """The desk, or `UnavailableError` while there is none."""
        if self.desk is None or self.stopping:
            raise UnavailableError(f"the server is {self.state}", hint="try again in a moment")
        return self.desk

    def begin(self) -> threading.Event:
        """A place for one more answer; the event cancels it. `UnavailableError` when all are taken."""
        with self._changed:
            self.require_place()
            cancel = threading.Event()
            self._active.add(cancel)
            return cancel

    def require_place(self) -> None:
        """`UnavailableError` when all places are taken; asked before anything is spent on a question."""
        with self._changed:
            if len(self._active) > self.settings.queue_limit:
                self.metrics.refused += 1
                raise UnavailableError(f"{len(self._active)} questions are in work", hint="ask again in a moment")

    def for_caller(self, request: AskRequest, caller: Caller) -> AskRequest:
        """The request with the articles it may rest on; `ForbiddenError` when it asks for more than the caller's."""
        if request.conversation:
            self.check_name(caller, request.conversation)
        return request.model_copy(update={"audience": self.audience_for(caller, request.audience)})

    @staticmethod
    def check_name(caller: Caller, conversation: str) -> None:
        """`ForbiddenError` for a name that would keep an outside program's conversation from leaving the branch."""
        if is_practice(conversation) and not caller.internal:
            raise ForbiddenError(
                f"a conversation whose name begins with '{PRACTICE}' is an agent's practice", hint="choose another name"
            )

    @staticmethod
    def audience_for(caller: Caller, wanted: Audience | None) -> Audience | None:
        """Whose articles a caller reads: without leave to read internal ones, the public's."""
        if wanted == "internal" and not caller.internal:
            raise ForbiddenError(
                "internal articles need leave", hint="edgedesk agents add NAME --internal, or ask your admin"
            )
        return wanted if caller.internal else "public"

    def finish(self, cancel: threading.Event) -> None:
        """Give the place back."""
        with self._changed:
            self._active.discard(cancel)
            self._changed.notify_all()

    def stop(self) -> None:
        """Cancel everything in work."""
        self.inbox_drafts.stop()
        with self._changed:
            self.stopping = True
            for cancel in self._active:
                cancel.set()

    def wait_for_answers(self) -> None:
        """Wait until what was cancelled is in the journal: at most a batch of reading."""
        with self._changed:
            self._changed.wait_for(lambda: not self._active, timeout=ANSWERS_TIMEOUT_S)

    def ahead(self) -> AheadCounts:
        """What was read and written before questions came, since the desk was opened."""
        return self.desk.ahead if self.desk else AheadCounts()

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        info = self.bundle.info
        outbox = outbox_counts(self.desk.journal) if self.desk else OutboxCounts(0, 0, 0)
        return {
            "state": self.state,
            "bundle": info.name,
            "version": info.version,
            "model": Path(info.model).stem,
            "languages": list(self.bundle.prompt.languages),
            "active": self.active,
            "engine": "ready" if self.desk is None or getattr(self.desk.engine, "ready", True) else "restarting",
            "ahead": self.ahead().as_dict(),
            **outbox._asdict(),
        }
