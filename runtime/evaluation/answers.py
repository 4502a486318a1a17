"""What a model answers to held-out questions when it reads the articles retrieval finds.

The prompt, the retrieval, the rules and the engine are those of a branch. Promises: the same files give the same
answers (greedy). What the answers are worth is the business of `runtime.evaluation.answer_metrics`; knows nothing of
how the model was made.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from runtime.base.jsonl import read_rows
from runtime.desk.policy import Policy
from runtime.errors import ModelError
from runtime.evaluation.answer_metrics import Answered, judge
from runtime.grounding.extractive_answer import extractive_fallback, render_quote
from runtime.grounding.fact_matching import is_refusal
from runtime.prompting.prompt_spec import PromptSpan, PromptSpec, encode
from runtime.prompting.truncate import truncate_prompt
from runtime.retrieval.retriever import Hit
from runtime.text.articles import guess_language
from runtime.text.records import Question


class SectionFinder(Protocol):
    """What finds the sections of a prompt; a `Retriever` does."""

    def search(self, question: str, *, lang: str | None, limit: int) -> Sequence[Hit]:
        """The best sections, best first."""
        ...

    def cosines(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """How near each of any texts is to a question."""
        ...


def load_questions(patterns: Iterable[str], languages: Sequence[str] | None = None) -> list[Question]:
    """Held-out questions of all files that match, in those languages or in any, sorted by id."""
    import glob

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
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[Answered]:
    """Let the model in `gguf` answer each question from the sections retrieval finds, greedily.

    Articles are read in the layout of `spec`, as a branch would; `ModelError` where this model cannot. `policies` by
    language tell which questions the desk hands to a person before any model is asked. Where questions bring a
    reference reply, the model is also asked how likely it finds it.
    """
    from runtime.engine.core.options import EngineOptions
    from runtime.engine.core.sampling_params import SamplingParams
    from runtime.engine.llama.engine import LlamaEngine
    from runtime.prompting.prompt_tokens import LAYOUTS, Layout

    never = threading.Event()
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
        stop = frozenset(engine.vocab.control_token(text) for text in spec.pieces.stop)
        params = SamplingParams(max_tokens=spec.answer_tokens, stop=stop)
        room = engine.context_tokens - spec.answer_tokens
        for question in questions:
            policy = (policies or {}).get(question.lang)
            hits = retriever.search(question.question, lang=question.lang, limit=spec.articles)
            sections = [hit.section for hit in hits]
            prompt, shown = truncate_prompt(spec, engine.vocab, question.lang, sections, (), question.question, room)
            if question.lang in spec.languages:
                written = "".join(piece.text for piece in engine.generate(prompt, params, never)).strip()
                read = [hit for hit in hits if hit.section in shown]
                served = _served(question, written, read, retriever, spec)
            else:  # the desk shows the section itself
                written, served = "", sections[0].text if sections else ""
            out.append(judge(question, served, shown, spec, policy, written=written))
            prompts.append(prompt.flat())
            advance(1)
    if any(question.reference for question in questions):
        return _surprised(gguf, out, prompts, spec, threads)
    return out


def _served(question: Question, written: str, read: Sequence[Hit], retriever: SectionFinder, spec: PromptSpec) -> str:
    """What the desk shows of an answer: the articles' own sentences where the model is not to be trusted."""
    if is_refusal(written, spec.refusal.get(question.lang, "")):
        return written
    lines = extractive_fallback(written, read, partial(retriever.cosines, question.question), spec.min_agreement)
    return render_quote(lines) if lines else written


def _surprised(
    gguf: Path, answers: Sequence[Answered], prompts: Sequence[list[int]], spec: PromptSpec, threads: int
) -> list[Answered]:
    """The answers with the likelihood of their references; one that does not fit into the context has none."""
    from runtime.engine.llama.scorer import LlamaScorer

    out = []
    with LlamaScorer(gguf, context=spec.context_tokens, threads=threads) as model:
        end = [PromptSpan(text, True) for text in spec.pieces.stop[:1]]
        for answered, prompt in zip(answers, prompts, strict=True):
            reference = answered.question.reference
            reply = encode([PromptSpan(reference, False), *end], model.vocab) if reference else []
            if reply and len(prompt) + len(reply) <= spec.context_tokens:
                logits = model.logits([*prompt, *reply[:-1]], len(prompt) - 1).astype(np.float64)
                chosen = logits[np.arange(len(reply)), reply]
                surprise = float((np.logaddexp.reduce(logits, axis=-1) - chosen).sum())
                answered = replace(answered, surprise=(surprise, len(reply)))
            out.append(answered)
    return out
