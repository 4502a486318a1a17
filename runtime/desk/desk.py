"""The desk: one customer question from its arrival to its answer.

    store -> understand -> rules -> retrieve -> rules -> lay out the prompt -> write -> cite -> done

Promises: the question is on disk before anything is computed, the draft as it grows; a question always ends in the
journal as complete, cancelled or failed; where the model cannot answer, the article itself is shown or a person is
offered, and it is said why. Knows nothing of sockets and screens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args
from uuid import uuid4

from runtime.base.settings import Settings
from runtime.desk.ab_test import Trial
from runtime.desk.active_policy import PolicySelector
from runtime.desk.drafting import write_draft
from runtime.desk.history import earlier_questions, language_of, shown
from runtime.desk.intent_and_emotion import sure, understand
from runtime.desk.policy import NO_ARTICLE, WITHHELD, Decision, Policy, decide
from runtime.desk.prefetch import Prefetcher, PrefetchStatus, TypingRequest
from runtime.desk.turn_state import TurnState, details, done
from runtime.errors import EdgedeskError, InputError
from runtime.events import AskRequest, Citation, Done, Event, Failed, SectionsFound, Stored, Token
from runtime.grounding.citations import cite
from runtime.grounding.claim_check import unsupported_claims
from runtime.grounding.extractive_answer import extractive_fallback, render_quote
from runtime.journal.inbox import Inbox
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import State, StoredTurn
from runtime.journal.turn_details import Arm
from runtime.prompting.encode import without_closing
from runtime.prompting.prompt_spec import PromptSpec, encode, layout
from runtime.prompting.truncate import truncate_prompt
from runtime.text.articles import Section
from runtime.text.records import Emotion
from runtime.understanding.dialogue_context import entities, rewrite_follow_up
from runtime.understanding.dictation_classifier import DictationClassifier
from runtime.understanding.dictation_rules import without_injected
from runtime.understanding.linear_classifier import FOLDER as HEADS
from runtime.understanding.linear_classifier import KINDS, Guess, load_classifiers
from runtime.understanding.prompt_injection import is_injection, leaks_system_prompt

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.engine.core.generation import Flag
    from runtime.engine.core.interface import TextEngine
    from runtime.prompting.prompt_tokens import Prompt
    from runtime.retrieval.retriever import Hit, Retriever


class Desk:
    """Answers questions, several at a time, each in its own thread."""

    def __init__(
        self,
        bundle: Bundle,
        engine: TextEngine,
        retriever: Retriever,
        journal: Journal,
        settings: Settings,
        *,
        trial: Trial | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self.retriever = retriever
        self.journal = journal
        self.inbox = Inbox(journal)
        self.settings = settings
        self._clock = clock
        self._ahead = Prefetcher(engine, self._foresee)
        self._stop = frozenset(engine.vocab.control_token(text) for text in self.spec.pieces.stop)
        self._trial = trial
        self.candidate: Desk | None = None
        """The desk of a model on trial: it answers the conversations of its arm, into the same journal."""
        self.untried = ""
        """Why the model on trial cannot be served."""
        self._policies = PolicySelector(bundle, retriever.embedder, trial)
        file = bundle.model_path if settings.runtime == "llama" else bundle.onnx_path
        self.heads = load_classifiers(bundle.root / HEADS)
        self._eye = DictationClassifier.open(bundle.root / HEADS, retriever.embedder)
        self.model = f"{bundle.info.name}-{bundle.info.version}/{file.stem}"

    @property
    def spec(self) -> PromptSpec:
        """The bundle's prompt."""
        return self.bundle.prompt

    @property
    def labels(self) -> dict[str, list[str]]:
        """The names of intents and emotions that a person may correct to, sorted."""
        tones = self._policies.tones
        known = {kind: set(head.labels) for kind, head in self.heads.items()}
        emotions = tones | set(get_args(Emotion)) | known.get("emotion", set())
        return {"intents": sorted(known.get("intent", set())), "emotions": sorted(emotions)}

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
        spans = layout(self.spec, language_of(request, self._turns(request)), (), (), question).spans()
        if (count := len(encode(spans, self.engine.vocab))) > self._room:
            raise InputError(
                f"the question makes a prompt of {count:,} tokens, {self._room:,} fit", hint="ask a shorter question"
            )

    def search(
        self, question: str, *, lang: str | None, limit: int, product: str = "", internal: bool = True
    ) -> list[Hit]:
        """The sections that answer a question in this branch, best first."""
        return self.retriever.search(
            question, lang=lang, limit=limit, branch=self.settings.branch, product=product, internal=internal
        )

    def read_ahead(self, request: TypingRequest, *, agent: str = "") -> PrefetchStatus:
        """Look up and read a question while it is typed, see `runtime.desk.prefetch`; nothing of it is stored."""
        conversation = request.conversation or uuid4().hex
        if not self.settings.read_ahead:
            return PrefetchStatus(conversation, "off", 0)
        named = request.model_copy(update={"conversation": conversation})
        question = AskRequest(question=request.text or " ", conversation=conversation, lang=request.lang)
        return self._side(self._arm(question, agent))._ahead.typed(named)

    def _side(self, arm: Arm | None) -> Desk:
        return self.candidate if arm == "candidate" and self.candidate else self

    def _arm(self, request: AskRequest, agent: str) -> Arm | None:
        """The arm of a conversation in the experiment; None where it takes no part."""
        trial = self._trial
        if trial is None or not request.conversation or (trial.policy is None and self.candidate is None):
            return None
        before = self._turns(request)
        kept = [turn.details.arm for turn in before if turn.details.experiment == trial.experiment.name]
        return trial.arm(language_of(request, before), request.conversation, agent, kept[0] if kept else None)

    def _foresee(self, request: AskRequest) -> Prompt | None:
        """The prompt of a question whose next words are still to come; None where the model would not be asked."""
        question, before = request.question, self._turns(request)
        lang = language_of(request, before)
        if len(question) > self.settings.question_chars:
            return None
        policy = self._policies.of(lang, self._arm(request, "")).policy

        def action(similarities: Sequence[float] | None) -> str:
            return decide(
                policy, question=question, lang=lang, languages=self.spec.languages, similarities=similarities
            ).action

        if action(None) != "retrieve":
            return None
        searched = rewrite_follow_up(question, earlier_questions(request, before))
        hits = self.search(searched, lang=lang, limit=self.spec.articles)
        safe = self._safe(hits)
        if action([hit.similarity for hit in safe]) != "generate":
            return None
        turns = shown(request, before, self.settings.history_turns)
        sections = [hit.section for hit in safe]
        prompt, fitted = truncate_prompt(self.spec, self.engine.vocab, lang, sections, turns, question, self._room)
        return without_closing(self.spec, self.engine.vocab, prompt) if fitted else None

    def ask(self, request: AskRequest, cancel: Flag, *, agent: str = "") -> Iterator[Event]:
        """The events of one answer, see `runtime.events`; `agent` is who asks.

        Ends with `Done` or `Failed`, or without either when `cancel` was set; closing the iterator cancels as well.
        """
        try:
            self.admit(request)
            if self._trial and not request.conversation:
                request = request.model_copy(update={"conversation": uuid4().hex})
            arm = self._arm(request, agent)
            yield from self._side(arm)._turn(request, cancel, arm)
        except EdgedeskError as error:
            yield Failed.of(error)

    def _turn(self, request: AskRequest, cancel: Flag, arm: Arm | None) -> Iterator[Event]:
        arrived = self._clock()
        before = self._turns(request)
        lang = language_of(request, before)
        key = self.journal.ask(request.conversation, request.question, lang)
        chosen = self._policies.of(lang, arm)
        work = TurnState(key, request, lang, chosen.policy, chosen.curated, before, arrived, drafted=arrived)
        if arm and self._trial:
            work.reading |= {"experiment": self._trial.experiment.name, "arm": arm}
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

    def _answer(self, work: TurnState, cancel: Flag) -> Iterator[Event]:
        question, lang, policy = work.request.question, work.lang, work.policy
        work.understood = understand(policy, question, *self._guesses(question))
        yield work.understood
        tone = policy.tone.get(work.understood.emotion or "")
        if tone and work.understood.emotion_confidence == "high":
            work.lead = tone.say + ("" if lang == "zh" else " ")
        first = self._decide(work, None)
        if first.action == "hand_off":
            work.decided = f"rule:{first.reason}"
            yield from self._say(work, policy.hand_off_text(lang), (), handoff=first.reason)
            return
        if first.action == "fixed":
            yield from self._say_fixed(work, first.reason or "")
            return
        earlier = earlier_questions(work.request, work.before)
        work.query = rewrite_follow_up(question, earlier)
        hits = self.search(work.query, lang=lang, limit=self.spec.articles)
        if named := entities([*earlier, question]):
            work.reading |= {"entities": named}
        work.found = tuple(_found(hit) for hit in hits)
        yield SectionsFound(citations=tuple(Citation.of(hit.section, hit.score) for hit in hits))
        # People see sentences that order or dictate; the model does not, and no customer is quoted them.
        safe = self._safe(hits)
        decision = self._decide(work, [hit.similarity for hit in safe])
        if decision.action == "fixed":
            yield from self._say_fixed(work, decision.reason or "")
            return
        if decision.action == "refuse":
            work.decided = decision.reason or NO_ARTICLE
            yield from self._say(work, self._refusal(policy, lang), (), handoff=decision.reason)
            return
        sections = [hit.section for hit in safe]
        if decision.action == "generate":
            turns = shown(work.request, work.before, self.settings.history_turns)
            prompt, fitted = truncate_prompt(self.spec, self.engine.vocab, lang, sections, turns, question, self._room)
            if fitted:
                read = {section.ref for section in fitted}
                work.found = tuple({**one, "shown": one["ref"] in read} for one in work.found)
                yield from write_draft(
                    work, prompt, cancel, self.engine, self.journal, self.settings,
                    most=self.spec.answer_tokens, stop_tokens=self._stop, clock=self._clock,
                )  # fmt: skip
                if cancel.is_set():
                    return
                if answer := work.draft.strip():
                    work.decided = "model"
                    yield self._done(work, answer, [hit for hit in safe if hit.section.ref in read])
                    return
        # The model may not write this language, no section fits into its context, or it had nothing to say.
        work.decided = "section"
        text = f"{policy.quote_text(lang)}\n{sections[0].text}"
        yield from self._say(work, text, sections[:1])

    def _safe(self, hits: Sequence[Hit]) -> list[Hit]:
        """The hits as the model reads them and customers are quoted them."""
        look = self._eye.dictated
        return [replace(hit, section=kept) for hit in hits if (kept := without_injected(hit.section, look))]

    def _guesses(self, question: str) -> tuple[Guess | None, Guess | None]:
        """What the bundle's heads say of a question: intent, emotion; None where it has no such head."""
        if not self.heads:
            return None, None
        vector = self.retriever.embedder.queries([question])[0]
        intent, emotion = (head.guess(question, vector) if (head := self.heads.get(kind)) else None for kind in KINDS)
        return intent, emotion

    def _decide(self, work: TurnState, similarities: Sequence[float] | None) -> Decision:
        """The policy's word, before the search (`similarities` None) and after it."""
        question, searched = work.request.question, similarities is not None
        return decide(
            work.policy,
            question=question,
            lang=work.lang,
            languages=self.spec.languages,
            similarities=similarities,
            orders=searched and is_injection(question),
            curated=work.curated.nearest(question) if searched else None,
            sure=sure(work.understood),
        )

    def _say(
        self, work: TurnState, text: str, cited: Sequence[Section], *, handoff: str | None = None
    ) -> Iterator[Event]:
        """Answer with a text that no model wrote."""
        self.engine.forget(work.key.conversation)
        text = work.lead + text
        work.draft = text
        work.first = self._clock()
        yield Token(text=text)
        citations = tuple(Citation.of(section) for section in cited)
        yield self._finish(work, text, citations, handoff=handoff)

    def _say_fixed(self, work: TurnState, name: str) -> Iterator[Event]:
        """Answer as somebody wrote it."""
        work.decided = f"fixed:{name}"
        fixed = next(one for one in work.policy.answer if one.id == name)
        yield from self._say(work, fixed.text, self._sections(fixed.evidence, work.lang))

    def _sections(self, references: Sequence[str], lang: str) -> list[Section]:
        """The sections of these references in a language; those the articles have no longer are left out."""
        found = (self.retriever.section(reference, lang) for reference in references)
        return [section for section in found if section and section.lang == lang]

    def _done(self, work: TurnState, answer: str, read: Sequence[Hit]) -> Done:
        """Check and cite what the model wrote from the sections it read."""
        if _says(answer, self.spec.refusal.get(work.lang, "")):
            return self._finish(work, answer, (), handoff=NO_ARTICLE)
        shown, scores = [hit.section for hit in read], {hit.section.ref: hit.score for hit in read}
        if leaks_system_prompt(answer, self.spec.system.get(work.lang, ""), shown):
            work.decided = WITHHELD
            return self._finish(work, self._refusal(work.policy, work.lang), (), handoff=WITHHELD)
        cosines = partial(self.retriever.cosines, work.query)
        if lines := extractive_fallback(answer, read, cosines, self.spec.min_agreement):
            work.decided = "lines"
            quote = f"{work.policy.quote_text(work.lang)}\n{render_quote(lines)}"
            rests = list(dict.fromkeys(line.section for line in lines))
            return self._finish(work, work.lead + quote, _citations(rests, scores), handoff=None)
        citations = _citations(cite(answer, shown), scores)
        # What the customer said may be repeated: an order number, a date.
        said = Section("", "", "", "", work.request.question, work.lang)
        marked = tuple(unsupported_claims(answer, [*shown, said]))
        return self._finish(work, answer, citations, handoff=None, marked=marked)

    def _finish(
        self,
        work: TurnState,
        answer: str,
        citations: tuple[Citation, ...],
        *,
        handoff: str | None,
        marked: tuple[str, ...] = (),
    ) -> Done:
        ended = done(work, answer, citations, model=self.model, handoff=handoff, unsupported=marked, now=self._clock())
        work.draft = answer
        self._end(work, "complete", ended)
        return ended

    def _end(self, work: TurnState, state: State, ended: Done | None = None) -> None:
        work.ended = True
        self.journal.end(
            work.key,
            state,
            work.draft,
            handoff=ended.handoff if ended else None,
            model=self.model,
            details=details(work, ended, self._clock()),
        )

    def _turns(self, request: AskRequest) -> list[StoredTurn]:
        return self.journal.turns(request.conversation) if request.conversation else []

    def _refusal(self, policy: Policy, lang: str) -> str:
        return policy.refusal.text or self.spec.refusal.get(lang) or next(iter(self.spec.refusal.values()))

    def policy(self, lang: str) -> Policy:
        """The policy of a language, or of the bundle's first where that has none."""
        return self._policies.of(lang).policy

    @property
    def _room(self) -> int:
        """Tokens a prompt may have, so that a whole answer fits behind it."""
        return self.engine.context_tokens - self.spec.answer_tokens


def _citations(sections: Sequence[Section], scores: Mapping[str, float]) -> tuple[Citation, ...]:
    return tuple(Citation.of(section, scores[section.ref]) for section in sections)


def _found(hit: Hit) -> dict[str, Any]:
    return {"ref": hit.section.ref, "score": round(hit.score, 4), "similarity": round(hit.similarity, 4)}


def _says(answer: str, refusal: str) -> bool:
    return bool(refusal) and " ".join(refusal.split()).casefold() in " ".join(answer.split()).casefold()
