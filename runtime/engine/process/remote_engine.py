"""The engine in a process of its own: what `Engine` offers, and it survives llama.cpp's aborts and the OOM killer.

Promises: when the process dies, the answers in work end with an error that says so and nothing else is lost; it is
started again, after a pause that doubles with every death that no whole answer lies between; one that has grown beyond
its bound is replaced when it has nothing to do. The vocabulary is read here too: laying out prompts needs no process.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.base.child_process import child_environment, module_command
from runtime.engine.core.crash_report import CrashCounter, CrashReport, WorkKind
from runtime.engine.core.generation import Flag, Generation, Place, Progress, Stats
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.scheduler import QUEUE_LIMIT
from runtime.engine.llama.bindings import last_log, library
from runtime.engine.llama.engine import PACK_BYTES, SLOTS, TALK_BYTES
from runtime.engine.llama.vocab import LlamaVocabulary
from runtime.engine.process.protocol import Connection, pack_params, pack_prompt, unpack_piece
from runtime.errors import MissingError, ModelError, UnavailableError, from_dict
from runtime.prompting.prompt_tokens import Layout, Prompt

LOOK_S = 0.01
"""How often a caller's flag is looked at: the most a cancel is late, besides the step under way."""
MEMORY_LOOK_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
END_S = 10.0
"""How long a process that was told to end may take."""
GROWTH_BYTES = 512 << 20
"""Memory of its own that the process may take above what it had when it was ready."""


class RemoteEngine:
    """Starts the process and waits until its model is loaded; raises what keeps it from loading."""

    def __init__(
        self,
        model_path: Path,
        *,
        context_tokens: int,
        threads: int,
        slots: int = SLOTS,
        queue_limit: int = QUEUE_LIMIT,
        kv_type: str = "f16",
        adapters: Mapping[str, Path] | None = None,
        layout: Layout = "exact",
        folder: Path | None = None,
        pack_bytes: int = PACK_BYTES,
        talk_folder: Path | None = None,
        talk_bytes: int = TALK_BYTES,
        weights: str = "",
        memory_bytes: int | None = None,
        nice: int = 0,
        growth_bytes: int = GROWTH_BYTES,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Keywords as of `Engine`; `nice` of the process, and `growth_bytes`, past which it is replaced."""
        self._told: dict[str, Any] = {
            "model_path": str(model_path),
            "context_tokens": context_tokens,
            "threads": threads,
            "slots": slots,
            "queue_limit": queue_limit,
            "kv_type": kv_type,
            "adapters": {name: str(path) for name, path in (adapters or {}).items()},
            "layout": layout,
            "folder": str(folder) if folder else None,
            "pack_bytes": pack_bytes,
            "talk_folder": str(talk_folder) if talk_folder else None,
            "talk_bytes": talk_bytes,
            "weights": weights,
            "memory_bytes": memory_bytes,
            "nice": nice,
        }
        self._growth_bytes = growth_bytes
        self._first_pause_s = first_pause_s
        self.queue_limit = queue_limit
        self._crashes = CrashCounter()
        self._tasks: dict[int, WorkKind] = {}
        """What each active request is."""
        self._active: dict[int, Generation] = {}
        self._cancelled: set[int] = set()
        self._number = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._recycling = False
        self._line: Connection | None = None
        self._open_vocab(model_path)
        try:
            self._start()
        except BaseException:
            self._close_vocab()
            raise
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("engine-keeper", self._keep), ("engine-watch", self._watch))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether the process is there."""
        return self._line is not None

    @property
    def pid(self) -> int:
        """Of the process now there, or the one that was."""
        return self._process.pid

    def generate(
        self,
        prompt: Sequence[int] | Prompt,
        params: SamplingParams,
        cancel: Flag,
        *,
        deadline_s: float | None = None,
        conversation: str | None = None,
    ) -> Generation:
        """As `Engine.generate`; what that raises comes when the generation is iterated."""
        parts = prompt if isinstance(prompt, Prompt) else Prompt((), (), tuple(prompt))
        more = {"params": pack_params(params), "deadline_s": deadline_s, "conversation": conversation}
        return self._ask("generate", parts, params, cancel, more)

    def prepare(self, prompt: Prompt, cancel: Flag, *, conversation: str, adapter: str = "") -> Generation:
        """As `Engine.prepare`."""
        more = {"conversation": conversation, "adapter": adapter}
        return self._ask("prefetch", prompt, SamplingParams(), cancel, more)

    def compile(self, prompt: Prompt, cancel: Flag, *, adapter: str = "") -> Generation:
        """As `Engine.compile`."""
        return self._ask("compile", prompt, SamplingParams(), cancel, {"adapter": adapter})

    def forget(self, conversation: str) -> None:
        """As `Engine.forget`."""
        if (line := self._line) is not None:
            line.send({"do": "forget", "conversation": conversation})

    def crash_report(self) -> CrashReport:
        """Crashes since the last whole answer, by what was in work."""
        with self._changed:
            return self._crashes.report()

    def close(self) -> None:
        """End the process; what is in work ends with `UnavailableError`."""
        self._closing.set()
        self._stop()
        for thread in self._threads:
            thread.join()
        self._close_vocab()

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(
        self, task: WorkKind, prompt: Prompt, params: SamplingParams, cancel: Flag, more: dict[str, Any]
    ) -> Generation:
        generation = Generation(prompt.flat(), params, cancel)
        with self._changed:
            line = self._line
            if line is None or self._closing.is_set():
                raise UnavailableError("the engine is being started again", hint="ask again in a moment")
            self._number += 1
            number = self._number
            self._active[number] = generation
            self._tasks[number] = task
            self._changed.notify_all()
        line.send(
            {"do": "prepare" if task == "prefetch" else task, "id": number, "prompt": pack_prompt(prompt), **more}
        )
        return generation

    def _start(self) -> None:
        mine, other = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                module_command("runtime.engine.process.engine_process", str(other.fileno())),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment(),
            )
        finally:
            other.close()
        self._end, line = mine, Connection(mine)
        line.send(self._told)
        self._messages = line.messages()
        first = next(self._messages, None)
        if first is None or "error" in first:
            self._stop()
            self._messages.close()
            self._end.close()
            if first is not None:
                raise from_dict(first["error"])
            raise ModelError(
                f"the engine's process ended with code {self._process.returncode} while it loaded the model",
                where=self._told["model_path"],
                hint="edgedesk doctor",
            )
        told = first["ready"]
        self.context_tokens: int = told["context_tokens"]
        self.slots: int = told["slots"]
        """Those that fit into memory."""
        self.layout: Layout = told["layout"]
        self.layout_reason: str = told["reason"]
        self._at_first = anonymous_bytes(self.pid)
        with self._changed:
            self._line = line

    def _stop(self) -> None:
        """End the process: it goes when its line does."""
        with suppress(OSError):  # it may have gone already
            self._end.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _keep(self) -> None:
        """Hear the process out; start another when it has died."""
        while True:
            for message in self._messages:
                self._hear(message)
            self._stop()
            self._end.close()
            kind, prompts = self._fail_active()
            while not self._closing.is_set():
                pause = 0.0
                if not self._recycling:
                    with self._changed:
                        self._crashes.record(kind, prompts)
                        total = self._crashes.report().total
                    pause = min(LONGEST_PAUSE_S, self._first_pause_s * 2 ** (total - 1))
                self._recycling = False
                if self._closing.wait(pause):
                    break
                try:
                    self._start()
                    break
                except (UnavailableError, ModelError, MissingError, OSError):
                    kind, prompts = "load", frozenset()
            if self._closing.is_set():
                if self._line is not None:
                    self._stop()
                    self._fail_active()
                return

    def _hear(self, message: dict[str, Any]) -> None:
        number = message["id"]
        with self._changed:
            ends = "stats" in message or "error" in message
            generation = self._active.pop(number, None) if ends else self._active.get(number)
            if ends:
                task = self._tasks.pop(number, None)
                self._cancelled.discard(number)
        if generation is None:
            return
        if "piece" in message:
            generation.put(unpack_piece(message["piece"]))
        elif "place" in message:
            generation.put(Place(*message["place"]))
        elif "progress" in message:
            generation.put(Progress(*message["progress"]))
        elif "stats" in message:
            stats = Stats(**message["stats"])
            if task == "generate" and stats.finish in ("stop", "length"):
                with self._changed:
                    self._crashes.reset()
            generation.put(stats)
        else:
            generation.put(from_dict(message["error"]))

    def _fail_active(self) -> tuple[WorkKind, frozenset[int]]:
        """End what was in work with an error; what that was, and the prompts that were being generated from."""
        with self._changed:
            self._line = None
            gone, self._active = self._active, {}
            tasks, self._tasks = self._tasks, {}
            self._cancelled.clear()
        code = self._process.returncode
        for generation in gone.values():
            if self._closing.is_set():
                generation.put(UnavailableError("the engine is closing"))
            else:
                what = f"the engine stopped in the middle of this answer (code {code})"
                generation.put(UnavailableError(what, hint="ask again: it is being started again"))
        kinds: tuple[WorkKind, ...] = ("generate", "prefetch", "compile")
        kind: WorkKind = next((kind for kind in kinds if kind in tasks.values()), "idle")
        return kind, frozenset(hash(tuple(gone[number].tokens)) for number, task in tasks.items() if task == "generate")

    def _watch(self) -> None:
        """Pass cancels on; replace a process that has grown."""
        looked = time.monotonic()
        while not self._closing.is_set():
            with self._changed:
                if not self._active:
                    self._changed.wait(timeout=MEMORY_LOOK_S / 10)
                line = self._line
                unwanted = [
                    number
                    for number, generation in self._active.items()
                    if generation.cancelled and number not in self._cancelled
                ]
                self._cancelled.update(unwanted)
                idle = not self._active
            for number in unwanted:
                if line is not None:
                    line.send({"do": "cancel", "id": number})
            now = time.monotonic()
            if idle and line is not None and now - looked >= min(MEMORY_LOOK_S, self._first_pause_s):
                looked = now
                if anonymous_bytes(self.pid) > self._at_first + self._growth_bytes:
                    self._recycling = True
                    with suppress(OSError):
                        self._end.shutdown(socket.SHUT_RDWR)  # it ends, and is started again
            self._closing.wait(LOOK_S)

    def _open_vocab(self, path: Path) -> None:
        lib = library()
        if not path.is_file():
            raise MissingError("no such model file", where=str(path), hint="install the bundle again")
        params = lib.llama_model_default_params()
        params.vocab_only = True
        self._words = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._words:
            raise ModelError("llama.cpp cannot load it", where=str(path), hint=last_log())
        self.vocab = LlamaVocabulary(lib.llama_model_get_vocab(self._words))

    def _close_vocab(self) -> None:
        self.vocab.close()
        library().llama_model_free(self._words)


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that no file stands behind (RssAnon); 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)
