"""The desk: one customer question from its arrival to its answer.

    store -> the steps of runtime.desk.turn_steps, with the model in their middle -> store -> done

Promises: the question is on disk before anything is computed, the draft as it grows; a question always ends in the
journal as complete, cancelled or failed; where the model cannot answer, the article itself is shown or a person is
offered, and the answer says why. Knows nothing of sockets and screens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, get_args
from uuid import uuid4

from runtime.base.manifest import digest
from runtime.base.settings import Settings
from runtime.desk.ab_test import Trial
from runtime.desk.active_policy import PolicySelector
from runtime.desk.answer_ahead import AheadCounts, refuse_draft
from runtime.desk.drafting import sampling_of, write_draft
from runtime.desk.history import TURNS_READ, bound_texts, bound_turns, language_of, readable
from runtime.desk.policy import Policy
from runtime.desk.prefetch import Prefetcher, PrefetchStatus, TypingRequest
from runtime.desk.turn_state import Answer, Draft, TurnState, done_event, final_details
from runtime.desk.turn_steps import AFTER_MODEL, BEFORE_MODEL, TurnTools, prepare_prompt
from runtime.engine.core.memory_capacity import available_bytes
from runtime.errors import EdgedeskError, InputError
from runtime.events import AskRequest, Done, Event, Failed, Stored, Token
from runtime.journal.inbox import Inbox
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import State, StoredTurn, TurnKey
from runtime.journal.turn_details import Arm, TurnDetails
from runtime.prompting.encode import without_closing
from runtime.prompting.prompt_spec import encode, layout
from runtime.text.normalize import without_invisible
from runtime.text.records import Emotion
from runtime.understanding.desk_classifiers import DeskClassifiers

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.engine.core.generation import Flag
    from runtime.engine.core.interface import TextEngine
    from runtime.engine.core.sampling_params import SamplingParams
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
        candidate: Desk | None = None,
        candidate_error: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`candidate` is the desk of a model under A/B test: it answers its arm's conversations, in the same journal.

        `candidate_error` says why there is none although the test names one.
        """
        self.bundle = bundle
        self.engine = engine
        self.retriever = retriever
        self.journal = journal
        self.inbox = Inbox(journal)
        self.settings = settings
        self.candidate = candidate
        self.candidate_error = candidate_error
        self._clock = clock
        self._trial = trial
        self._prefetcher = Prefetcher(
            engine,
            self._foresee,
            lay_out_whole=self._foresee_whole,
            may_draft=self._may_draft,
            ahead_tokens=settings.draft_ahead_tokens,
            max_chars=settings.question_chars,
        )
        self._policies = PolicySelector(bundle, retriever.embedder, trial)
        self.personal_rules = self._policies.personal
        """What only this company calls an order number or a customer's id."""
        self._stop_tokens = frozenset(engine.vocab.control_token(text) for text in bundle.prompt.pieces.stop)
        self._tools = TurnTools(
            spec=bundle.prompt,
            tokenizer=engine.vocab,
            retriever=retriever,
            classifiers=DeskClassifiers.of_bundle(bundle.root, retriever.embedder),
            settings=settings,
            prompt_tokens=engine.context_tokens - bundle.prompt.answer_tokens,
        )
        file = bundle.model_path if settings.runtime == "llama" else bundle.onnx_path
        self.model = f"{bundle.info.name}-{bundle.info.version}/{file.stem}"

    @property
    def labels(self) -> dict[str, list[str]]:
        """The names of intents and emotions that a person may correct to, sorted."""
        known = {kind: set(head.labels) for kind, head in self._tools.classifiers.kinds.items()}
        emotions = self._policies.tone_names | set(get_args(Emotion)) | known.get("emotion", set())
        return {"intents": sorted(known.get("intent", set())), "emotions": sorted(emotions)}

    @property
    def hand_off_reasons(self) -> frozenset[str]:
        """Reasons this desk gives by itself; any other is an agent's own words."""
        return self._policies.hand_off_reasons

    def policy(self, lang: str) -> Policy:
        """The policy of a language, or of the bundle's first where that has none."""
        return self._policies.policy_for(lang).policy

    def check_question(self, request: AskRequest) -> None:
        """Refuse a question that cannot be answered: `InputError`, with the counts where it is too long."""
        question = request.question
        if len(question) > self.settings.question_chars:
            raise InputError(
                f"the question has {len(question):,} characters, {self.settings.question_chars:,} are allowed",
                hint="ask a shorter question",
            )
        if not without_invisible(question).strip():
            raise InputError("the question is empty", hint="write a question")
        spec, most = self.bundle.prompt, self._tools.prompt_tokens
        # Without the earlier turns: they are left out before the question is, so they never make it too long.
        spans = layout(spec, language_of(request, ()), (), (), question).spans()
        if (count := len(encode(spans, self.engine.vocab))) > most:
            raise InputError(
                f"the question makes a prompt of {count:,} tokens, {most:,} fit", hint="ask a shorter question"
            )

    def search(
        self, question: str, *, lang: str | None, limit: int, product: str = "", internal: bool = True
    ) -> list[Hit]:
        """The sections that answer a question in this branch, best first; without `internal` only published ones."""
        return self.retriever.search(
            without_invisible(question),
            lang=lang,
            limit=limit,
            branch=self.settings.branch,
            product=product,
            internal=internal,
        )

    def ask(self, request: AskRequest, cancel: Flag, *, agent: str = "") -> Iterator[Event]:
        """The events of one answer, see `runtime.events`; `agent` is who asks.

        Ends with `Done` or `Failed`, or without either when `cancel` was set; closing the iterator cancels as well.
        """
        try:
            self.check_question(request)
            # The arm of an A/B test hangs on the conversation's name, so a new one needs its name before its policy.
            name = request.conversation or uuid4().hex
            request = bound_texts(request, self.settings.question_chars).model_copy(update={"conversation": name})
            before = self._before(request)
            arm = self._arm(request, before, agent)
            desk = self._desk_of(arm)
            key = self.journal.ask(name, request.question, language_of(request, before))
            yield from desk._answer(key, desk._state(request, before, arm), cancel)
        except EdgedeskError as error:
            yield Failed.of(error)

    def basis(self, request: AskRequest) -> str:
        """A digest of what the answer will be made from: the prompt, the sections behind it, what rules decide.

        While model and settings stay, questions of an equal basis get equal answers, but for sampling. Nothing is
        stored and the model is not asked.
        """
        before = self._before(request)
        state = prepare_prompt(self._tools, self._state(request, before, None))
        sections = [(hit.section, hit.special, hit.disputed, [one.reply for one in hit.earlier]) for hit in state.safe]
        shown = state.prompt.flat() if state.prompt else None
        return digest([repr(sections), shown, repr(state.answer), state.lead])

    def read_ahead(self, request: TypingRequest, *, agent: str = "") -> PrefetchStatus:
        """Look up and read a question while it is typed, see `runtime.desk.prefetch`; nothing of it is stored."""
        conversation = request.conversation or uuid4().hex
        if not self.settings.read_ahead:
            return PrefetchStatus(conversation, "off", 0)
        request = request.model_copy(update={"conversation": conversation})
        desk = self
        if self.candidate:
            question = request.as_question()
            desk = self._desk_of(self._arm(question, self._before(question), agent))
        return desk._prefetcher.typed(request)

    def draft_message(self, key: TurnKey, request: AskRequest, cancel: Flag, *, agent: str = "") -> bool:
        """Draft an answer to a stored message in steps that nobody waits for, and store it when it is whole.

        False, and the message as it was, where a draft ahead is switched off, the text cannot be asked, an agent was
        faster, or `cancel` was set.
        """
        if not (self.settings.read_ahead and self.settings.draft_ahead_tokens):
            return False
        with suppress(InputError):
            self.check_question(request)
            before = [turn for turn in self._before(request) if turn.key.number < key.number]
            arm = self._arm(request, before, agent)
            desk = self._desk_of(arm)
            return desk._draft_stored(key, desk._state(request, before, arm), cancel)
        return False

    def _draft_stored(self, key: TurnKey, state: TurnState, cancel: Flag) -> bool:
        """The steps of `draft_message`; see there."""
        draft = Draft(arrived=self._clock(), stored=self._clock())
        state = prepare_prompt(self._tools, state)
        if state.prompt and not state.answer and not self.engine.refuses(state.prompt):
            if not self._write_unasked(state, cancel):
                return False
            # It is whole in a moment: no half of it is stored, and the first word is not one that somebody waited for.
            draft.arrived = draft.stored = self._clock()
            for _ in self._write(key, state, draft, cancel):
                pass
            state = replace(state, draft=draft.text)
        state, answer = self._conclude(state)
        with self.journal.transaction():
            if cancel.is_set() or not self._is_untouched(key):
                return False
            draft.text, draft.first = answer.text, draft.first or self._clock()
            done = done_event(state, answer, draft, model=self.model, now=self._clock())
            self.journal.end(
                key,
                "complete",
                done.answer,
                handoff=done.handoff,
                model=self.model,
                details=final_details(state, draft, done, now=self._clock()),
            )
        return True

    def _write_unasked(self, state: TurnState, cancel: Flag) -> bool:
        """Let the engine write all of a draft while nobody waits; False where something took its place."""
        assert state.prompt is not None
        most, conversation = self.bundle.prompt.answer_tokens, state.request.conversation or ""
        params = sampling_of(state.request, self.settings, max_tokens=most, stop_tokens=self._stop_tokens)
        generation = self.engine.draft(state.prompt, params, cancel, conversation=conversation, ahead_tokens=most)
        self._prefetcher.ledger.begun(generation, draft=True)
        for _ in generation:
            pass
        return generation.stats.finish != "cancelled"

    def _write(self, key: TurnKey, state: TurnState, draft: Draft, cancel: Flag) -> Iterator[Event]:
        """The model writes, or goes on with what it wrote ahead."""
        yield from write_draft(
            key, state, draft, cancel, self.engine, self.journal, self.settings,
            max_tokens=self.bundle.prompt.answer_tokens, stop_tokens=self._stop_tokens, clock=self._clock,
        )  # fmt: skip
        if draft.ahead_tokens:
            self._prefetcher.ledger.used(draft.ahead_tokens)

    def _conclude(self, state: TurnState) -> tuple[TurnState, Answer]:
        """The steps after the model, or after the step that answered."""
        for step in AFTER_MODEL:
            if not state.answer:
                state = step(self._tools, state)
        assert state.answer is not None  # the last step always answers
        return state, state.answer

    def _is_untouched(self, key: TurnKey) -> bool:
        """Whether a stored message is the conversation's newest and nobody has answered it."""
        newest = self.journal.turns(key.conversation, newest=1)
        return bool(newest) and newest[0].key == key and not newest[0].draft and newest[0].feedback is None

    def forget_abandoned(self) -> None:
        """Drop what was read and written ahead of a text that nobody went on typing."""
        self._prefetcher.forget_abandoned()
        if self.candidate:
            self.candidate.forget_abandoned()

    @property
    def ahead(self) -> AheadCounts:
        """What was read and written before questions came, by the desk on trial too."""
        own = self._prefetcher.ledger.counts()
        return own + self.candidate.ahead if self.candidate else own

    def _before(self, request: AskRequest) -> list[StoredTurn]:
        """The newest turns of the request's conversation, oldest first."""
        turns = self.journal.turns(request.conversation, newest=TURNS_READ) if request.conversation else []
        return bound_turns(turns, self.settings.question_chars)

    def _desk_of(self, arm: Arm | None) -> Desk:
        return self.candidate if arm == "candidate" and self.candidate else self

    def _arm(self, request: AskRequest, before: list[StoredTurn], agent: str) -> Arm | None:
        """The arm of a conversation in the A/B test; None where it takes no part."""
        trial = self._trial
        if trial is None or not request.conversation or (trial.policy is None and self.candidate is None):
            return None
        name = trial.experiment.name
        kept = next((turn.details.arm for turn in before if turn.details.experiment == name), None)
        return trial.arm(language_of(request, before), request.conversation, agent, kept)

    def _state(self, request: AskRequest, before: list[StoredTurn], arm: Arm | None) -> TurnState:
        """A turn before its first step."""
        lang = language_of(request, before)
        test = self._trial.experiment.name if arm and self._trial else ""
        details = TurnDetails(experiment=test, arm=arm)
        return TurnState(readable(request), lang, tuple(before), self._policies.policy_for(lang, arm), details)

    def _foresee(self, request: AskRequest) -> Prompt | None:
        """The prompt of a question whose next words are still to come; None where the model would not be asked."""
        before = self._before(request)
        state = prepare_prompt(self._tools, self._state(request, before, self._arm(request, before, "")))
        if state.prompt is None:
            return None
        return without_closing(self.bundle.prompt, self.engine.vocab, state.prompt)

    def _foresee_whole(self, request: AskRequest) -> tuple[Prompt, SamplingParams] | None:
        """The prompt of a question that may be whole, and how its draft is written."""
        before = self._before(request)
        state = prepare_prompt(self._tools, self._state(request, before, self._arm(request, before, "")))
        if state.prompt is None or state.answer is not None or self.engine.refuses(state.prompt):
            return None
        most = self.bundle.prompt.answer_tokens
        return state.prompt, sampling_of(state.request, self.settings, max_tokens=most, stop_tokens=self._stop_tokens)

    def _may_draft(self) -> bool:
        """Whether a draft that nobody has asked for may be begun now."""
        return not refuse_draft(
            ahead_tokens=self.settings.draft_ahead_tokens,
            answering=self.engine.answering,
            available_bytes=available_bytes(),
        )

    def _answer(self, key: TurnKey, state: TurnState, cancel: Flag) -> Iterator[Event]:
        """The steps of a stored question, and its end in the journal however it comes."""
        now = self._clock()
        draft = Draft(arrived=now, stored=now)
        ended = False

        def end(outcome: State, done: Done | None = None, error: str = "") -> None:
            nonlocal ended
            ended = True
            self.journal.end(
                key,
                outcome,
                done.answer if done else draft.text,
                handoff=done.handoff if done else None,
                model=self.model,
                details=final_details(state, draft, done, now=self._clock(), error=error),
            )

        self._prefetcher.asked(key.conversation)
        try:
            yield Stored(conversation=key.conversation, turn=key.number, lang=state.lang)
            for step in BEFORE_MODEL:
                seen = len(state.events)
                state = step(self._tools, state)
                yield from state.events[seen:]
                if state.answer:
                    break
            # A question that has ended the engine's process before is answered by the article itself.
            if state.prompt and not state.answer and not self.engine.refuses(state.prompt):
                yield from self._write(key, state, draft, cancel)
                if cancel.is_set():
                    return
                state = replace(state, draft=draft.text)
            state, answer = self._conclude(state)
            if not draft.text:
                # No model wrote: what was read ahead for this conversation is of no more use.
                self.engine.forget(key.conversation)
                draft.text, draft.first = answer.text, self._clock()
                yield Token(text=answer.text)
            done = done_event(state, answer, draft, model=self.model, now=self._clock())
            end("complete", done)
            yield done
        except GeneratorExit:
            if not ended:
                end("cancelled")
            raise
        except Exception as error:
            if not ended:
                # What went wrong first is what the caller must hear, even where the journal cannot be written either.
                with suppress(EdgedeskError):
                    end("failed", error=str(error))
            raise
        finally:
            if not ended:
                end("cancelled" if cancel.is_set() else "failed")
