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

from runtime.answer_eval import answer_questions, load_questions, sample
from runtime.answer_figures import evaluation
from runtime.answer_report import render
from runtime.articles import load_articles
from runtime.asked import Asked
from runtime.embedder import Embedder
from runtime.files import write_atomic
from runtime.policy import Policy
from runtime.progress import bar
from runtime.prompt import PromptSpec
from runtime.retrieval import Retriever
from runtime.retrieval_eval import evaluate, from_questions

REPORT = "answers.json"
PAGE = "answers.html"


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
    policies: Mapping[str, Policy],
    title: str,
    out: Path,
    threads: int,
) -> dict[str, Any]:
    """Ask `count` questions of every GGUF; writes `out/answers.json`, `out/answers.html` and returns the figures.

    {"retrieval": {language: {hit@1, hit@5, …}}, "models": {name: {facts_found, …}}}; both empty without questions.
    """
    loaded = load_articles(articles)
    languages = sorted({article.lang for article in loaded})
    questions = load_questions(patterns, languages)
    retrieval: dict[str, Any] = {}
    answers = {}
    with (
        tempfile.TemporaryDirectory() as index,
        Retriever.build(
            loaded, Embedder(embedder, threads=threads), Path(index), asked=asked, shipped=vectors
        ) as retriever,
    ):
        for lang in languages:
            if queries := from_questions([q for q in questions if q.lang == lang]):
                retrieval[lang] = evaluate(retriever, queries)
        chosen = sample([q for q in questions if q.lang in spec.languages], count)
        for name, path in models.items() if chosen else ():
            with bar(f"asking {name}", len(chosen), unit="questions") as advance:
                answers[name] = answer_questions(
                    path, chosen, retriever, spec, policies=policies, threads=threads, advance=advance
                )
    whole = {"retrieval": retrieval, **evaluation(answers)}
    write_atomic(out / REPORT, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
    write_atomic(out / PAGE, render(title, whole))
    return {"retrieval": retrieval, "models": whole["models"]}
