"""What each file answers to the company's own held-out questions, beside the teacher, with the articles a branch finds.

Promises: retrieval is measured on every question, answers on an even sample of them; a layout of compiled articles is
kept only where it keeps the facts that plain reading finds. Knows nothing of how the files were made.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.base.files import write_atomic
from runtime.base.progress import bar, say
from runtime.desk.policy import Policy
from runtime.errors import ModelError
from runtime.evaluation.answer_metrics import Answered, evaluation
from runtime.evaluation.answers import answer_questions, load_questions, sample
from runtime.evaluation.attacks import ask_attacks, held_out_attacks, hostile_articles
from runtime.evaluation.html_report import render
from runtime.evaluation.refusals import measure_refusals
from runtime.evaluation.retrieval import evaluate, from_questions
from runtime.prompting.prompt_spec import PromptSpec
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import PastQuestion
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, load_articles
from runtime.text.records import Question
from runtime.understanding.desk_classifiers import DeskClassifiers

REPORT = "answers.json"
PAGE = "answers.html"
PROMPT = "prompt.json"
"""The build's prompt, with the layout that a branch is to use."""
EXACT = "exact"


@dataclass(frozen=True)
class AnswerStudy:
    """What is asked of which models, and what they have to answer with."""

    models: Mapping[str, Path]
    """GGUF files by the name they have in the report."""
    default: str
    """The model whose layout is chosen: the one the bundle uses."""
    unrounded: str
    """The f16 file, which the answers of those in `rounded` are compared with one by one."""
    rounded: Sequence[str]
    exact_only: Sequence[str]
    """Models that never learned another layout: they read articles `exact`."""
    spec: PromptSpec
    """The prompt, with the layout the recipe wants."""
    questions: Sequence[str]
    """Patterns of question files."""
    count: int
    """Questions asked of each model; retrieval is measured on all."""
    articles: Path
    embedder: Path
    vectors: Path
    """Of everything retrieval embeds, as shipped."""
    past_questions: Sequence[PastQuestion]
    policies: Mapping[str, Policy]
    """By language."""
    layout_keeps: float
    """The least share of facts that a layout must keep of those found by reading `exact`, 0 to 1."""
    facts_read: tuple[float, float]
    """Further facts, read in the layout of `spec` and `exact`, as whoever made the checkpoint counted them."""
    classifiers: Mapping[str, Any]
    """Figures of the classifiers, handed on into the report."""
    classifier_folder: Path | None
    """The bundle's classifiers, which the desk asks before and after the model; None where none were trained."""
    attacks: int
    """Hostile articles and questions that are put to the default model; 0 for none."""
    title: str
    threads: int

    def desk_classifiers(self, embedder: Embedder) -> DeskClassifiers:
        """What the desk asks besides the model."""
        folder = self.classifier_folder
        return DeskClassifiers() if folder is None else DeskClassifiers.open(folder, embedder)


@dataclass(frozen=True)
class AskedModels:
    """What the models of a study answered."""

    answers: dict[str, list[Answered]]
    """By model; those not in `exact_only` in the layout of the prompt."""
    exact: list[Answered] | None
    """Of the default model, reading plainly; None where that is no comparison."""
    refused: str
    """Why the default model could not read the layout; "" where it could."""


def measure_answers(study: AnswerStudy, out: Path) -> dict[str, Any]:
    """Ask every model; writes answers.json, answers.html and prompt.json into `out`, returns the figures.

    {"retrieval": {language: {hit@1, hit@5, …}}, "refusals": {language: {refused_wrongly, …}}, "models": {name:
    {facts_found, …}}, "layout": {wanted, kept, used}, "attacks": {leaks, leak_rate, …}, "flips": {name: {questions,
    lost, won}} of each file against the f16 one, "heads": as given, "intents": {name: {intent: share answered right}}};
    what nothing was asked for is empty. prompt.json names the layout that is used, and the row of the default model is
    the one of that layout.
    """
    loaded = load_articles(study.articles)
    languages = sorted({article.lang for article in loaded})
    questions = load_questions(study.questions, languages)
    retrieval: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as index,
        Retriever.build(
            loaded,
            Embedder(study.embedder, threads=study.threads),
            Path(index),
            asked=study.past_questions,
            shipped=study.vectors,
        ) as retriever,
    ):
        for lang in languages:
            if queries := from_questions([q for q in questions if q.lang == lang]):
                retrieval[lang] = evaluate(retriever, queries)
        refusals = measure_refusals(
            study.models[study.default], questions, retriever, study.spec, policies=study.policies,
            classifiers=study.desk_classifiers(retriever.embedder), threads=study.threads,
        )  # fmt: skip
        chosen = sample([q for q in questions if q.lang in study.spec.languages], study.count)
        asked = ask_models(study, chosen, retriever)
    wanted, answers = study.spec.layout, dict(asked.answers)
    composed = answers.get(study.default, ())
    layout = choose_layout(wanted, composed, asked.exact or (), study.layout_keeps, study.facts_read)
    if asked.refused:
        layout |= {"kept": None, "used": EXACT, "reason": asked.refused}
    if asked.exact is not None:
        # The row under the model's own name is the one in the layout that a branch will read.
        used, other = (asked.exact, composed) if layout["used"] == EXACT else (composed, asked.exact)
        answers[study.default] = list(used)
        answers[f"{study.default} {wanted if layout['used'] == EXACT else EXACT}"] = list(other)
    attacks = measure_attacks(study, loaded, layout["used"])
    report = {
        "retrieval": retrieval,
        "classifiers": study.classifiers,
        "layout": layout,
        "attacks": attacks,
        "refusals": {lang: row.model_dump() for lang, row in refusals.items()},
        "flips": {
            name: answer_flips(asked.answers[study.unrounded], asked.answers[name])
            for name in study.rounded
            if {name, study.unrounded} <= set(asked.answers)
        },
        **evaluation(answers),
    }
    write_report(study, report, out)
    kept = ("retrieval", "refusals", "models", "layout", "attacks", "flips")
    intents = {name: {row["intent"]: row["right"] for row in rows} for name, rows in report["intents"].items()}
    return {**{key: report[key] for key in kept}, "heads": study.classifiers, "intents": intents}


def answer_flips(before: Sequence[Answered], after: Sequence[Answered]) -> dict[str, int]:
    """{"questions", "lost", "won"}: questions answered with every fact before and not after, and the other way round.

    Of questions that both were asked (pure). An unanswerable one is right when it was refused.
    """
    right = {row.question.id: row.facts >= 1 for row in before}
    pairs = [(right[row.question.id], row.facts >= 1) for row in after if row.question.id in right]
    return {
        "questions": len(pairs),
        "lost": sum(was and not now for was, now in pairs),
        "won": sum(now and not was for was, now in pairs),
    }


def measure_attacks(study: AnswerStudy, articles: Sequence[Article], layout: str) -> dict[str, Any]:
    """Leaks of the default model, reading in that layout, with hostile articles among the company's; {} without any."""
    attacks = held_out_attacks(study.spec.languages, study.attacks)
    if not attacks:
        return {}
    with (
        tempfile.TemporaryDirectory() as index,
        Retriever.build(
            [*articles, *hostile_articles(attacks)],
            Embedder(study.embedder, threads=study.threads),
            Path(index),
            asked=study.past_questions,
            shipped=study.vectors,
        ) as retriever,
        bar("attacking", len(attacks), unit="attacks") as advance,
    ):
        leaks = ask_attacks(
            study.models[study.default],
            attacks,
            retriever,
            study.spec.model_copy(update={"layout": layout}),
            policies=study.policies,
            threads=study.threads,
            advance=advance,
            classifiers=study.desk_classifiers(retriever.embedder),
        )
    return leaks.model_dump(mode="json")


def ask_models(study: AnswerStudy, questions: Sequence[Question], retriever: Retriever) -> AskedModels:
    """Ask each model the questions; one that cannot read the layout reads `exact`, and its reason is kept."""
    exact_spec = study.spec.model_copy(update={"layout": EXACT})
    classifiers = study.desk_classifiers(retriever.embedder)

    def ask(name: str, spec: PromptSpec) -> list[Answered]:
        with bar(f"asking {name}", len(questions), unit="questions") as advance:
            return answer_questions(
                study.models[name],
                questions,
                retriever,
                spec,
                policies=study.policies,
                threads=study.threads,
                advance=advance,
                classifiers=classifiers,
            )

    answers: dict[str, list[Answered]] = {}
    refused = ""
    for name in study.models if questions else ():
        try:
            answers[name] = ask(name, exact_spec if name in study.exact_only else study.spec)
        except ModelError as error:
            if name in study.exact_only or study.spec.layout == EXACT:
                raise
            # What cannot be composed can still be read.
            say(f"{name}: {error.what}; asked `exact`")
            refused = error.what if name == study.default else refused
            answers[name] = ask(name, exact_spec)
    compares = bool(questions) and study.spec.layout != EXACT and not refused
    return AskedModels(answers, ask(study.default, exact_spec) if compares else None, refused)


def write_report(study: AnswerStudy, report: Mapping[str, Any], out: Path) -> None:
    """The figures as JSON and as a page, and the build's prompt with the layout that is used."""
    write_atomic(out / REPORT, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    write_atomic(out / PAGE, render(study.title, report))
    spec = study.spec.model_copy(update={"layout": report["layout"]["used"]})
    write_atomic(out / PROMPT, spec.model_dump_json(indent=1) + "\n")


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
