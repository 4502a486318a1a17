"""What a model answers to held-out questions when it reads the articles retrieval finds, and how much of it is right.

The prompt, the retrieval and the engine are those of a branch. Promises: the same files give the same answers (greedy).
Knows nothing of how the model was made.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.desk import fit
from runtime.facts import facts_found, is_refusal
from runtime.prompt import PromptSpec
from runtime.record import Question, read_rows
from runtime.retrieval import Hit, Retriever


@dataclass(frozen=True)
class Answered:
    """One question and what a model made of it."""

    question: Question
    answer: str
    found: bool
    """Whether the evidence was among the sections in the prompt."""
    facts: float
    """Share of the expected facts in the answer; of an unanswerable question 1 when it was refused, else 0."""
    refused: bool


def load_questions(patterns: Iterable[str], languages: Sequence[str]) -> list[Question]:
    """Held-out questions of all files that match, in those languages, sorted by id."""
    import glob

    paths = sorted({path for pattern in patterns for path in glob.glob(pattern)})  # noqa: PTH207 - absolute patterns
    rows = [row for path in paths for row in read_rows(Question, Path(path))]
    return sorted((row for row in rows if row.lang in languages), key=lambda row: row.id)


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
    retriever: Retriever,
    spec: PromptSpec,
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[Answered]:
    """Let the model in `gguf` answer each question from the sections retrieval finds, greedily."""
    from runtime.engine import Engine, SamplingParams

    never = threading.Event()
    out = []
    with Engine(gguf, context_tokens=spec.context_tokens, threads=threads) as engine:
        stop = frozenset(engine.vocab.control_token(text) for text in spec.pieces.stop)
        params = SamplingParams(max_tokens=spec.answer_tokens, stop=stop)
        for question in questions:
            hits: list[Hit] = retriever.search(question.question, lang=question.lang, limit=spec.articles)
            room = engine.context_tokens - spec.answer_tokens
            sections = [hit.section for hit in hits]
            tokens, shown = fit(spec, engine.vocab, question.lang, sections, (), question.question, room)
            answer = "".join(piece.text for piece in engine.generate(tokens, params, never)).strip()
            out.append(judge(question, answer, [section.ref for section in shown], spec))
            advance(1)
    return out


def judge(question: Question, answer: str, refs: Sequence[str], spec: PromptSpec) -> Answered:
    """Compare one answer with what was expected (pure)."""
    refused = is_refusal(answer, spec.refusal.get(question.lang) or next(iter(spec.refusal.values())))
    if question.answerable:
        facts = 0.0 if refused else facts_found(answer, question.facts)
        return Answered(question, answer, bool(set(refs) & set(question.evidence)), facts, refused)
    return Answered(question, answer, False, float(refused), refused)


def summary(answers: Sequence[Answered]) -> dict[str, float]:
    """Shares from 0 to 1: facts found and evidence in the prompt over the answerable, refusals right and wrong."""
    with_facts = [a for a in answers if a.question.answerable and a.question.facts]
    answerable = [a for a in answers if a.question.answerable]
    others = [a for a in answers if not a.question.answerable]

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / len(values), 4) if values else 0.0

    return {
        "questions": len(answers),
        "facts_found": mean([a.facts for a in with_facts]),
        "evidence_in_prompt": mean([float(a.found) for a in answerable]),
        "refused_wrongly": mean([float(a.refused) for a in answerable]),
        "refused_rightly": mean([a.facts for a in others]),
    }


def rows(answers: Sequence[Answered]) -> list[dict[str, Any]]:
    """The answers as JSON rows, for a report."""
    return [
        {"id": a.question.id, "question": a.question.question, "answer": a.answer, "facts": a.facts, "found": a.found}
        for a in answers
    ]
