"""What each file answers to the company's own held-out questions, beside the teacher, with the articles a branch finds.

Promises: retrieval is measured on every question, answers on an even sample of them; a layout of compiled articles is
kept only where it keeps the facts that plain reading finds. Knows nothing of how the files were made.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.base.files import write_atomic
from runtime.base.progress import bar, say
from runtime.desk.policy import Policy
from runtime.errors import ModelError
from runtime.evaluation.answer_metrics import Answered, evaluation
from runtime.evaluation.answers import answer_questions, load_questions, sample
from runtime.evaluation.html_report import render
from runtime.evaluation.retrieval import evaluate, from_questions
from runtime.prompting.prompt_spec import PromptSpec
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import load_articles

REPORT = "answers.json"
PAGE = "answers.html"
PROMPT = "prompt.json"
"""The build's prompt, with the layout that a branch is to use."""
EXACT = "exact"


def measure_answers(
    models: Mapping[str, Path],
    patterns: Sequence[str],
    count: int,
    *,
    embedder: Path,
    vectors: Path,
    articles: Path,
    asked: Sequence[PastQuestion],
    spec: PromptSpec,
    plainly: Sequence[str],
    default: str,
    layout_keeps: float,
    facts_read: tuple[float, float],
    policies: Mapping[str, Policy],
    heads: Mapping[str, Any],
    title: str,
    out: Path,
    threads: int,
) -> dict[str, Any]:
    """Ask `count` questions of every GGUF; writes answers.json, answers.html and prompt.json, returns the figures.

    {"retrieval": {language: {hit@1, hit@5, …}}, "models": {name: {facts_found, …}}, "layout": {wanted, kept, used},
    "classifiers": as given}; the first two are empty without questions. Models named in `plainly`, which never learned
    another layout, read articles `exact`, all others as `spec` says, and the model `default` both ways: prompt.json
    names the layout in which it keeps `layout_keeps` of those facts, and the row `default` is the one of that layout.
    `facts_read` are more facts, told in the layout of `spec` and plainly, as whoever made the checkpoint counted them.
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

        def ask(name: str, asked: PromptSpec) -> list[Answered]:
            with bar(f"asking {name}", len(chosen), unit="questions") as advance:
                return answer_questions(
                    models[name], chosen, retriever, asked, policies=policies, threads=threads, advance=advance
                )

        plain = spec.model_copy(update={"layout": EXACT})
        refused = ""
        for name in models if chosen else ():
            try:
                answers[name] = ask(name, plain if name in plainly else spec)
            except ModelError as error:
                if name in plainly or spec.layout == EXACT:
                    raise
                # What cannot be composed can still be read.
                say(f"{name}: {error.what}; asked `exact`")
                refused = error.what if name == default else refused
                answers[name] = ask(name, plain)
        beside = ask(default, plain) if chosen and spec.layout != EXACT and not refused else None
    layout = choose_layout(spec.layout, answers.get(default, ()), beside or (), layout_keeps, facts_read)
    if refused:
        layout |= {"kept": None, "used": EXACT, "reason": refused}
    if beside is not None:
        if layout["used"] == EXACT:
            answers[default], beside = beside, answers[default]
        answers[f"{default} {spec.layout if layout['used'] == EXACT else EXACT}"] = beside
    whole = {"retrieval": retrieval, "classifiers": heads, "layout": layout, **evaluation(answers)}
    write_atomic(out / REPORT, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
    write_atomic(out / PAGE, render(title, whole))
    chosen_spec = spec.model_copy(update={"layout": layout["used"]})
    write_atomic(out / PROMPT, chosen_spec.model_dump_json(indent=1) + "\n")
    return {"retrieval": retrieval, "models": whole["models"], "layout": layout, "heads": heads}


def choose_layout(
    wanted: str,
    composed: Sequence[Answered],
    exact: Sequence[Answered],
    keeps: float,
    read: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Any]:
    """{"wanted", "kept": facts found over those found `exact`, "used"} (pure); what was not measured is not used.

    Facts in what the model wrote, and those of held-out replies that it would have written (`read`: composed, exact).
    """

    def written(answers: Sequence[Answered]) -> float:
        return sum((row.written_facts or 0.0) * len(row.question.facts) for row in answers)

    ours, plain = written(composed) + read[0], written(exact) + read[1]
    kept = round(ours / plain, 4) if plain else None
    return {"wanted": wanted, "kept": kept, "used": wanted if kept is not None and kept >= keeps else EXACT}
