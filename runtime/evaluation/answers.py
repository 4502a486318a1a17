"""Asks held-out questions the way a branch is asked: through the desk's own steps, with a model's GGUF behind them.

Promises: rules, retrieval, withheld sentences, prompt, checks and quotes are the desk's (`runtime.desk.turn_steps`);
nothing is written to a journal; the same files give the same answers (greedy). `runtime.evaluation.answer_metrics`
judges the answers. Knows nothing of how the model was made.
"""

from __future__ import annotations

import glob
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from runtime.base.jsonl import read_rows
from runtime.base.settings import Settings
from runtime.desk.active_policy import ActivePolicy, FixedAnswerIndex
from runtime.desk.policy import Policy
from runtime.desk.turn_state import TurnState
from runtime.desk.turn_steps import AFTER_MODEL, TurnTools, prepare_prompt
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.scorer import LlamaScorer
from runtime.errors import MissingError, ModelError
from runtime.evaluation.answer_metrics import Answered, judge
from runtime.events import AskRequest, Citation
from runtime.prompting.prompt_spec import PromptSpan, PromptSpec, Tokenizer, encode
from runtime.prompting.prompt_tokens import LAYOUTS, Layout, Prompt
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.retriever import Hit, Retriever
from runtime.text.articles import Section, guess_language
from runtime.text.records import Question, Turn
from runtime.understanding.desk_classifiers import DeskClassifiers


class SectionFinder(Protocol):
    """What finds the sections of a prompt; a `Retriever` does."""

    def search(
        self, question: str, *, lang: str | None, limit: int, branch: str = "", internal: bool = True
    ) -> Sequence[Hit]:
        """The best sections, best first."""
        ...

    def cosines(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """How near each of any texts is to a question."""
        ...


def find_questions(given: Sequence[str]) -> list[str]:
    """Files, or patterns of files in the current folder, as patterns that match each file alone.

    A file that is there is taken by its name, whatever signs of a pattern are in it or in the names of its folders.
    `MissingError` for one that matches nothing, even where others do.
    """
    found: list[str] = []
    for word in given:
        pattern = word if Path(word).is_absolute() else f"{glob.escape(str(Path.cwd()))}/{word}"
        names = [str(Path(word).absolute())] if Path(word).is_file() else sorted(glob.glob(pattern))  # noqa: PTH207
        files = [name for name in names if Path(name).is_file()]
        if not files:
            raise MissingError(f"no question file matches '{word}'", hint="check the path")
        found += [glob.escape(name) for name in files]
    return found


def load_questions(patterns: Iterable[str], languages: Sequence[str] | None = None) -> list[Question]:
    """Held-out questions of all files that match, in those languages or in any, sorted by id."""
    paths = sorted({path for pattern in patterns for path in glob.glob(pattern)})  # noqa: PTH207 - absolute patterns
    rows = [
        row.model_copy(
            update={"id": row.id or f"{Path(path).stem}-{place}", "lang": row.lang or guess_language(row.question)}
        )
        for path in paths
        for place, row in enumerate(read_rows(Question, Path(path)), start=1)
    ]
    return sorted((row for row in rows if languages is None or row.lang in languages), key=lambda row: row.id)


def sample(questions: Sequence[Question], count: int) -> list[Question]:
    """`count` questions spread by a hash of their ids, the answerable and the others in their proportion."""
    if count >= len(questions):
        return list(questions)

    def key(question: Question) -> str:
        return hashlib.sha256(question.id.encode()).hexdigest()

    yes = sorted((q for q in questions if q.answerable), key=key)
    no = sorted((q for q in questions if not q.answerable), key=key)
    of_no = round(count * len(no) / len(questions))
    return yes[: count - of_no] + no[:of_no]


def answer_questions(
    gguf: Path,
    questions: Sequence[Question],
    retriever: SectionFinder,
    spec: PromptSpec,
    *,
    policies: Mapping[str, Policy] | None = None,
    classifiers: DeskClassifiers | None = None,
    contexts: Mapping[str, tuple[Turn, ...]] | None = None,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[Answered]:
    """What the desk answers to each question with the model in `gguf`, greedily.

    A question is the first turn of a conversation, or comes after the turns that `contexts` has under its id.

    The steps are the desk's own (`runtime.desk.turn_steps`), with `policies` by language, `classifiers` by kind and the
    classifiers of dictated sentences and of answerable questions; without one of these, the desk has none either.
    Articles are read in the layout of `spec`; `ModelError` where this model cannot. Where questions bring a reference
    reply, the model is also asked how likely it finds it.
    """
    out: list[Answered] = []
    prompts: list[list[int]] = []
    wanted: Layout = next((layout for layout in LAYOUTS if layout == spec.layout), "exact")
    with (
        tempfile.TemporaryDirectory() as folder,
        LlamaEngine(
            EngineOptions(
                gguf,
                context_tokens=spec.context_tokens,
                threads=threads,
                slots=1,
                layout=wanted,
                article_folder=Path(folder),
            )
        ) as engine,
    ):
        if engine.layout != wanted:
            raise ModelError(
                f"articles cannot be read '{wanted}': {engine.layout_reason}",
                where=str(gguf),
                hint='ask with the layout "exact" in prompt.json',
            )
        tools = desk_tools(
            spec, engine.vocab, retriever, classifiers, prompt_tokens=engine.context_tokens - spec.answer_tokens,
            threads=threads,
        )  # fmt: skip
        active = active_policies(retriever, policies or {})
        for question in questions:
            state = first_state(question, active, (contexts or {}).get(question.id, ()))
            answered, prompt = _answer(question, tools, state, engine)
            out.append(answered)
            prompts.append(prompt.flat() if prompt else [])
            advance(1)
    if any(question.reference for question in questions):
        return _surprised(gguf, out, prompts, spec, threads)
    return out


_NO_ENCODER = cast("Embedder", None)
"""For a policy without fixed answers, which embeds nothing."""
_NOBODYS = ActivePolicy(Policy(), FixedAnswerIndex(Policy(), _NO_ENCODER))


def desk_tools(
    spec: PromptSpec,
    tokenizer: Tokenizer,
    retriever: SectionFinder,
    classifiers: DeskClassifiers | None,
    *,
    prompt_tokens: int,
    threads: int,
) -> TurnTools:
    """What the desk's steps need, for questions that are measured."""
    return TurnTools(
        spec=spec,
        tokenizer=tokenizer,
        retriever=cast("Retriever", retriever),
        classifiers=classifiers or DeskClassifiers(),
        settings=Settings(threads=threads),
        prompt_tokens=prompt_tokens,
    )


def active_policies(retriever: SectionFinder, policies: Mapping[str, Policy]) -> dict[str, ActivePolicy]:
    """The policies by language, with their fixed answers embedded."""
    encoder = cast("Retriever", retriever).embedder if any(each.answer for each in policies.values()) else _NO_ENCODER
    return {lang: ActivePolicy(policy, FixedAnswerIndex(policy, encoder)) for lang, policy in policies.items()}


def first_state(question: Question, active: Mapping[str, ActivePolicy], before: tuple[Turn, ...] = ()) -> TurnState:
    """A question as it reaches the desk, after the turns `before`; without a policy of its language, by no rule."""
    request = AskRequest(question=question.question, lang=question.lang, context=before)
    return TurnState(request, question.lang, (), active.get(question.lang, _NOBODYS))


def _answer(
    question: Question, tools: TurnTools, state: TurnState, engine: LlamaEngine
) -> tuple[Answered, Prompt | None]:
    """One question through the desk's steps; times from the moment it is asked."""
    started = time.perf_counter()
    first: float | None = None
    state = prepare_prompt(tools, state)
    if state.prompt and not state.answer:
        params = SamplingParams(
            max_tokens=tools.spec.answer_tokens,
            stop=frozenset(engine.vocab.control_token(text) for text in tools.spec.pieces.stop),
        )
        draft = ""
        for piece in engine.generate(state.prompt, params, threading.Event()):
            first = first or time.perf_counter() - started
            draft += piece.text
        state = replace(state, draft=draft)
    for step in AFTER_MODEL:
        if not state.answer:
            state = step(tools, state)
    took = time.perf_counter() - started
    answer = state.answer
    assert answer is not None  # the last step always answers
    read = {one.ref for one in state.details.found if one.shown}
    shown = [hit.section for hit in state.safe if hit.section.ref in read]
    # A fixed answer and a quoted section rest on what they cite, which no model read.
    shown += [section for one in answer.citations if (section := _cited(one)) not in shown]
    judged = judge(question, answer.text, shown, tools.spec, written=state.draft.strip() or "", handoff=answer.handoff)
    return replace(judged, first_s=took if first is None else first, took_s=took), state.prompt


def _cited(one: Citation) -> Section:
    return Section(one.article, one.section, one.title, one.heading, one.text, one.lang, one.audience)


def _surprised(
    gguf: Path, answers: Sequence[Answered], prompts: Sequence[list[int]], spec: PromptSpec, threads: int
) -> list[Answered]:
    """The answers with the likelihood of their references; one without a prompt, or too long, has none."""
    out = []
    with LlamaScorer(gguf, context=spec.context_tokens, threads=threads) as model:
        end = [PromptSpan(text, True) for text in spec.pieces.stop[:1]]
        for answered, prompt in zip(answers, prompts, strict=True):
            reference = answered.question.reference
            reply = encode([PromptSpan(reference, False), *end], model.vocab) if reference else []
            if prompt and reply and len(prompt) + len(reply) <= spec.context_tokens:
                logits = model.logits([*prompt, *reply[:-1]], len(prompt) - 1).astype(np.float64)
                chosen = logits[np.arange(len(reply)), reply]
                surprise = float((np.logaddexp.reduce(logits, axis=-1) - chosen).sum())
                answered = replace(answered, surprise=(surprise, len(reply)))
            out.append(answered)
    return out
