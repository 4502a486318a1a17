"""The desk: one customer question from its arrival to its answer.

    store -> rules -> retrieve -> rules -> lay out the prompt -> write -> cite -> done

Promises: the question is on disk before anything is computed, the draft as it grows; a question always ends in the
journal as complete, cancelled or failed; where the model cannot answer, the article itself is shown or a person is
offered, and it is said why. Knows nothing of sockets and screens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runtime.ahead import ReadingAhead, Typed, TypingRequest
from runtime.articles import Section
from runtime.citations import cite
from runtime.claims import claims
from runtime.conversation import entities, language, whole
from runtime.curated import Nearest
from runtime.errors import EdgedeskError, InputError
from runtime.events import AskRequest, Citation, Done, Event, Failed, Found, Queued, Reading, Stored, Token
from runtime.injection import orders, recites
from runtime.journal import FILE_NAME, Journal, State, StoredTurn, TurnKey
from runtime.journal_care import Pruned
from runtime.knowledge import compiling, encode_parts, open_engine, without_end
from runtime.policy import NO_ARTICLE, WITHHELD, Policy, decide, mood, read_policy, retention
from runtime.prompt import PromptSpec, Tokenizer, encode, layout
from runtime.record import Turn
from runtime.redact import Redactor
from runtime.settings import Settings
from runtime.stopping import StopStrings
from runtime.store import current_bundle

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.engine import Engine, Flag, Prompt, RemoteEngine
    from runtime.retrieval import Retriever


@dataclass
class _Work:
    """A turn while it is answered."""

    key: TurnKey
    request: AskRequest
    lang: str
    policy: Policy
    arrived: float
    draft: str = ""
    first: float | None = None
    """When the answer's first piece was sent."""
    drafted: float = 0.0
    """When the draft was last written to the journal."""
    reading: dict[str, Any] = field(default_factory=dict)
    """The engine's counts, for the journal."""
    speed: float = 0.0
    ended: bool = False
    emotion: str | None = None
    lead: str = ""
    """What is said before the answer, for the customer's mood."""
    decided: str = ""
    """What made the answer, see `runtime.events.Done`."""


@contextmanager
def open_desk(home: Path, settings: Settings, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Desk]:
    """The desk of a home, everything loaded; the caller holds the home's lock (`runtime.home.hold`).

    `progress(done, all)` counts sections while the search index is rebuilt.
    """
    from runtime.retrieval import Retriever

    with ExitStack() as stack:
        bundle = current_bundle(home)
        journal = stack.enter_context(Journal(home / FILE_NAME))
        forget(journal, bundle)
        retriever = stack.enter_context(
            Retriever.open(bundle, home / "index", threads=settings.threads, progress=progress)
        )
        engine = stack.enter_context(open_engine(bundle, home, settings))
        stack.enter_context(compiling(engine, bundle))
        yield Desk(bundle, engine, retriever, journal, settings)


def forget(journal: Journal, bundle: Bundle) -> Pruned:
    """Delete and redact what the bundle's policies do not let the branch keep."""
    rule = retention(bundle)
    if not (rule.keep_days or rule.redact_after_days):
        return Pruned(0, 0, 0)
    public = bundle.public_text()
    return journal.prune(
        keep_days=rule.keep_days,
        redact_after_days=rule.redact_after_days,
        redactor=lambda: Redactor(public).redact,
    )


class Desk:
    """Answers questions, several at a time, each in its own thread."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine | RemoteEngine,
        retriever: Retriever,
        journal: Journal,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self.retriever = retriever
        self.journal = journal
        self.settings = settings
        self._clock = clock
        self._ahead = ReadingAhead(engine, self._foresee)
        self._stop = frozenset(engine.vocab.control_token(text) for text in self.spec.pieces.stop)
        self._policies = {lang: read_policy(bundle.policy_path(lang)) for lang in ("en", "zh", *self.spec.languages)}
        self._curated = {lang: Nearest.of(policy, retriever.embedder) for lang, policy in self._policies.items()}
        self.model = f"{bundle.info.name}-{bundle.info.version}/{bundle.model_path.stem}"

    @property
    def spec(self) -> PromptSpec:
        """The bundle's prompt."""
        return self.bundle.prompt

    def admit(self, request: AskRequest) -> None:
        """`InputError` with the counts for a question too long to be answered; to be called before `ask`."""
        question = request.question
        if len(question) > self.settings.question_chars:
            raise InputError(
                f"the question has {len(question):,} characters, {self.settings.question_chars:,} are allowed",
                hint="ask a shorter question",
            )
        if not question.strip():
            raise InputError("the question is empty", hint="write a question")
        spans = layout(self.spec, self._lang(request), (), (), question).spans()
        if (count := len(encode(spans, self.engine.vocab))) > self._room:
            raise InputError(
                f"the question makes a prompt of {count:,} tokens, {self._room:,} fit", hint="ask a shorter question"
            )

    def read_ahead(self, request: TypingRequest) -> Typed:
        """Look up and read a question while it is typed, see `runtime.ahead`; nothing of it is stored."""
        if not self.settings.read_ahead:
            return Typed(request.conversation or uuid4().hex, "off", 0)
        return self._ahead.typed(request)

    def _foresee(self, request: AskRequest) -> Prompt | None:
        """The prompt of a question whose next words are still to come; None where the model would not be asked."""
        question, lang = request.question, self._lang(request)
        if len(question) > self.settings.question_chars:
            return None
        policy, conversation = self._policy(lang), request.conversation

        def action(similarities: Sequence[float] | None) -> str:
            return decide(
                policy, question=question, lang=lang, languages=self.spec.languages, similarities=similarities
            ).action

        if action(None) != "retrieve":
            return None
        searched = whole(question, self._earlier(request, conversation))
        hits = self.retriever.search(searched, lang=lang, limit=self.spec.articles)
        safe = [hit for hit in hits if not orders(hit.section.text)]
        if action([hit.similarity for hit in safe]) != "generate":
            return None
        turns = self._history(request, conversation)
        sections = [hit.section for hit in safe]
        prompt, shown = fit_prompt(self.spec, self.engine.vocab, lang, sections, turns, question, self._room)
        return without_end(self.spec, self.engine.vocab, prompt) if shown else None

    def ask(self, request: AskRequest, cancel: Flag) -> Iterator[Event]:
        """The events of one answer, see `runtime.events`.

        Ends with `Done` or `Failed`, or without either when `cancel` was set; closing the iterator cancels as well.
        """
        try:
            self.admit(request)
            yield from self._turn(request, cancel)
        except EdgedeskError as error:
            yield Failed.of(error)

    def _turn(self, request: AskRequest, cancel: Flag) -> Iterator[Event]:
        arrived = self._clock()
        lang = self._lang(request)
        key = self.journal.ask(request.conversation, request.question, lang)
        work = _Work(key, request, lang, self._policy(lang), arrived, drafted=arrived)
        self._ahead.asked(key.conversation)
        try:
            yield Stored(conversation=key.conversation, turn=key.number, lang=lang)
            yield from self._answer(work, cancel)
        except GeneratorExit:
            self._end(work, "cancelled")
            raise
        except Exception as error:
            work.reading |= {"error": str(error)}
            raise
        finally:
            if not work.ended:
                self._end(work, "cancelled" if cancel.is_set() else "failed")

    def _answer(self, work: _Work, cancel: Flag) -> Iterator[Event]:
        question, lang, policy = work.request.question, work.lang, work.policy
        work.emotion = mood(policy, question)
        if work.emotion:
            work.lead = policy.tone[work.emotion].say + ("" if lang == "zh" else " ")
        first = decide(policy, question=question, lang=lang, languages=self.spec.languages, similarities=None)
        if first.action == "hand_off":
            work.decided = f"rule:{first.reason}"
            yield from self._say(work, policy.hand_off_text(lang), (), handoff=first.reason)
            return
        if first.action == "fixed":
            yield from self._say_fixed(work, first.reason or "")
            return
        earlier = self._earlier(work.request, work.key.conversation, work.key.number)
        hits = self.retriever.search(whole(question, earlier), lang=lang, limit=self.spec.articles)
        if named := entities([*earlier, question]):
            work.reading |= {"entities": named}
        scores = {hit.section.ref: hit.score for hit in hits}
        yield Found(citations=tuple(Citation.of(hit.section, hit.score) for hit in hits))
        # People see a section that gives orders to the model; the model does not, and no customer is quoted it.
        safe = [hit for hit in hits if not orders(hit.section.text)]
        decision = decide(
            policy,
            question=question,
            lang=lang,
            languages=self.spec.languages,
            similarities=[hit.similarity for hit in safe],
            orders=orders(question),
            curated=self._curated[lang].nearest(question) if lang in self._curated else None,
        )
        if decision.action == "fixed":
            yield from self._say_fixed(work, decision.reason or "")
            return
        if decision.action == "refuse":
            work.decided = decision.reason or NO_ARTICLE
            yield from self._say(work, self._refusal(policy, lang), (), handoff=decision.reason)
            return
        sections = [hit.section for hit in safe]
        if decision.action == "generate":
            turns = self._history(work.request, work.key.conversation, work.key.number)
            prompt, shown = fit_prompt(self.spec, self.engine.vocab, lang, sections, turns, question, self._room)
            if shown:
                yield from self._write(work, prompt, cancel)
                if cancel.is_set():
                    return
                if answer := work.draft.strip():
                    work.decided = "model"
                    yield self._done(work, answer, shown, scores)
                    return
        # The model may not write this language, no section fits into its context, or it had nothing to say.
        work.decided = "section"
        text = f"{policy.quote_text(lang)}\n{sections[0].text}"
        yield from self._say(work, text, sections[:1])

    def _write(self, work: _Work, prompt: Prompt, cancel: Flag) -> Iterator[Event]:
        """Let the engine write the draft."""
        from runtime.engine import Place, Progress, SamplingParams

        request, settings = work.request, self.settings
        params = SamplingParams(
            max_tokens=min(self.spec.answer_tokens, request.max_tokens or self.spec.answer_tokens),
            temperature=settings.temperature if request.temperature is None else request.temperature,
            top_p=settings.top_p if request.top_p is None else request.top_p,
            seed=request.seed or 0,
            stop=self._stop,
        )
        generation = self.engine.generate(prompt, params, cancel, conversation=work.key.conversation)
        place = None
        stop = StopStrings(request.stop)
        try:
            for update in generation.updates():
                if isinstance(update, Place):
                    if update.position != place:
                        place = update.position
                        yield Queued(position=place, wait_s=round(update.wait_s, 1))
                    continue
                if isinstance(update, Progress):
                    yield Reading(done=update.done, total=update.total)
                    continue
                # The prompt ends right where the answer starts; what a model writes before its first word is no text.
                text = stop.feed(update.text if work.draft else update.text.lstrip())
                if text:
                    yield self._wrote(work, text)
                if stop.hit:
                    generation.close()
            if text := stop.rest():
                yield self._wrote(work, text)
        finally:
            generation.close()
        stats = generation.stats
        work.speed = stats.tokens_per_s
        work.reading = {"prompt_tokens": stats.prompt_tokens, "reused_tokens": stats.reused_tokens}
        work.reading |= {"answer_tokens": stats.answer_tokens, "queued_s": round(stats.queued_s, 3)}
        work.reading |= {"finish": "stop" if stop.hit else stats.finish}
        work.reading |= {"layout": stats.layout, "layout_reason": stats.layout_reason}

    def _wrote(self, work: _Work, text: str) -> Token:
        """Take down a piece of the draft, in the journal not more often than the settings say."""
        now = self._clock()
        work.first = work.first or now
        text = text if work.draft else work.lead + text
        work.draft += text
        if now - work.drafted >= self.settings.draft_every_s:
            work.drafted = now
            self.journal.draft(work.key, work.draft)
        return Token(text=text)

    def _say(self, work: _Work, text: str, cited: Sequence[Section], *, handoff: str | None = None) -> Iterator[Event]:
        """Answer with a text that no model wrote."""
        self.engine.forget(work.key.conversation)
        text = work.lead + text
        work.draft = text
        work.first = self._clock()
        yield Token(text=text)
        citations = tuple(Citation.of(section) for section in cited)
        yield self._finish(work, text, citations, handoff=handoff)

    def _say_fixed(self, work: _Work, name: str) -> Iterator[Event]:
        """Answer as somebody wrote it."""
        work.decided = f"fixed:{name}"
        fixed = next(one for one in work.policy.answer if one.id == name)
        yield from self._say(work, fixed.text, self._sections(fixed.evidence, work.lang))

    def _sections(self, references: Sequence[str], lang: str) -> list[Section]:
        """The sections of these references in a language; those the articles have no longer are left out."""
        wanted = {
            section.ref: section
            for article in self.retriever.articles
            for section in article.sections
            if article.lang == lang and section.ref in references
        }
        return [wanted[reference] for reference in references if reference in wanted]

    def _done(self, work: _Work, answer: str, shown: Sequence[Section], scores: dict[str, float]) -> Done:
        """Check and cite what the model wrote."""
        if _says(answer, self.spec.refusal.get(work.lang, "")):
            return self._finish(work, answer, (), handoff=NO_ARTICLE)
        citations = tuple(Citation.of(section, scores[section.ref]) for section in cite(answer, shown))
        if recites(answer, self.spec.system.get(work.lang, ""), shown):
            work.decided = WITHHELD
            return self._finish(work, self._refusal(work.policy, work.lang), (), handoff=WITHHELD)
        # What the customer said may be repeated: an order number, a date.
        said = Section("", "", "", "", work.request.question, work.lang)
        marked = tuple(claims(answer, [*shown, said]))
        return self._finish(work, answer, citations, handoff=None, marked=marked)

    def _finish(
        self,
        work: _Work,
        answer: str,
        citations: tuple[Citation, ...],
        *,
        handoff: str | None,
        marked: tuple[str, ...] = (),
    ) -> Done:
        done = Done(
            answer=answer,
            citations=citations,
            ttft_s=round((work.first or self._clock()) - work.arrived, 3),
            tokens_per_s=round(work.speed, 1),
            model=self.model,
            handoff=handoff,
            unsupported=marked,
            decided=work.decided,
            emotion=work.emotion,
            finish="length" if work.reading.get("finish") == "length" else "stop",
            prompt_tokens=work.reading.get("prompt_tokens", 0),
            reused_tokens=work.reading.get("reused_tokens", 0),
            answer_tokens=work.reading.get("answer_tokens", 0),
            layout=work.reading.get("layout", ""),
        )
        work.draft = answer
        self._end(work, "complete", done)
        return done

    def _end(self, work: _Work, state: State, done: Done | None = None) -> None:
        details: dict[str, Any] = dict(work.reading)
        if done:
            details |= {"citations": [f"{one.article}#{one.section}" for one in done.citations]}
            details |= {"decided": done.decided, "emotion": done.emotion}
            details |= {"ttft_s": done.ttft_s, "tokens_per_s": done.tokens_per_s, "unsupported": done.unsupported}
        work.ended = True
        self.journal.end(
            work.key, state, work.draft, handoff=done.handoff if done else None, model=self.model, details=details
        )

    def _history(self, request: AskRequest, conversation: str | None, before: int | None = None) -> list[Turn]:
        """Earlier questions of the conversation and the answers the model gave, oldest first."""
        if not (count := self.settings.history_turns):
            return []
        if request.context:
            return list(request.context[-2 * count :])
        earlier = [turn for turn in self._turns(conversation, before) if turn.state == "complete" and not turn.handoff]
        return [
            said
            for turn in earlier[-count:]
            for said in (Turn(role="user", content=turn.question), Turn(role="assistant", content=turn.draft))
        ]

    def _refusal(self, policy: Policy, lang: str) -> str:
        return policy.refusal.text or self.spec.refusal.get(lang) or next(iter(self.spec.refusal.values()))

    def _policy(self, lang: str) -> Policy:
        return self._policies.get(lang) or self._policies[self.spec.languages[0]]

    def _lang(self, request: AskRequest) -> str:
        """The customer's language; a question that shows none is in that of the turn before."""
        if request.lang:
            return request.lang
        if request.context:
            before = [turn.content for turn in request.context if turn.role == "user"][-1:]
            return language(request.question, language(before[0], None) if before else None)
        turns = self.journal.turns(request.conversation) if request.conversation else []
        return language(request.question, turns[-1].lang if turns else None)

    def _earlier(self, request: AskRequest, conversation: str | None, before: int | None = None) -> list[str]:
        """The customer's questions before this one, oldest first."""
        if request.context:
            return [turn.content for turn in request.context if turn.role == "user"]
        return [turn.question for turn in self._turns(conversation, before)]

    def _turns(self, conversation: str | None, before: int | None) -> list[StoredTurn]:
        """A conversation's turns, those before a number or all."""
        turns = self.journal.turns(conversation) if conversation else []
        return [turn for turn in turns if before is None or turn.key.number < before]

    @property
    def _room(self) -> int:
        """Tokens a prompt may have, so that a whole answer fits behind it."""
        return self.engine.context_tokens - self.spec.answer_tokens


def fit(
    spec: PromptSpec,
    tokenizer: Tokenizer,
    lang: str,
    sections: Sequence[Section],
    turns: Sequence[Turn],
    question: str,
    room: int,
) -> tuple[list[int], list[Section]]:
    """Like `fit_prompt`, as one list of tokens."""
    prompt, shown = fit_prompt(spec, tokenizer, lang, sections, turns, question, room)
    return prompt.flat(), shown


def fit_prompt(
    spec: PromptSpec,
    tokenizer: Tokenizer,
    lang: str,
    sections: Sequence[Section],
    turns: Sequence[Turn],
    question: str,
    room: int,
) -> tuple[Prompt, list[Section]]:
    """A prompt of at most `room` tokens and the sections in it, given best first.

    What is dropped until it fits: the oldest exchange, again and again; then the worst section. With no section left
    the prompt may still be too long.
    """
    shown, past = list(sections), list(turns)
    while True:
        prompt = encode_parts(layout(spec, lang, shown, past, question), tokenizer)
        if len(prompt) <= room or not (past or shown):
            return prompt, shown
        if past:
            del past[:2]
        else:
            shown.pop()


def _says(answer: str, refusal: str) -> bool:
    return bool(refusal) and " ".join(refusal.split()).casefold() in " ".join(answer.split()).casefold()
