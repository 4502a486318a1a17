"""One step after another: the active requests, and the model that computes them together.

Promises: a request that was admitted has all the room it can need; one that ends or is cancelled leaves what was read
of it for a later prompt with the same beginning. Background work (prefetching, drafting, compiling) is ended for
questions that need its room; a draft waits on the `DraftShelf` for its question, in room that anybody may take. Belongs
to the engine's thread. Knows nothing of the queue before it.

A step: `step` ends cancelled requests, composes those whose articles are ready, and asks `plan_step` for a batch;
`_collect` turns the plan into rows; `_decode` computes them; `_settle` draws the consequences. Until `_settle` the
ledger is ahead of llama.cpp: it already counts the cells of the rows that are to be computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runtime.engine.core.batch_planner import Job, Slice, StepCosts, plan_step
from runtime.engine.core.composition import ArticleBuild, Composition
from runtime.engine.core.generation import NO_ROOM, Finish, Stats
from runtime.engine.core.kv_ledger import SequenceLease
from runtime.engine.core.options import Preference
from runtime.engine.core.prompt_lookup import PromptLookup, ReplyPool
from runtime.engine.core.request import Request
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.active_sequence import ActiveSequence
from runtime.engine.llama.article_cache import ArticleCache
from runtime.engine.llama.draft_shelf import DraftShelf
from runtime.engine.llama.kv_cache import KvCache, Reservation
from runtime.engine.llama.model import LlamaModel, Row
from runtime.engine.llama.sampler import LlamaSampler
from runtime.engine.llama.session_cache import SessionCache
from runtime.errors import EdgedeskError, UnavailableError


@dataclass
class Batch:
    """Rows to be computed in one step, and what follows from each of them."""

    rows: list[Row] = field(default_factory=list)
    members: list[ActiveSequence] = field(default_factory=list)
    """Requests with a row in it."""
    counts: list[int] = field(default_factory=list)
    """Rows of each of them."""
    readers: list[ActiveSequence] = field(default_factory=list)
    """Those whose prompts are read."""
    writers: list[tuple[ActiveSequence, int, list[int]]] = field(default_factory=list)
    """(request, first of its rows that has logits, guesses in the rows after it)."""
    ended_builds: list[tuple[ArticleBuild, SequenceLease]] = field(default_factory=list)
    """Builds whose last token is in it."""
    reading: int = 0
    """Rows that read a prompt."""

    @property
    def guesses(self) -> int:
        """Rows that check a guess."""
        return sum(len(guesses) for _, _, guesses in self.writers)


class LlamaRunner:
    """At most `slots` answers at a time, as many prefetched questions and drafts, and one article being compiled."""

    def __init__(
        self,
        model: LlamaModel,
        cache: KvCache,
        articles: ArticleCache,
        sessions: SessionCache,
        *,
        slots: int,
        prefer: Preference = "writers",
        make_sampler: Callable[[SamplingParams], LlamaSampler] = LlamaSampler,
    ) -> None:
        self.model = model
        self.cache = cache
        self.articles = articles
        self.sessions = sessions
        self.slots = slots
        self.costs = StepCosts(model.batch_tokens, prefer)
        self.active: list[ActiveSequence] = []
        self.drafts = DraftShelf(cache)
        self.replies = ReplyPool()
        self.completed = 0
        self._make_sampler = make_sampler
        cache.reserve(self._reserved)

    @property
    def busy(self) -> bool:
        """Whether any request is active."""
        return bool(self.active)

    @property
    def answering(self) -> int:
        """Active requests for which a reader waits."""
        return sum(not one.request.background for one in self.active)

    def admit(self, request: Request) -> bool:
        """Begin a request; False while there is no slot or no room for it."""
        if request.task == "generate" and self.answering < self.slots and self._take_over_draft(request):
            return True
        admitted = self._admit(request)
        if not admitted and request.speculative:
            # One that waited would keep back what stands behind it, and its question comes soon or never.
            request.generation.put(Stats(len(request.generation.tokens), 0, 0, 0.0, 0.0, 0.0, "cancelled"))
            return True
        return admitted

    def _admit(self, request: Request) -> bool:
        # The question's prefetch is ended only after the question has taken a share of what was read: ended first, it
        # would be the first candidate for eviction while room is made for the question.
        prefetches = self._prefetches(request.conversation)
        tasks = [one.request.task for one in self.active if one not in prefetches]
        if tasks.count(request.task) >= (1 if request.task == "compile" else self.slots):
            return False
        active = self._begin(request)
        if active is None and prefetches:
            self._end_prefetches(request.conversation)
            active = self._begin(request)
        while active is None and not request.background and self._end_background():
            active = self._begin(request)
        if active is None:
            return False
        params = request.generation.params
        if request.task in ("generate", "draft"):
            active.sampler = self._make_sampler(params)
            # A wrong guess is cut off the sequence again, which a recurrent state does not allow.
            if params.lookup and self.model.shares_prefixes:
                active.lookup = PromptLookup(request.generation.tokens, self.replies)
        self.active.append(active)
        if request.conversation is not None:
            self._end_prefetches(request.conversation, keep=active)
            self._release_prefetched(request.conversation)
        return True

    def forget(self, conversation: str) -> None:
        """Drop what is read and written ahead for a conversation, and what only it has said."""
        self.replies.forget(conversation)
        self._end_prefetches(conversation)
        self._release_prefetched(conversation)

    def seconds_left(self) -> list[float]:
        """Seconds that each active answer will still take, as far as is known."""
        return [
            self.costs.seconds_left(to_read=one.tokens_to_read, to_write=one.max_tokens - one.written)
            for one in self.active
            if not one.request.background
        ]

    def step(self) -> None:
        """End what is no longer wanted, then compute one batch. After an error `fail` has to be called."""
        for one in list(self.active):
            if one.request.generation.cancelled:
                self._end(one, "cancelled")
        for one in list(self.active):
            if one.composition is not None and one.composition.ready:
                self._compose(one, one.composition)
        plan = self._plan()
        batch = self._collect([(self.active[share.id], share) for share in plan])
        if batch.rows:
            self._decode(batch)
            self._settle(batch)

    def fail(self, error: EdgedeskError) -> None:
        """End everything active with an error; nothing stays in memory."""
        for one in self.active:
            if one.sampler is not None:
                one.sampler.close()
            one.request.generation.put(error)
        self.active.clear()
        self.cache.clear()
        self.drafts.clear()
        self.articles.clear()

    def _reserved(self) -> Reservation:
        """What active requests may yet take. Articles are copied through one sequence, one request after another."""
        copying = any(one.copy_cells for one in self.active)
        return Reservation(sum(one.reserved_cells for one in self.active), int(copying))

    # Beginning

    def _begin(self, request: Request) -> ActiveSequence | None:
        """A request with all the room it can need, or None while there is none."""
        prompt, params = request.prompt, request.generation.params
        room = self.model.context_tokens - len(prompt)
        max_tokens = min(params.max_tokens, room) if request.task in ("generate", "draft") else 0
        if not self.articles.composes(prompt):
            return self._begin_plain(request, max_tokens, self.articles.reason)
        if request.task != "compile" and (active := self._continue_composed(request, max_tokens)) is not None:
            return active
        return self._begin_composed(request, max_tokens)

    def _begin_plain(self, request: Request, max_tokens: int, reason: str) -> ActiveSequence | None:
        flat = request.prompt.flat()
        lease = self.cache.allocate(None, flat, len(flat) + max_tokens)
        if lease is None:
            return None
        active = ActiveSequence(request, max_tokens, [], len(lease.tokens), layout_reason=reason, lease=lease)
        self._restore_session(active, flat)
        return active

    def _continue_composed(self, request: Request, max_tokens: int) -> ActiveSequence | None:
        """Begin from a sequence that has the same articles composed and the same beginning of the tail."""
        prompt = request.prompt
        key = self.articles.prefix_key(prompt)
        if not self.cache.ledger.longest_prefix(key, prompt.tail)[1]:
            return None
        lease = self.cache.allocate(key, prompt.tail, len(prompt.tail) + max_tokens)
        if lease is None:
            return None
        reused = len(prompt) - len(prompt.tail) + len(lease.tokens)
        active = ActiveSequence(request, max_tokens, [], reused, self.articles.layout, lease=lease)
        self._restore_session(active, prompt.tail)
        return active

    def _begin_composed(self, request: Request, max_tokens: int) -> ActiveSequence | None:
        prompt, articles = request.prompt, self.articles
        composition = articles.pin(prompt)
        cells, sequences = articles.room_needed(composition)
        if not self.cache.make_room(cells + len(prompt.tail) + max_tokens, sequences):
            articles.release(composition)
            # Others will end and leave room. Where nothing is active, waiting would be for ever.
            return None if self.active else self._begin_plain(request, max_tokens, "its articles need too much room")
        only_build = request.task == "compile"
        articles.begin(composition, only_build=only_build)
        return ActiveSequence(
            request,
            max_tokens,
            list(prompt.tail),
            composition.reused,
            articles.layout,
            lease=self.cache.ledger.open(articles.prefix_key(prompt)),
            composition=composition,
            copy_cells=0 if only_build else articles.copy_cells(prompt),
        )

    def _restore_session(self, active: ActiveSequence, wanted: Sequence[int]) -> None:
        """Take from disk what the conversation had read of `wanted`, where memory has less; the rest is to be read."""
        if (conversation := active.request.conversation) is not None:
            # A request that is being begun is not in `active` yet, so nothing is reserved for it; its lease has room
            # only for what `allocate` was asked for, which `restore` asks for again with the stored tokens' own.
            reserved = active.reserved_cells if active in self.active else 0
            active.reused += self.sessions.restore(
                conversation, active.lease, wanted, max_tokens=active.max_tokens, reserved=reserved
            )
        active.unread = list(wanted[len(active.lease.tokens) :])

    # Prefetches and other background work

    def _prefetches(self, conversation: str | None) -> list[ActiveSequence]:
        """What is being read ahead for a conversation."""
        if conversation is None:
            return []
        return [
            one
            for one in self.active
            if one.request.task in ("prefetch", "draft") and one.request.conversation == conversation
        ]

    def _end_prefetches(self, conversation: str | None, keep: ActiveSequence | None = None) -> None:
        for one in self._prefetches(conversation):
            if one is not keep:
                self._end(one, "cancelled")

    def _release_prefetched(self, conversation: str) -> None:
        """Free what was read for a question that has come, or has changed; what of it is used is shared already."""
        self.drafts.drop(conversation)
        for lease in list(self.cache.ledger.leases.values()):
            if lease.prefetched and not lease.in_use and lease.conversation == conversation:
                self.cache.release(lease)

    def _release_older_turns(self, newest: SequenceLease) -> None:
        """Free a conversation's older sequences after the same articles: the newest holds all that can come again."""
        for lease in list(self.cache.ledger.leases.values()):
            same = (lease.key, lease.conversation) == (newest.key, newest.conversation) and lease is not newest
            if same and not lease.in_use:
                self.cache.release(lease)

    def _end_background(self, keep: ActiveSequence | None = None) -> bool:
        """End one request that no reader waits for; False when there is none."""
        for one in self.active:
            if one.request.background and one is not keep:
                self._end(one, "cancelled")
                return True
        return False

    # Drafts

    def _take_over_draft(self, request: Request) -> bool:
        """Go on with the draft of a question that has come; False where there is none, or no room to end it."""
        drafts = [
            one
            for one in self._prefetches(request.conversation)
            if one.request.speculative and one.request.fits(request)
        ]
        draft = drafts[0] if drafts else self.drafts.take(request)
        if draft is None:
            return False
        to_write = draft.max_tokens - draft.written if draft.ended is None else 0
        cells = draft.copy_cells + len(draft.unread) + to_write
        cells -= draft.reserved_cells if draft in self.active else 0
        while not self.cache.make_room(max(0, cells), 0):
            if not self._end_background(keep=draft):
                if draft in self.active:
                    self._end(draft, "cancelled")
                else:
                    self._discard(draft)
                return False
        if draft in self.active:
            draft.report("stop")
        else:
            self.active.append(draft)
        draft.take_over(request)
        if request.conversation is not None:
            self._end_prefetches(request.conversation)
            self._release_prefetched(request.conversation)
        if draft.ended is not None:
            self._end(draft, draft.ended)
        return True

    def _shelve(self, draft: ActiveSequence, ended: Finish | None) -> None:
        """A draft is written as far as it may be: keep it for its question, in room that anybody may take."""
        self.active.remove(draft)
        draft.ended, draft.guesses = ended, []
        self._retire(draft)
        self.drafts.put(draft)
        draft.report(ended or "length")

    def _discard(self, draft: ActiveSequence) -> None:
        """Drop a draft that was taken off the shelf."""
        if draft.sampler is not None:
            draft.sampler.close()
        self.cache.release(draft.lease)

    # One step

    def _plan(self) -> tuple[Slice, ...]:
        """The next batch, as shares of the requests by their index in `active`."""
        for one in self.active:
            # A guess makes a step longer, and a question that arrives meanwhile waits for its end.
            if one.lookup is not None and one.written and not one.request.speculative:
                one.guesses = one.lookup.guess(one.max_tokens - one.written - 1, self.costs.guess_cost)
        jobs = [
            Job(
                index,
                one.tokens_to_read,
                guesses=len(one.guesses),
                background=one.request.background,
                speculative=one.request.speculative,
                skipped=one.skipped_steps,
            )
            for index, one in enumerate(self.active)
        ]
        waited_for = [job for job in jobs if not job.background]
        read_tokens = self.costs.read_tokens(
            writing=any(not job.unread for job in waited_for), waited_for=bool(waited_for)
        )
        return plan_step(jobs, read_tokens=read_tokens, batch_tokens=self.model.batch_tokens)

    def _compose(self, active: ActiveSequence, composition: Composition) -> None:
        """All articles of a request are in memory: bring them into its sequence, or read everything plainly."""
        active.copy_cells, active.composition = 0, None
        if active.request.task == "compile":
            self.articles.release(composition)
            if composition.refused:
                active.layout_reason = NO_ROOM
            self._end(active, "cancelled" if composition.refused else "stop")
            return
        composed = self.articles.compose(composition, active.lease)
        self.articles.release(composition)
        if composed:
            self._restore_session(active, composition.prompt.tail)
        else:
            self._read_plainly_after_all(active)

    def _read_plainly_after_all(self, active: ActiveSequence) -> None:
        """An article that was on disk when the request began could not be loaded (damaged, or deleted since)."""
        self.cache.release(active.lease)
        self.active.remove(active)  # frees the cells reserved for it, which the second beginning needs
        flat = active.request.prompt.flat()
        lease = self.cache.allocate(None, flat, len(flat) + active.max_tokens)
        if lease is None:
            if active.sampler is not None:
                active.sampler.close()
            what = "an article could not be loaded, and there is no room to read it"
            active.request.generation.put(UnavailableError(what, hint="ask again"))
            return
        active.lease, active.reused = lease, len(lease.tokens)
        active.unread = flat[active.reused :]
        active.layout, active.layout_reason = "exact", "an article could not be loaded"
        self.active.append(active)

    def _collect(self, shares: Sequence[tuple[ActiveSequence, Slice]]) -> Batch:
        """The rows of a plan."""
        batch = Batch()
        for active, share in shares:
            before, reads = len(batch.rows), active.tokens_to_read > 0
            batch.members.append(active)
            if active.composition is not None:
                self._collect_articles(batch, active.composition, share.count)
            else:
                self._collect_own_tokens(batch, active, share.count)
            batch.counts.append(len(batch.rows) - before)
            if reads:
                batch.reading += len(batch.rows) - before
                batch.readers.append(active)
        return batch

    def _collect_own_tokens(self, batch: Batch, active: ActiveSequence, count: int) -> None:
        """Rows of a request's own tokens: of its prompt, or its next token with guesses after it."""
        reads = bool(active.unread)
        guesses = [] if reads else active.guesses[: count - 1]
        self._add_rows(batch.rows, active.lease, active.unread[:count] if reads else [active.next_token, *guesses])
        del active.unread[:count]
        if not active.unread and active.sampler is not None:
            # Logits are wanted after the last known token and after every guess, which they confirm or refute.
            first = len(batch.rows) - 1 - len(guesses)
            batch.rows[first:] = [row._replace(logits=True) for row in batch.rows[first:]]
            batch.writers.append((active, first, guesses))

    def _collect_articles(self, batch: Batch, composition: Composition, count: int) -> None:
        """Rows of what a request's articles still need, at most `count`."""
        # Fixed before any row is added: a system text that ends in this batch is not computed yet, so what needs it
        # is read in the next.
        for build in [build for build in composition.builds if build.unread and build.ready]:
            tokens, build.unread = build.unread[:count], build.unread[count:]
            count -= len(tokens)
            if tokens:
                lease = self.articles.start(build, composition)
                self._add_rows(batch.rows, lease, tokens)
                if not build.unread:
                    batch.ended_builds.append((build, lease))

    def _add_rows(self, rows: list[Row], lease: SequenceLease, tokens: Sequence[int]) -> None:
        at = lease.next_position
        rows += [Row(token, at + place, lease.id, False) for place, token in enumerate(tokens)]
        self.cache.ledger.extend(lease, tokens)

    def _decode(self, batch: Batch) -> None:
        """Compute the rows and learn what they cost."""
        began, computed = time.monotonic(), time.process_time()
        self.model.decode(batch.rows)
        seconds, computed = time.monotonic() - began, time.process_time() - computed
        for one, count in zip(batch.members, batch.counts, strict=True):
            one.processor_s += computed * count / len(batch.rows)
        self.costs.record_step(guesses=batch.guesses, reading=batch.reading, seconds=seconds)

    def _settle(self, batch: Batch) -> None:
        """The rows are computed: keep builds, report progress, choose tokens, end what is complete."""
        for one in self.active:
            one.skipped_steps += 1
        for one in batch.members:
            one.skipped_steps = 0
        # Builds first: `compose`, in the next step, must find them finished.
        for build, lease in batch.ended_builds:
            self.articles.finish(build, lease)
        for one in batch.readers:
            if one.request.task != "compile":
                one.report_progress()
        for one, row, guesses in batch.writers:
            self._write(one, row, guesses)
        for one in batch.members:
            if one.request.task == "prefetch" and one.reading_ended:
                self._end(one, "stop")

    def _write(self, active: ActiveSequence, row: int, guesses: Sequence[int]) -> None:
        """Choose the token after a row, and after each guess as long as the guesses are right; show them."""
        right = 0
        # Guesses are in the ledger and in llama.cpp already, as if they had been chosen.
        known = len(active.lease.tokens) - len(guesses)
        while self._choose(active, row + right) and right < len(guesses) and active.next_token == guesses[right]:
            right += 1
        if guesses and active.lookup is not None:
            active.lookup.record_check(right, right < len(guesses))
            # Only right guesses stay; the token chosen last is not computed yet, right or not.
            self.cache.truncate(active.lease, known + right)
            active.guesses = []

    def _choose(self, active: ActiveSequence, row: int) -> bool:
        """Choose the token after a row and show it; whether the answer continues."""
        if active.sampler is None:
            return False
        token = active.sampler.next(self.model.context, row)
        if active.lookup is not None:
            active.lookup.add(token)
        finish = active.accept(token, self.model.vocab)
        if active.request.speculative:
            if finish or active.written >= active.request.ahead_tokens:
                self._shelve(active, finish)
                return False
        elif finish:
            self._end(active, finish)
            return False
        return True

    # Ending

    def _end(self, active: ActiveSequence, finish: Finish) -> None:
        """End a request; what was read of it stays while there is room."""
        self.active.remove(active)
        if active.sampler is not None:
            active.sampler.close()
        if active.composition is not None:
            self.articles.release(active.composition)
        self._retire(active)
        seconds = active.finish(finish)
        if not active.request.background:
            if not active.written_ahead:
                self.costs.record_answer(seconds)
            self.completed += finish != "cancelled"
            # What belongs to no conversation could never be forgotten.
            if active.lookup is not None and finish != "cancelled" and active.request.conversation is not None:
                self.replies.add(active.lookup.written, active.request.conversation)

    def _retire(self, active: ActiveSequence) -> None:
        """Leave a request's sequence to later prompts with the same beginning."""
        lease = active.lease
        lease.pins -= 1
        lease.prefetched = active.request.task in ("prefetch", "draft")
        lease.conversation = active.request.conversation
        if lease.conversation is not None and not lease.prefetched:
            self._release_older_turns(lease)
        self.cache.ledger.touch(lease)
        # Nothing was read into it, or nothing of it can be shared: it would only take a sequence from others.
        if not lease.tokens or not self.model.shares_prefixes:
            self.cache.release(lease)
