"""What each file answers to the company's own held-out questions, beside the teacher, with the articles a branch finds.

Promises: retrieval is measured on every question, answers on an even sample of them. Knows nothing of how the
files were made.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.answer_eval import answer_questions, load_questions, rows, sample, summary
from runtime.articles import load_articles
from runtime.asked import Asked
from runtime.embedder import Embedder
from runtime.files import write_atomic
from runtime.progress import bar
from runtime.prompt import PromptSpec
from runtime.retrieval import Retriever
from runtime.retrieval_eval import evaluate, from_questions

REPORT = "answers.json"


def measure_answers(
    models: Mapping[str, Path],
    patterns: Sequence[str],
    count: int,
    *,
    embedder: Path,
    vectors: Path,
    articles: Path,
    asked: Sequence[Asked],
    spec: PromptSpec,
    out: Path,
    threads: int,
) -> dict[str, Any]:
    """Ask `count` questions of every GGUF; writes `out/answers.json` and returns its figures.

    {"retrieval": {language: {hit@1, hit@5, …}}, "models": {name: {facts_found, …}}}; both empty without questions.
    """
    loaded = load_articles(articles)
    languages = sorted({article.lang for article in loaded})
    questions = load_questions(patterns, languages)
    figures: dict[str, Any] = {"retrieval": {}, "models": {}}
    details: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as index,
        Retriever.build(
            loaded, Embedder(embedder, threads=threads), Path(index), asked=asked, shipped=vectors
        ) as retriever,
    ):
        for lang in languages:
            if queries := from_questions([q for q in questions if q.lang == lang]):
                figures["retrieval"][lang] = evaluate(retriever, queries)
        chosen = sample([q for q in questions if q.lang in spec.languages], count)
        for name, path in models.items() if chosen else ():
            with bar(f"asking {name}", len(chosen), unit="questions") as advance:
                answers = answer_questions(path, chosen, retriever, spec, threads=threads, advance=advance)
            figures["models"][name] = summary(answers)
            details[name] = rows(answers)
    write_atomic(out / REPORT, json.dumps({**figures, "answers": details}, ensure_ascii=False, indent=1) + "\n")
    return figures
