"""The engine in a process of its own: what `LlamaEngine` offers, and it survives llama.cpp's aborts and the OOM killer.

Promises: when the process crashes or hangs, the answers in work end with an error that says so and nothing else is
lost; it is started again, after a pause that doubles with every crash without a whole answer between; a prompt that was
in work at several crashes is refused for a while; a process that has grown beyond its limit is replaced when it has
nothing to do, and questions wait for its successor. No caller ever waits for a process that does not read. The
vocabulary is read in this process too, so that laying out prompts needs no message: but only after the child has loaded
the very same file and lived.

Locking: `_changed` guards everything that changes after construction. Threads: `engine-supervisor` reads messages and
starts processes; `engine-cancels` passes cancels on and replaces what has grown; a child has a sender and a watchdog.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.engine.core.crash_report import CrashCounter, CrashReport, WorkKind
from runtime.engine.core.generation import Flag, Generation, Place
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.kv_store import delete_packs
from runtime.engine.llama.vocab import LlamaVocabulary, open_vocabulary
from runtime.engine.process.engine_child import EngineChild, ProcessLimits
from runtime.engine.process.protocol import (
    CancelMessage,
    CompileMessage,
    DraftMessage,
    EndedMessage,
    FailedMessage,
    ForgetMessage,
    FromEngine,
    GenerateMessage,
    PrefetchMessage,
    Request,
    UpdateMessage,
)
from runtime.errors import InputError, UnavailableError
from runtime.prompting.prompt_tokens import Layout, Prompt

CANCEL_POLL_S = 0.01
"""How often callers' cancel flags are looked at: the most a cancel is late, besides the step under way."""
MEMORY_POLL_S = 10.0
PRIORITY: tuple[WorkKind, ...] = ("generate", "prefetch", "compile")
"""To what of several kinds of work in progress a crash is put down: what readers wait for first."""


@dataclass
class Work:
    """A request that the process has not ended."""

    kind: WorkKind
    generation: Generation
    waiting: bool = False
    """Whether it still waits for its turn, as far as the process has said: then it cannot be why the process ended."""


class RemoteEngine:
    """Starts the process and waits until its model is loaded; raises what keeps it from loading."""

    def __init__(self, options: EngineOptions, limits: ProcessLimits | None = None) -> None:
        self._options = options
        self._limits = limits or ProcessLimits()
        self.queue_limit = options.queue_limit
        self._crashes = CrashCounter()
        self._active: dict[int, Work] = {}
        self._cancel_sent: set[int] = set()
        self._next_id = 1
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._child: EngineChild | None = None
        """The process that takes requests; None while there is none, or it is not ready."""
        self._replacing = False
        """Whether the process was sound and is replaced for its memory: requests wait in `_backlog` meanwhile."""
        self._backlog: list[Request] = []
        self._newest = self._start()
        try:
            self.vocab: LlamaVocabulary = open_vocabulary(options.model_path)
        except BaseException:
            self._newest.stop()
            raise
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("engine-supervisor", self._supervise), ("engine-cancels", self._watch_requests))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether a process is there that takes requests."""
        return self._child is not None

    @property
    def pid(self) -> int:
        """Of the newest process, which may have ended."""
        return self._newest.pid

    def generate(
        self, prompt: Sequence[int] | Prompt, params: SamplingParams, cancel: Flag, *, conversation: str | None = None
    ) -> Generation:
        """As `Scheduler.generate`; what that raises comes when the generation is iterated."""
        parts = prompt if isinstance(prompt, Prompt) else Prompt((), (), tuple(prompt))
        generation = Generation(parts.flat(), params, cancel)
        return self._ask("generate", generation, lambda number: GenerateMessage(number, parts, params, conversation))

    def prefetch(self, prompt: Prompt, cancel: Flag, *, conversation: str) -> Generation:
        """As `Scheduler.prefetch`."""
        generation = Generation(prompt.flat(), SamplingParams(), cancel)
        return self._ask("prefetch", generation, lambda number: PrefetchMessage(number, prompt, conversation))

    def draft(
        self, prompt: Prompt, params: SamplingParams, cancel: Flag, *, conversation: str, ahead_tokens: int
    ) -> Generation:
        """As `Scheduler.draft`."""
        generation = Generation(prompt.flat(), params, cancel)
        # A crash in it is one of reading ahead: nobody's answer was in work, and none has been written whole.
        return self._ask(
            "prefetch", generation, lambda number: DraftMessage(number, prompt, params, conversation, ahead_tokens)
        )

    @property
    def answering(self) -> int:
        """As `Scheduler.answering`."""
        with self._changed:
            return sum(work.kind == "generate" for work in self._active.values())

    def compile(self, prompt: Prompt, cancel: Flag) -> Generation:
        """As `Scheduler.compile`."""
        generation = Generation(prompt.flat(), SamplingParams(), cancel)
        return self._ask("compile", generation, lambda number: CompileMessage(number, prompt))

    def forget(self, conversation: str) -> None:
        """As `Scheduler.forget`."""
        if (child := self._child) is not None:
            child.send(ForgetMessage(conversation))

    def refuses(self, prompt: Prompt) -> bool:
        """Whether this prompt is not tried for now, since the process crashed each time it was in work."""
        with self._changed:
            return self._crashes.refuses(hash(tuple(prompt.flat())))

    def crash_report(self) -> CrashReport:
        """Crashes since the last whole answer, by what was in work."""
        with self._changed:
            return self._crashes.report()

    def close(self) -> None:
        """End the process; what is in work ends with `UnavailableError`. Deletes the conversations' packs."""
        self._closing.set()
        with self._changed:
            newest = self._newest
            self._changed.notify_all()
        newest.stop()
        for thread in self._threads:
            thread.join()
        self.vocab.close()
        # The process deletes them too when it ends by itself. One that was killed has left them.
        if self._options.session_folder is not None:
            delete_packs(self._options.session_folder)

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kind: WorkKind, generation: Generation, make: Callable[[int], Request]) -> Generation:
        with self._changed:
            if self._closing.is_set():
                raise UnavailableError("the engine is closing")
            child = self._child
            full = len(self._backlog) >= self.queue_limit
            if child is None and (full or not self._replacing):
                raise UnavailableError("the engine is being started again", hint="ask again in a moment")
            if self._crashes.refuses(_hash(generation)):
                raise InputError(
                    "the engine crashed each time it was given this text, which is not tried again for some minutes",
                    hint="put it in other words, or answer it yourself",
                )
            number = self._next_id
            self._next_id += 1
            message = make(number)
            # Sent with the lock held, which is no wait: a child that is being replaced takes no request any more, and
            # one that is taken here ends with an answer or with the process.
            if child is None:
                self._backlog.append(message)
            elif not child.send(message):
                raise UnavailableError("the engine does not answer", hint="ask again: it is about to be started again")
            self._active[number] = Work(kind, generation)
            self._changed.notify_all()
        return generation

    def _start(self) -> EngineChild:
        """Start a process, and take requests once it is ready; raises what kept it from that."""
        child = EngineChild(self._options, self._limits)
        with self._changed:
            self._newest = child
        # `close` may have stopped the one before just now: it sets `_closing` first, then looks for the newest.
        if self._closing.is_set():
            child.stop()
            raise UnavailableError("the engine is closing")
        ready = child.wait_until_ready()
        with self._changed:
            self.context_tokens: int = ready.context_tokens
            self.slots: int = ready.slots
            self.layout: Layout = ready.layout
            self.layout_reason: str = ready.layout_reason
            self._child, self._replacing = child, False
            for message in self._backlog:
                child.send(message)
            self._backlog.clear()
        return child

    def _supervise(self) -> None:
        """Pass on what the process says; start another when it has ended."""
        child: EngineChild | None = self._newest
        while child is not None:
            for message in child.messages():
                self._dispatch(message)
            with self._changed:
                self._child = None
            child.stop()
            child = self._restart(child)
        self._fail_active("")

    def _restart(self, ended: EngineChild) -> EngineChild | None:
        """Another process for one that has ended; None when the engine is closing."""
        loading, reason = False, ended.describe_end()
        while not self._closing.is_set():
            with self._changed:
                replacing = self._replacing
            if not replacing:
                pause_s = self._record_crash(loading, reason)
                if self._closing.wait(pause_s):
                    break
            try:
                return self._start()
            except Exception as error:
                # Whatever kept it from starting (memory, disk, descriptors) may pass: the first start, in the
                # constructor, has shown that the file itself can be loaded.
                loading, reason = True, str(error)
                with self._changed:
                    self._replacing = False
        return None

    def _record_crash(self, loading: bool, reason: str) -> float:
        """Count the crash, fail what was in work; the seconds to wait before another start."""
        with self._changed:
            kinds = {work.kind for work in self._active.values()}
            in_work: WorkKind = next((kind for kind in PRIORITY if kind in kinds), "idle")
            suspects = [work for work in self._active.values() if work.kind == in_work and not work.waiting]
            self._crashes.record("load" if loading else in_work, frozenset(_hash(work.generation) for work in suspects))
            crashes = self._crashes.report().total
        self._fail_active(reason)
        return float(min(self._limits.longest_pause_s, self._limits.first_pause_s * 2 ** min(crashes - 1, 30)))

    def _dispatch(self, message: FromEngine) -> None:
        if isinstance(message, UpdateMessage):
            with self._changed:
                work = self._active.get(message.id)
                if work is not None and isinstance(message.update, Place):
                    work.waiting = message.update.position > 0
            if work is not None:
                work.generation.put(message.update)
        elif isinstance(message, EndedMessage | FailedMessage) and message.id is not None:
            with self._changed:
                work = self._active.pop(message.id, None)
                self._cancel_sent.discard(message.id)
                if work is None:
                    return
                whole = isinstance(message, EndedMessage) and not work.generation.cancelled
                # Only this proves that the model can write. Reading ahead, compiling and cancelled answers do not.
                if work.kind == "generate" and whole:
                    self._crashes.reset(answered=_hash(work.generation))
            work.generation.put(message.stats if isinstance(message, EndedMessage) else message.error())

    def _fail_active(self, reason: str) -> None:
        """End everything in work with an error."""
        with self._changed:
            failed, self._active = self._active, {}
            self._cancel_sent.clear()
            self._backlog.clear()
        for work in failed.values():
            if self._closing.is_set():
                work.generation.put(UnavailableError("the engine is closing"))
            else:
                what = f"the engine stopped in the middle of this answer ({reason})"
                work.generation.put(UnavailableError(what, hint="ask again: it is being started again"))

    def _watch_requests(self) -> None:
        """Pass cancels on; replace a process that has grown."""
        looked_at = time.monotonic()
        while not self._closing.is_set():
            with self._changed:
                if not self._active:
                    self._changed.wait(timeout=min(MEMORY_POLL_S / 10, self._limits.ping_every_s))
                self._send_cancels()
                now = time.monotonic()
                if now - looked_at >= min(MEMORY_POLL_S, self._limits.ping_every_s):
                    looked_at = now
                    self._replace_grown()
            self._closing.wait(CANCEL_POLL_S)

    def _send_cancels(self) -> None:
        """The lock is held."""
        if (child := self._child) is None:
            return  # those in the backlog are sent with their flags looked at afterwards
        for number, work in self._active.items():
            if number not in self._cancel_sent and work.generation.cancelled and child.send(CancelMessage(number)):
                self._cancel_sent.add(number)

    def _replace_grown(self) -> None:
        """Ask an idle process that has grown to end. The lock is held, so no request can reach it any more."""
        child = self._child
        if child is not None and not self._active and child.has_grown():
            self._child, self._replacing = None, True
            child.ask_to_end()


def _hash(generation: Generation) -> int:
    return hash(tuple(generation.tokens))
