"""Messages between the engine's process and the one that asks: frozen dataclasses, one JSON object a line on a socket.

    →  OpenMessage                                       first, once
    →  GenerateMessage  PrefetchMessage  DraftMessage  CompileMessage    each with an id of its own
    →  CancelMessage  ForgetMessage  PingMessage
    ←  ReadyMessage, or FailedMessage without an id      first besides pongs, once
    ←  UpdateMessage                                     any number for an id
    ←  EndedMessage or FailedMessage                     last for an id
    ←  PongMessage                                       one for each ping, also while the model is loaded

Both ends are of one version: one starts the other.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from runtime.engine.core.generation import Place, Progress, Stats, TextPiece
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.scheduler import EngineHealth
from runtime.errors import EdgedeskError, InputError, from_dict
from runtime.prompting.prompt_tokens import Layout, Prompt

OUTGOING_MESSAGES = 256
"""Messages that may wait to be sent. More only pile up before a process that does not read."""


@dataclass(frozen=True)
class OpenMessage:
    """Load the model."""

    options: EngineOptions
    kind: Literal["open"] = "open"


@dataclass(frozen=True)
class GenerateMessage:
    """`TextEngine.generate`."""

    id: int
    prompt: Prompt
    params: SamplingParams
    conversation: str | None
    kind: Literal["generate"] = "generate"


@dataclass(frozen=True)
class PrefetchMessage:
    """`TextEngine.prefetch`."""

    id: int
    prompt: Prompt
    conversation: str
    kind: Literal["prefetch"] = "prefetch"


@dataclass(frozen=True)
class DraftMessage:
    """`TextEngine.draft`."""

    id: int
    prompt: Prompt
    params: SamplingParams
    conversation: str
    ahead_tokens: int
    kind: Literal["draft"] = "draft"


@dataclass(frozen=True)
class CompileMessage:
    """`TextEngine.compile`."""

    id: int
    prompt: Prompt
    kind: Literal["compile"] = "compile"


@dataclass(frozen=True)
class CancelMessage:
    """The request is no longer wanted."""

    id: int
    kind: Literal["cancel"] = "cancel"


@dataclass(frozen=True)
class ForgetMessage:
    """`TextEngine.forget`."""

    conversation: str
    kind: Literal["forget"] = "forget"


@dataclass(frozen=True)
class PingMessage:
    """Asks whether the process still answers."""

    kind: Literal["ping"] = "ping"


@dataclass(frozen=True)
class ReadyMessage:
    """The model is loaded."""

    context_tokens: int
    slots: int
    """Those that fit into memory."""
    layout: Layout
    layout_reason: str
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True)
class UpdateMessage:
    """Something of an answer."""

    id: int
    update: TextPiece | Place | Progress
    kind: Literal["update"] = "update"


@dataclass(frozen=True)
class EndedMessage:
    """An answer has ended."""

    id: int
    stats: Stats
    kind: Literal["ended"] = "ended"


@dataclass(frozen=True)
class FailedMessage:
    """A request, or loading (id None), has ended with an error."""

    id: int | None
    fields: dict[str, str | int]
    """Of the error, as `EdgedeskError.to_dict` has them."""
    kind: Literal["failed"] = "failed"

    @classmethod
    def of(cls, number: int | None, error: EdgedeskError) -> FailedMessage:
        """The message for an error."""
        return cls(number, error.to_dict())

    def error(self) -> EdgedeskError:
        """The error of the message."""
        return from_dict(self.fields)


@dataclass(frozen=True)
class PongMessage:
    """The answer to a ping."""

    health: EngineHealth | None
    """None while the model is loaded."""
    kind: Literal["pong"] = "pong"


Request = GenerateMessage | PrefetchMessage | DraftMessage | CompileMessage
ToEngine = Request | OpenMessage | CancelMessage | ForgetMessage | PingMessage
FromEngine = ReadyMessage | UpdateMessage | EndedMessage | FailedMessage | PongMessage

_message: TypeAdapter[ToEngine | FromEngine] = TypeAdapter(
    Annotated[ToEngine | FromEngine, Field(discriminator="kind")]
)


def encode(message: ToEngine | FromEngine) -> bytes:
    """A message as a line; `InputError` for text that is no Unicode (a lone surrogate)."""
    try:
        return _message.dump_json(message) + b"\n"
    except (PydanticSerializationError, UnicodeError) as error:
        raise InputError(f"a text of the request is not valid Unicode ({error})", hint="send other text") from None


def decode(line: bytes) -> ToEngine | FromEngine:
    """The message of a line."""
    return _message.validate_json(line)


class Connection:
    """One end of a socket. Sending is safe from any thread, and waits while the other side does not read."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()

    def send(self, message: ToEngine | FromEngine) -> bool:
        """Send a message; False when the other side is gone."""
        return self.send_bytes(encode(message))

    def send_bytes(self, data: bytes) -> bool:
        """Send encoded messages; False when the other side is gone."""
        with self._lock, suppress(OSError):
            self._end.sendall(data)
            return True
        return False

    def messages(self) -> Generator[ToEngine | FromEngine, None, None]:
        """Messages until the other side is gone. A line that is no message ends them too: the two cannot go on."""
        with suppress(OSError, ValueError), self._end.makefile("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # cut in the middle: the other side died while it wrote
                yield decode(line)

    def shut(self) -> None:
        """End both directions: the other side's `messages` end, and so do this side's."""
        with suppress(OSError):  # it may be gone already
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._end.close()


class SendQueue:
    """Sends from a thread of its own, so that a caller never waits for a process that has stopped reading."""

    def __init__(self, connection: Connection, limit: int = OUTGOING_MESSAGES) -> None:
        self._connection = connection
        self._queue: queue.Queue[bytes | None] = queue.Queue(limit)
        threading.Thread(target=self._send_all, name="engine-sender", daemon=True).start()

    def send(self, message: ToEngine) -> bool:
        """Queue a message; False when so many wait that the other side cannot be reading."""
        data = encode(message)
        try:
            self._queue.put_nowait(data)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """End the thread, after `Connection.shut`."""
        with suppress(queue.Full):  # then the thread is in `sendall`, which the shut connection has ended
            self._queue.put_nowait(None)

    def _send_all(self) -> None:
        while (data := self._queue.get()) is not None and self._connection.send_bytes(data):
            pass
