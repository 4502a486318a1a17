"""The engine's own process: requests come in as lines of JSON on a socket, pieces go out the same way.

Started by `runtime.engine.process.remote_engine`, which has the list of messages. Ends when the other side is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.engine.core.generation import Generation, Place, TextPiece
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.process.protocol import Connection, pack_piece, unpack_params, unpack_prompt
from runtime.errors import EdgedeskError

OOM_SCORE = "500"
"""When memory runs out the kernel takes this process before the one with the journal."""


class EngineProcess:
    """Carries messages between a line and an engine."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._cancels: dict[int, threading.Event] = {}

    def run(self) -> None:
        """Open the engine that the first message describes, then serve until the line ends."""
        messages = self._line.messages()
        first = next(messages, None)
        if first is None:
            return
        try:
            engine = open_told_engine(first)
        except EdgedeskError as error:
            self._line.send({"error": error.to_dict()})
            return
        with engine:
            told: dict[str, Any] = {"context_tokens": engine.context_tokens, "slots": engine.slots}
            told |= {"layout": engine.layout, "reason": engine.layout_reason}
            self._line.send({"ready": told})
            self._serve(engine, messages)

    def _serve(self, engine: LlamaEngine, messages: Iterable[dict[str, Any]]) -> None:
        for message in messages:
            if message["do"] == "forget":
                engine.forget(message["conversation"])
                continue
            number = message["id"]
            if message["do"] == "cancel":
                if (cancel := self._cancels.get(number)) is not None:
                    cancel.set()
                continue
            cancel = self._cancels[number] = threading.Event()
            try:
                generation = _begin(engine, message, cancel)
            except EdgedeskError as error:
                self._end(number, {"error": error.to_dict()})
                continue
            threading.Thread(target=self._pass_on, args=(number, generation), daemon=True).start()

    def _pass_on(self, number: int, generation: Generation) -> None:
        try:
            for update in generation.updates():
                if isinstance(update, TextPiece):
                    self._line.send({"id": number, "piece": pack_piece(update)})
                elif isinstance(update, Place):
                    self._line.send({"id": number, "place": [update.position, update.wait_s]})
                else:
                    self._line.send({"id": number, "progress": [update.done, update.total]})
            self._end(number, {"stats": vars(generation.stats)})
        except EdgedeskError as error:
            self._end(number, {"error": error.to_dict()})

    def _end(self, number: int, message: dict[str, Any]) -> None:
        self._cancels.pop(number, None)
        self._line.send({"id": number, **message})


def open_told_engine(told: dict[str, Any]) -> LlamaEngine:
    """An engine from the keywords of the first message; paths came as text."""
    os.nice(told.pop("nice", 0))
    adapters = {name: Path(path) for name, path in told.pop("adapters", {}).items()}
    folders: dict[str, Any] = {name: Path(path) for name in ("folder", "talk_folder") if (path := told.pop(name, None))}
    return LlamaEngine(Path(told.pop("model_path")), adapters=adapters, **folders, **told)


def _begin(engine: LlamaEngine, message: dict[str, Any], cancel: threading.Event) -> Generation:
    prompt = unpack_prompt(message["prompt"])
    if message["do"] == "generate":
        params = unpack_params(message["params"])
        return engine.generate(
            prompt, params, cancel, deadline_s=message["deadline_s"], conversation=message["conversation"]
        )
    if message["do"] == "prepare":
        return engine.prepare(prompt, cancel, conversation=message["conversation"], adapter=message["adapter"])
    return engine.compile(prompt, cancel, adapter=message["adapter"])


def main() -> None:
    """`python -m runtime.engine.process.engine_process FD`."""
    # The other side decides when this one ends: Ctrl-C and a service manager's signal reach both.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    with socket.socket(fileno=int(sys.argv[1])) as end:
        EngineProcess(Connection(end)).run()
    # Threads that wait for pieces of requests cut off would keep the interpreter from ending.
    os._exit(0)


if __name__ == "__main__":
    main()
