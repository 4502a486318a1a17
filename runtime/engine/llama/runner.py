"""One step after another: the requests at work, and the model that computes them together.

Promises: a request that was admitted has all the room it can need; one that ends or is cancelled leaves what was read
of it for the next to go on from; a failed step fails what was in it and nothing later. What is done ahead of any
question gives way to questions. Belongs to the engine's thread. Knows nothing of the line before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from runtime.engine.core.batch_planner import ROWS, Job, Pace, Slice, plan_step
from runtime.engine.core.composition import ArticleBuild, Composition
from runtime.engine.core.generation import Finish
from runtime.engine.core.kv_ledger import SequenceLease
from runtime.engine.core.prompt_lookup import PromptLookup
from runtime.engine.core.request import Request, Running
from runtime.engine.core.stop_strings import StopStrings
from runtime.engine.llama.article_cache import ArticleCache
from runtime.engine.llama.kv_cache import KvCache
from runtime.engine.llama.model import LlamaModel, Row
from runtime.engine.llama.sampler import LlamaSampler
from runtime.engine.llama.session_cache import SessionCache
from runtime.engine.llama.thread_tuner import ThreadTuner
from runtime.errors import EdgedeskError, ModelError, UnavailableError


class LlamaRunner:
    """At most `slots` answers at a time, as many questions read ahead, and one article compiled."""

    def __init__(self, model: LlamaModel, *, slots: int, sequences: int) -> None:
        self.model = model
        self.slots = slots
        self.pace = Pace(model.batch_tokens)
        self.crowd = ThreadTuner(model.threads)
        self.running: list[Running] = []
        self.memory = KvCache(model, sequences, self._promised)
        self.articles: ArticleCache | None = None
        """None where prompts are only read plainly."""
        self.talks: SessionCache | None = None
        """None where conversations are not kept on disk."""

    @property
    def answering(self) -> int:
        """Answers at work."""
        return sum(not run.request.ahead for run in self.running)

    def admit(self, request: Request) -> bool:
        """Begin a request; False while there is no slot or no room for it."""
        # What was typed before is ended only after its question has taken hold of what was read of it.
        before = self._typed(request.conversation)
        tasks = [run.request.task for run in self.running if run not in before]
        if tasks.count(request.task) >= (1 if request.task == "compile" else self.slots):
            return False
        run = self._begin(request)
        if run is None and before:
            self._end_ahead(request.conversation)
            run = self._begin(request)
        while run is None and not request.ahead and self._give_way():
            run = self._begin(request)
        if run is None:
            return False
        params = request.generation.params
        run.stops = StopStrings(params.stop_strings)
        if params.lookup and request.sampler is not None and self.model.shares_beginnings:
            run.lookup = PromptLookup(request.generation.tokens)
        self.running.append(run)
        if request.conversation is not None:
            self._end_ahead(request.conversation, but=run)
            self._drop_ahead(request.conversation)
        return True

    def forget(self, conversation: str) -> None:
        """What is read ahead for a conversation is not wanted."""
        self._end_ahead(conversation)
        self._drop_ahead(conversation)

    def seconds_left(self) -> list[float]:
        """What each answer at work will still take, as far as is known."""
        return [
            self.pace.seconds_left(to_read=run.to_read, to_write=run.limit - run.written)
            for run in self.running
            if not run.request.ahead
        ]

    def step(self) -> None:
        """End what is no longer wanted, then compute one batch. An error ends all that was at work."""
        for run in list(self.running):
            if run.request.generation.cancelled:
                self._end(run, "cancelled")
            elif run.request.generation.overdue:
                self._end(run, "deadline")
        try:
            for run in list(self.running):
                if run.plan is not None and run.plan.ready:
                    self._put_together(run, run.plan)
            for run in self.running:
                if run.lookup is not None and run.written:
                    run.guesses = run.lookup.guess(run.limit - run.written - 1, self.pace.guess_cost)
            jobs = [
                Job(
                    number,
                    run.to_read,
                    guesses=len(run.guesses),
                    ahead=run.request.ahead,
                    passed=run.passed,
                    adapter=run.request.adapter,
                )
                for number, run in enumerate(self.running)
            ]
            writing = any(not job.left for job in jobs)
            waited_for = any(not job.ahead for job in jobs)
            read_tokens = self.pace.read_tokens(writing=writing, waited_for=waited_for)
            plan = plan_step(jobs, read_tokens=read_tokens, batch_tokens=self.model.batch_tokens)
            self._compute([(self.running[one.id], one) for one in plan])
        except EdgedeskError as error:
            self.fail(error)
        except Exception as error:
            # Whoever waits for an answer must hear of it, whatever it was.
            self.fail(ModelError(f"the engine failed: {error!r}", where=str(self.model.path)))

    def fail(self, error: EdgedeskError) -> None:
        """End everything at work with an error; nothing stays in memory."""
        for run in self.running:
            if run.request.sampler is not None:
                run.request.sampler.close()
            run.request.generation.put(error)
        self.running.clear()
        self.memory.clear()
        if self.articles is not None:
            self.articles.clear()

    def _promised(self) -> int:
        return sum(run.promised for run in self.running) + (self.articles.promised if self.articles else 0)

    def _begin(self, request: Request) -> Running | None:
        prompt, params, articles = request.prompt, request.generation.params, self.articles
        limit = min(params.max_tokens, self.model.context_tokens - len(prompt)) if request.sampler else 0
        if articles is None or articles.layout == "exact" or not prompt.articles:
            return self._begin_plainly(request, limit, articles.reason if articles is not None else "")
        if request.task != "compile":
            key = articles.key(prompt, request.adapter)
            if self.memory.ledger.longest(key, prompt.tail)[1]:
                held = self.memory.place(key, prompt.tail, len(prompt.tail) + limit)
                if held is not None:
                    known = len(held.tokens)
                    reused = len(prompt) - len(prompt.tail) + known
                    run = Running(request, limit, held, list(prompt.tail[known:]), reused, layout=articles.layout)
                    self._recall(run, prompt.tail)
                    return run
        plan = articles.pin(prompt, request.adapter)
        cells, sequences = articles.room(plan)
        if not self.memory.make_room(cells + len(prompt.tail) + limit, sequences):
            articles.release(plan)
            return None if self.running else self._begin_plainly(request, limit, "its articles need too much room")
        articles.begin(plan, only_build=request.task == "compile")
        copies = articles.copies(prompt) if request.task != "compile" else 0
        return Running(
            request, limit, None, list(prompt.tail), plan.reused, plan, copies=copies, layout=articles.layout
        )

    def _begin_plainly(self, request: Request, limit: int, reason: str) -> Running | None:
        flat = request.prompt.flat()
        held = self.memory.place(request.adapter, flat, len(flat) + limit)
        if held is None:
            return None
        reused = len(held.tokens)
        run = Running(request, limit, held, flat[reused:], reused, reason=reason)
        self._recall(run, flat)
        return run

    def _recall(self, run: Running, wanted: Sequence[int]) -> None:
        """Take from disk what the conversation had read of these tokens, where memory has less."""
        assert run.held is not None
        if self.talks is not None and (conversation := run.request.conversation) is not None:
            promised = run.promised if run in self.running else 0
            run.reused += self.talks.recall(conversation, run.held, wanted, limit=run.limit, promised=promised)
            run.left = list(wanted[len(run.held.tokens) :])

    def _typed(self, conversation: str | None) -> list[Running]:
        """What is being read ahead for a conversation."""
        if conversation is None:
            return []
        return [run for run in self.running if run.request.task == "ahead" and run.request.conversation == conversation]

    def _end_ahead(self, conversation: str | None, but: Running | None = None) -> None:
        for run in self._typed(conversation):
            if run is not but:
                self._end(run, "cancelled")

    def _drop_ahead(self, conversation: str) -> None:
        """Forget what was read for a question that has come, or has changed; what is used of it is shared already."""
        for held in list(self.memory.ledger.held.values()):
            if held.ahead and not held.busy and held.conversation == conversation:
                self.memory.forget(held)

    def _drop_older(self, newest: SequenceLease) -> None:
        """Forget what a conversation read before with the same articles: the newest has what of it comes again."""
        for held in list(self.memory.ledger.held.values()):
            same = (held.key, held.conversation) == (newest.key, newest.conversation) and held is not newest
            if same and not held.busy:
                self.memory.forget(held)

    def _give_way(self) -> bool:
        """End a task that nobody waits for; False when there is none."""
        for run in self.running:
            if run.request.ahead:
                self._end(run, "cancelled")
                return True
        return False

    def _put_together(self, run: Running, plan: Composition) -> None:
        """All its articles are read: bring them into one sequence, or read everything plainly after all."""
        assert self.articles is not None
        run.copies, run.plan = 0, None
        if run.request.task == "compile":
            self.articles.release(plan)
            self._end(run, "stop")
            return
        run.held = self.memory.ledger.open(self.articles.key(plan.prompt, plan.adapter))
        whole = self.articles.compose(plan, run.held)
        self.articles.release(plan)
        if whole:
            self._recall(run, plan.prompt.tail)
            return
        self.memory.forget(run.held)
        self.running.remove(run)  # what was promised to it is free for its second beginning
        flat = plan.prompt.flat()
        run.held = self.memory.place(run.request.adapter, flat, len(flat) + run.limit)
        self.running.append(run)
        if run.held is None:
            error = UnavailableError(
                "an article could not be loaded, and there is no room to read it", hint="ask again"
            )
            self._finish(run)
            run.request.generation.put(error)
            return
        run.reused = len(run.held.tokens)
        run.left = flat[run.reused :]
        run.layout, run.reason = "exact", "an article could not be loaded"

    def _compute(self, work: Sequence[tuple[Running, Slice]]) -> None:
        rows: list[Row] = []
        writers: list[tuple[Running, int, list[int]]] = []
        readers: list[Running] = []
        built: list[ArticleBuild] = []
        reading = 0
        for run, one in work:
            before, reads = len(rows), run.to_read > 0
            if run.plan is not None:
                built += self._read_articles(run.plan, one.count, rows)
            else:
                assert run.held is not None
                guesses = [] if reads else run.guesses[: one.count - 1]
                self._add_rows(rows, run.held, run.left[: one.count] if reads else [run.next, *guesses])
                del run.left[: one.count]
                if not run.left and run.request.sampler is not None:
                    first = len(rows) - 1 - len(guesses)
                    rows[first:] = [row._replace(logits=True) for row in rows[first:]]
                    writers.append((run, first, guesses))
            if reads:
                reading += len(rows) - before
                readers.append(run)
        if not rows:
            return
        self.model.use(work[0][0].request.adapter)
        # Many rows are handed out in pieces, so that a thread without a processor holds up nobody.
        few = len(rows) < ROWS
        self.model.use_threads(self.crowd.threads if few else self.crowd.most)
        began, computed = time.monotonic(), time.process_time()
        self.model.decode(rows)
        seconds, checked = time.monotonic() - began, sum(len(guesses) for _, _, guesses in writers)
        if few:
            self.crowd.stepped(time.process_time() - computed, seconds)
        self.pace.stepped(guesses=checked, reading=reading, seconds=seconds)
        for run in self.running:
            run.passed += 1
        for run, _ in work:
            run.passed = 0
        for build in built:
            assert self.articles is not None
            self.articles.finish(build)
        for run in readers:
            if run.request.task != "compile":
                run.tell_reading()
        for run, row, guesses in writers:
            self._write(run, row, guesses)
        for run, _ in work:
            if run.request.task == "ahead" and run.plan is None and not run.left:
                self._end(run, "stop")

    def _read_articles(self, plan: Composition, count: int, rows: list[Row]) -> list[ArticleBuild]:
        """Rows of what a request's articles still need, at most `count`; the builds that these end."""
        assert self.articles is not None
        ended = []
        # What the system text needs behind it is not there before the batch is computed.
        ready = [build for build in plan.builds if build.left and build.ready]
        for build in ready:
            tokens, build.left = build.left[:count], build.left[count:]
            count -= len(tokens)
            if tokens:
                self._add_rows(rows, self.articles.start(build, plan), tokens)
                if not build.left:
                    ended.append(build)
        return ended

    def _add_rows(self, rows: list[Row], held: SequenceLease, tokens: Sequence[int]) -> None:
        at = held.position
        rows += [Row(token, at + place, held.id, False) for place, token in enumerate(tokens)]
        self.memory.ledger.grow(held, tokens)

    def _write(self, run: Running, row: int, guesses: Sequence[int]) -> None:
        """Choose the token behind a row of the batch, and behind each guess as long as they are right; show them."""
        held, right = run.held, 0
        assert held is not None
        known = len(held.tokens) - len(guesses)
        while self._choose(run, row + right) and right < len(guesses) and run.next == guesses[right]:
            right += 1
        if guesses:
            assert run.lookup is not None
            run.lookup.checked(right, right < len(guesses))
            self.memory.cut(held, known + right)
            run.guesses = []

    def _choose(self, run: Running, row: int) -> bool:
        """Choose the token behind a row and show it; whether the answer goes on."""
        sampler = run.request.sampler
        assert isinstance(sampler, LlamaSampler)
        token = sampler.next(self.model.context, row)
        if finish := run.take(token, self.model.vocab, lambda: self.model.logits(row)):
            self._end(run, finish)
        return run in self.running

    def _end(self, run: Running, finish: Finish) -> None:
        self._finish(run)
        seconds = run.end(finish)
        if not run.request.ahead:
            self.pace.answered(seconds)

    def _finish(self, run: Running) -> None:
        """Take a request out of work; what was read of it stays while there is room."""
        if run.request.sampler is not None:
            run.request.sampler.close()
        if run.plan is not None and self.articles is not None:
            self.articles.release(run.plan)
        if run.held is not None:
            run.held.pins -= 1
            run.held.ahead, run.held.conversation = run.request.task == "ahead", run.request.conversation
            if run.held.conversation is not None and not run.held.ahead:
                self._drop_older(run.held)
            self.memory.ledger.touch(run.held)
            if not self.model.shares_beginnings:
                self.memory.forget(run.held)
        self.running.remove(run)
