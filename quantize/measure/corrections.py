"""Asks the released file what agents corrected, the way a branch is asked, for the improvement receipt.

Promises: a correction passes by what the desk shows, not by what the model wrote beneath it
(`runtime.feedback.receipt`); the receipt holds keys and verdicts, no text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantize.measure.answer_quality import AnswerStudy
from runtime.base.files import write_atomic
from runtime.base.progress import bar
from runtime.evaluation.answers import answer_questions
from runtime.feedback.learning import Correction
from runtime.feedback.receipt import RECEIPT, CorrectionOutcome, ImprovementReceipt, answers_right
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import load_articles
from runtime.text.records import Question


@dataclass(frozen=True)
class CheckedCorrections:
    """The figures of the stage."""

    corrections: int
    passed: int


def check_corrections(
    study: AnswerStudy, corrections: Sequence[Correction], out: Path, *, release: str
) -> CheckedCorrections:
    """Ask the study's default model every correction's question; writes receipt.json into `out`."""
    questions = [Question(id=one.key, lang=one.lang, question=one.question) for one in corrections]
    with (
        tempfile.TemporaryDirectory() as index,
        Retriever.build(
            load_articles(study.articles),
            Embedder(study.embedder, threads=study.threads),
            Path(index),
            asked=study.past_questions,
            shipped=study.vectors,
        ) as retriever,
        bar("asking what was corrected", len(questions), unit="questions") as advance,
    ):
        answers = answer_questions(
            study.models[study.default],
            questions,
            retriever,
            study.spec,
            policies=study.policies,
            contexts={one.key: one.context for one in corrections},
            threads=study.threads,
            advance=advance,
            classifiers=study.desk_classifiers(retriever.embedder),
        )
    outcomes = tuple(
        CorrectionOutcome(key=one.key, passes=answers_right(one, got.answer, refused=got.refused))
        for one, got in zip(corrections, answers, strict=True)
    )
    receipt = ImprovementReceipt(release=release, corrections=outcomes)
    write_atomic(out / RECEIPT, receipt.model_dump_json(indent=1) + "\n")
    return CheckedCorrections(len(outcomes), receipt.passed)
