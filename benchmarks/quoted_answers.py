"""Claim: a model of 135 million parameters that learned to quote writes half of the facts, and the desk shows no fewer.

Hand-written questions that the articles answer go through the desk's own steps with an installed bundle. `written` are
the expected facts in the model's own draft, `shown` those in what the desk shows in its place or leaves of it, `first`
those in the first section found and `found` those in all sections found: what quoting can reach at most. `fewer` counts
questions of which less is shown than was written. A language that the model does not write has no draft; its sections
are quoted.

    python benchmarks/quoted_answers.py [--home FOLDER] [--gguf FILE] [--questions PATTERN] [--count N] [--json]

`--gguf` asks another checkpoint of the same recipe, such as one tuned on replies as they were written. `--quick` asks
24 questions a language.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from _harness import SHOP, Bar, Run, begin, main

from runtime.base.home import find_home
from runtime.base.progress import bar
from runtime.bundle.generations import current_bundle
from runtime.desk.policy import read_policy
from runtime.evaluation.answer_metrics import Answered
from runtime.evaluation.answers import answer_questions, find_questions, load_questions, sample
from runtime.grounding.fact_matching import facts_found
from runtime.retrieval.retriever import Retriever
from runtime.text.records import Question
from runtime.text.tokens import terms
from runtime.understanding.desk_classifiers import DeskClassifiers

BARS = {"written": Bar(least=0.5), "shown, en": Bar(least=0.75), "shown, zh": Bar(least=0.75), "fewer": Bar(most=0)}
LANGUAGES = ("en", "zh")


def reachable(questions: Sequence[Question], retriever: Retriever, limit: int) -> tuple[float, float]:
    """Facts in the first section found, and in all that a prompt holds."""
    first = whole = 0.0
    for question in questions:
        hits = retriever.search(question.question, lang=question.lang, limit=limit, internal=True)
        texts = [hit.section.text for hit in hits]
        first += facts_found(" ".join(texts[:1]), question.facts)
        whole += facts_found(" ".join(texts), question.facts)
    return first / len(questions), whole / len(questions)


def work(run: Run) -> None:
    """Ask all questions of each language and compare what was written with what is shown."""
    options = run.options
    bundle = current_bundle(find_home(options.home))
    gguf = options.gguf or bundle.model_path
    patterns = options.questions or [str(SHOP / lang / "questions-*.jsonl") for lang in LANGUAGES]
    asked = [row for row in load_questions(find_questions(patterns), LANGUAGES) if row.answerable and row.facts]
    policies = {lang: read_policy(bundle.policy_path(lang)) for lang in LANGUAGES}
    run.row("", "questions", "written", "shown", "fewer", "first section", "all found", "terms shown")
    run.figures["fewer"] = 0
    with tempfile.TemporaryDirectory() as index, Retriever.open(bundle, Path(index)) as retriever:
        classifiers = DeskClassifiers.of_bundle(bundle.root, retriever.embedder)
        for lang in LANGUAGES:
            rows = [row for row in asked if row.lang == lang]
            rows = sample(rows, 24 if options.quick else options.count or len(rows))
            if not rows:
                continue
            with bar(f"asking in {lang}", len(rows), unit="questions") as advance:
                answers = answer_questions(
                    gguf, rows, retriever, bundle.prompt,
                    policies=policies, classifiers=classifiers, threads=options.threads, advance=advance,
                )  # fmt: skip
            _report(run, lang, answers, reachable(rows, retriever, bundle.prompt.articles))


def _report(run: Run, lang: str, answers: Sequence[Answered], most: tuple[float, float]) -> None:
    wrote = [row for row in answers if row.written_facts is not None and not row.refused]
    written = sum(row.written_facts or 0.0 for row in answers) / len(answers)
    shown = sum(row.facts for row in answers) / len(answers)
    fewer = sum(row.facts < (row.written_facts or 0.0) - 1e-9 for row in wrote)
    length = sum(len(terms(row.answer)) for row in answers) / len(answers)
    if wrote:
        run.figures["written"] = round(written, 4)
    run.figures[f"shown, {lang}"] = round(shown, 4)
    run.figures["fewer"] += fewer
    own = f"{written:.3f}" if wrote else "none"
    cells = [f"{shown:.3f}", str(fewer), *(f"{share:.3f}" for share in most), f"{length:.0f}"]
    run.row(lang, str(len(answers)), own, *cells)
    run.details[lang] = {"questions": len(answers), "first section": most[0], "all found": most[1], "terms": length}


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--home", type=Path, help="a branch whose bundle is asked (default: the user's)")
    parser.add_argument("--gguf", type=Path, help="a GGUF file in place of the bundle's")
    parser.add_argument("--questions", action="append", help="question files or patterns instead of the shop's; repeat")
    parser.add_argument("--count", type=int, default=0, help="questions of each language, an even sample; 0 asks all")


if __name__ == "__main__":
    sys.exit(main(begin("quoted_answers", __doc__, BARS, options), work))
