"""The engine's own process: requests come in as messages on a socket, pieces go out the same way.

Started by `runtime.engine.process.engine_child`; `runtime.engine.process.protocol` lists the messages. Ends when the
other side is gone. The main thread only reads messages, so that it answers pings also while the model is loaded and
while a batch is computed (both without Python's lock).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

from runtime.base.no_network import deny_network
from runtime.engine.core.generation import Generation
from runtime.engine.core.options import EngineOptions
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.process.protocol import (
    CancelMessage,
    CompileMessage,
    Connection,
    DraftMessage,
    EndedMessage,
    FailedMessage,
    ForgetMessage,
    FromEngine,
    GenerateMessage,
    OpenMessage,
    PingMessage,
    PongMessage,
    PrefetchMessage,
    ReadyMessage,
    Request,
    ToEngine,
    UpdateMessage,
)
from runtime.errors import EdgedeskError, ModelError

OOM_SCORE = "500"
"""When memory runs out the kernel kills this process before the one with the journal."""


class EngineProcess:
    """Carries messages between a connection and an engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._engine: LlamaEngine | None = None
        self._cancels: dict[int, threading.Event] = {}

    def run(self) -> None:
        """Open the engine that the first message describes, then serve until the connection ends."""
        messages = self._connection.messages()
        first = next(messages, None)
        if not isinstance(first, OpenMessage):
            return
        threading.Thread(target=self._open, args=(first.options,), name="engine-loader", daemon=True).start()
        for message in messages:
            self._handle(message)
        if self._engine is not None:
            self._engine.close()

    def _open(self, options: EngineOptions) -> None:
        try:
            os.nice(options.nice)
            self._engine = engine = LlamaEngine(options)
        except Exception as error:  # whatever it was, the other side waits for a first word
            self._connection.send(FailedMessage.of(None, _as_engine_error(error)))
            return
        self._connection.send(ReadyMessage(engine.context_tokens, engine.slots, engine.layout, engine.layout_reason))

    def _handle(self, message: ToEngine | FromEngine) -> None:
        engine = self._engine
        if isinstance(message, PingMessage):
            self._connection.send(PongMessage(None if engine is None else engine.health()))
        elif isinstance(message, CancelMessage):
            if (cancel := self._cancels.get(message.id)) is not None:
                cancel.set()
        elif engine is None:
            return  # nothing else is sent before this side is ready
        elif isinstance(message, ForgetMessage):
            engine.forget(message.conversation)
        elif isinstance(message, GenerateMessage | PrefetchMessage | DraftMessage | CompileMessage):
            cancel = self._cancels[message.id] = threading.Event()
            try:
                generation = _begin(engine, message, cancel)
                threading.Thread(target=self._pass_on, args=(message.id, generation), daemon=True).start()
            except Exception as error:  # a request that cannot begin, or no thread for it, must not end the others
                self._end(FailedMessage.of(message.id, _as_engine_error(error)), message.id)

    def _pass_on(self, number: int, generation: Generation) -> None:
        try:
            for update in generation.updates():
                self._connection.send(UpdateMessage(number, update))
            self._end(EndedMessage(number, generation.stats), number)
        except Exception as error:  # the other side waits for a last word of every request
            self._end(FailedMessage.of(number, _as_engine_error(error)), number)

    def _end(self, message: FromEngine, number: int) -> None:
        self._cancels.pop(number, None)
        self._connection.send(message)


def _begin(engine: LlamaEngine, message: Request, cancel: threading.Event) -> Generation:
    if isinstance(message, GenerateMessage):
        return engine.generate(message.prompt, message.params, cancel, conversation=message.conversation)
    if isinstance(message, PrefetchMessage):
        return engine.prefetch(message.prompt, cancel, conversation=message.conversation)
    if isinstance(message, DraftMessage):
        return engine.draft(
            message.prompt,
            message.params,
            cancel,
            conversation=message.conversation,
            ahead_tokens=message.ahead_tokens,
        )
    return engine.compile(message.prompt, cancel)


def _as_engine_error(error: Exception) -> EdgedeskError:
    return error if isinstance(error, EdgedeskError) else ModelError(f"the engine failed: {error!r}")


def main() -> None:
    """`python -m runtime.engine.process.engine_process FD`."""
    # The other side decides when this one ends: Ctrl-C and a service manager's signal reach both.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    deny_network()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    with socket.socket(fileno=int(sys.argv[1])) as end:
        EngineProcess(Connection(end)).run()
    # Threads that wait for pieces of requests cut off, or a model still being loaded, would keep the interpreter alive.
    os._exit(0)


if __name__ == "__main__":
    main()
