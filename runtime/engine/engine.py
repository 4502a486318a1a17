"""The engine's face: requests in from any thread, a bounded line in front of one thread that owns the model.

Promises: a request past the line's limit is refused at once; those at work are computed together, a token each a step;
a cancelled one gives up its place within a token, or within a batch while its prompt is read; an answer that has begun
ends with `stats` or raises, it never hangs. Knows nothing of prompts and articles.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from runtime.engine.articles import Articles
from runtime.engine.generation import Flag, Generation, Place, Stats
from runtime.engine.library import build_of_llama
from runtime.engine.model import KV_TYPES, Model
from runtime.engine.packs import PackKey, PackStore
from runtime.engine.parts import LAYOUTS, Layout, Prompt
from runtime.engine.plan import predict_waits
from runtime.engine.request import Request
from runtime.engine.runner import Runner
from runtime.engine.sampling import Sampler, SamplingParams
from runtime.engine.talks import Talks
from runtime.engine.vocab import Vocab
from runtime.errors import InputError, UnavailableError, UsageError
from runtime.files import sha256_file

BATCH_TOKENS = 128
"""Tokens computed in one step: the most a cancel may have to wait for."""
QUEUE_LIMIT = 16
SLOTS = 4
"""Requests answered together; each adds a context of its own to the memory."""
PACK_BYTES = 8 << 30
"""Compiled articles on disk; 800 of 90 tokens for a 3B model take as much in f16."""
TALK_BYTES = 1 << 30
"""Turns of conversations on disk."""
IDLE_SEQUENCES = 28
"""Prompts kept in memory, room allowing, because a later one may begin like them."""


class Engine:
    """Loads a model and answers requests until it is closed."""

    def __init__(
        self,
        model_path: Path,
        *,
        context_tokens: int,
        threads: int,
        slots: int = SLOTS,
        queue_limit: int = QUEUE_LIMIT,
        batch_tokens: int = BATCH_TOKENS,
        kv_type: str = "f16",
        adapters: Mapping[str, Path] | None = None,
        layout: Layout = "exact",
        folder: Path | None = None,
        pack_bytes: int = PACK_BYTES,
        talk_folder: Path | None = None,
        talk_bytes: int = TALK_BYTES,
        weights: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        """Load the model; fewer slots than asked for where memory is short (`slots`).

        `adapters`: LoRA files by the names that requests use. `layout` other than `exact` needs a `folder`, where
        compiled articles take at most `pack_bytes`. `talk_folder`: for conversations' turns that have no room
        in memory, at most `talk_bytes`; emptied at the start. `weights`: SHA-256 of the model file where it is known.
        """
        if layout not in LAYOUTS:
            raise UsageError(f"there is no layout '{layout}'", hint=f"one of {', '.join(LAYOUTS)}")
        if layout != "exact" and folder is None:
            raise UsageError(f"the layout '{layout}' needs a folder for compiled articles")
        if kv_type not in KV_TYPES:
            raise UsageError(f"keys and values cannot be kept as {kv_type}", hint=f"one of {', '.join(KV_TYPES)}")
        if batch_tokens < 2 * slots:
            raise UsageError(f"a batch of {batch_tokens} tokens is too small for {slots} slots", hint="use fewer slots")
        self.queue_limit = queue_limit
        self._model = Model(
            model_path,
            context_tokens=context_tokens,
            slots=slots,
            sequences=slots + IDLE_SEQUENCES,
            threads=threads,
            batch_tokens=batch_tokens,
            kv_type=kv_type,
            adapters=adapters,
            memory_bytes=memory_bytes,
        )
        self.slots = self._model.slots
        self._runner = Runner(self._model, slots=self.slots, sequences=slots + IDLE_SEQUENCES)
        self.deaths = 0
        """None: it has no process of its own (`runtime.engine.face`)."""
        self.layout: Layout = "exact"
        self.layout_reason = ""
        """Why it is not the layout that was asked for."""
        if folder is not None or talk_folder is not None:
            hashes = {name: sha256_file(path) for name, path in (adapters or {}).items()}
            identify = partial(_identify, weights or sha256_file(model_path), hashes, kv_type, layout)
        if layout != "exact" and folder is not None:
            articles = Articles(self._runner.memory, layout, PackStore(folder, pack_bytes), identify)
            self._runner.articles = articles
            self.layout, self.layout_reason = articles.layout, articles.reason
        if talk_folder is not None:
            self._runner.talks = Talks(self._runner.memory, PackStore(talk_folder, talk_bytes), identify)
        self._waiting: deque[Request] = deque()
        self._later: deque[Request] = deque()
        """Tasks ahead of any question."""
        self._unwanted: set[str] = set()
        """Conversations for which nothing need be read ahead any more."""
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def vocab(self) -> Vocab:
        """The model's vocabulary, for laying out prompts."""
        return self._model.vocab

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together; less than asked for when the model was trained on less."""
        return self._model.context_tokens

    def generate(
        self,
        prompt: Sequence[int] | Prompt,
        params: SamplingParams,
        cancel: Flag,
        *,
        deadline_s: float | None = None,
        conversation: str | None = None,
    ) -> Generation:
        """Queue a request; returns at once. Past its deadline a waiting one is refused, one at work is cut.

        Raises `InputError` with the counts when the prompt does not fit or a grammar cannot be used, `UnavailableError`
        when the line is full or the engine is closing.
        """
        parts = prompt if isinstance(prompt, Prompt) else Prompt((), (), tuple(prompt))
        self._check(parts, params)
        generation = Generation(parts.flat(), params, cancel, deadline_s=deadline_s)
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            self._drop_unwanted()
            # A free slot is no place in line: the engine's thread takes it as soon as it looks.
            free = self._runner.slots - self._runner.answering
            if len(self._waiting) >= self.queue_limit + free:
                raise UnavailableError(
                    f"{len(self._waiting)} requests are waiting already", hint="ask again in a moment"
                )
            request = Request(generation, parts, sampler=Sampler(self.vocab, params), conversation=conversation)
            self._waiting.append(request)
            if len(self._waiting) > free:
                self._tell_places(only=generation)
            self._changed.notify()
        return generation

    def compile(self, prompt: Prompt, cancel: Flag, *, adapter: str = "") -> Generation:
        """Compile the one article of a prompt without tail, when nobody waits for anything; it yields no pieces.

        Its `stats` say how much was there already (`reused_tokens`; the article alone when it is on disk) and, where it
        ended `exact`, why it was not done.
        """
        params = SamplingParams(max_tokens=0, adapter=adapter)
        if len(prompt.articles) != 1 or prompt.tail:
            raise UsageError("one article at a time is compiled, without a tail")
        self._check(prompt, params)
        generation = Generation(prompt.flat(), params, cancel)
        if self.layout == "exact":
            generation.put(Stats(len(prompt), 0, 0, 0.0, 0.0, 0.0, "stop", layout_reason=self.layout_reason))
            return generation
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            self._later.append(Request(generation, prompt, "compile"))
            self._changed.notify()
        return generation

    def prepare(self, prompt: Prompt, cancel: Flag, *, conversation: str, adapter: str = "") -> Generation:
        """Read the beginning of a question that is still being typed, when nobody waits for anything; yields no pieces.

        Takes the place of what was to be read for the same conversation before. Its question finds what was read.
        """
        params = SamplingParams(max_tokens=0, adapter=adapter)
        self._check(prompt, params)
        generation = Generation(prompt.flat(), params, cancel)
        with self._changed:
            if self._closing:
                raise UnavailableError("the engine is closing")
            for one in self._later:
                if one.task == "ahead" and one.conversation == conversation:
                    one.generation.close()
            # Before what compiles articles: somebody will ask this soon.
            self._later.appendleft(Request(generation, prompt, "ahead", conversation=conversation))
            self._changed.notify()
        return generation

    def forget(self, conversation: str) -> None:
        """What was read ahead for a conversation is not wanted: it was deleted, or its writer has gone."""
        with self._changed:
            for one in self._later:
                if one.task == "ahead" and one.conversation == conversation:
                    one.generation.close()
            self._unwanted.add(conversation)
            self._changed.notify()

    def _check(self, prompt: Prompt, params: SamplingParams) -> None:
        count = len(prompt)
        if not count:
            raise InputError("an empty prompt")
        if count >= self.context_tokens:
            raise InputError(
                f"the prompt has {count} tokens, the context holds {self.context_tokens} with the answer",
                hint="ask a shorter question",
            )
        if params.adapter and params.adapter not in self._model.adapters:
            known = ", ".join(sorted(self._model.adapters)) or "none"
            raise InputError(f"there is no adapter '{params.adapter}'", hint=f"known: {known}")

    def close(self) -> None:
        """Refuse new requests, end the ones in work with `UnavailableError`, free the model."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._runner.talks is not None:
            self._runner.talks.close()
        self._model.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._later or self._unwanted or self._runner.running or self._closing):
                    self._changed.wait()
                if self._closing:
                    break
                while self._unwanted:
                    self._runner.forget(self._unwanted.pop())
                self._drop_unwanted()
                self._admit()
            self._runner.step()
        gone = UnavailableError("the engine is closing")
        self._runner.fail(gone)
        for request in (*self._waiting, *self._later):
            _drop(request)
            request.generation.put(gone)

    def _admit(self) -> None:
        """Give free slots to those who wait longest; the lock is held."""
        before = len(self._waiting)
        while self._waiting and self._runner.admit(self._waiting[0]):
            self._waiting.popleft().generation.put(Place(0))
        if len(self._waiting) < before:
            self._tell_places()
        while not self._waiting and self._later and self._runner.admit(self._later[0]):
            self._later.popleft()

    def _drop_unwanted(self) -> None:
        """Free the places of waiting requests that nobody wants any more or whose time is over; the lock is held."""
        for line in (self._waiting, self._later):
            gone = [one for one in line if one.generation.cancelled or one.generation.overdue]
            for request in gone:
                line.remove(request)
                _drop(request)
                generation = request.generation
                waited = time.monotonic() - generation.submitted
                if generation.cancelled:
                    generation.put(Stats(len(generation.tokens), 0, 0, waited, 0.0, 0.0, "cancelled"))
                else:
                    hint = "ask again when fewer ask"
                    generation.put(UnavailableError(f"its turn had not come after {waited:.0f} s", hint=hint))
            if gone and line is self._waiting:
                self._tell_places()

    def _tell_places(self, only: Generation | None = None) -> None:
        runner = self._runner
        waits = predict_waits(runner.seconds_left(), runner.slots, runner.pace.answer_s, len(self._waiting))
        for position, (one, wait_s) in enumerate(zip(self._waiting, waits, strict=True), start=1):
            if only is None or one.generation is only:
                one.generation.put(Place(position, wait_s))


def _drop(request: Request) -> None:
    if request.sampler is not None:
        request.sampler.close()


def _identify(
    weights: str, adapters: Mapping[str, str], kv_type: str, layout: str, adapter: str, system: str, article: str
) -> PackKey:
    """What an article's keys and values depend on; `adapters`: hashes by name."""
    return PackKey(weights, adapters.get(adapter, ""), build_of_llama(), kv_type, True, layout, system, article)
