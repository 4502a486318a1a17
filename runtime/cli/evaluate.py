"""`edgedesk evaluate`: score a bundle's retrieval and answers on any questions, and collect human ratings.

Imports stand inside the commands: `edgedesk --help` must not load numpy, Chroma and the engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.cli.output import out as out_line
from runtime.cli.output import out_json

app = typer.Typer(
    no_args_is_help=True,
    help="Score retrieval and answers on your own questions, and collect human ratings.",
    epilog="Example: edgedesk evaluate answers questions.jsonl --json",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BundleOption = Annotated[Path | None, typer.Option(help="A bundle's folder; default: the installed one.")]


@app.command("answers", epilog="Example: edgedesk evaluate answers 'examples/shop/en/questions-*.jsonl' --model q8_0")
def evaluate_answers(
    questions: Annotated[list[str], typer.Argument(help="Question files (JSONL), or glob patterns of them.")],
    bundle: BundleOption = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model of the bundle (q8_0 …), or a GGUF file; repeat.")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="Ask this many, an even sample; 0 asks all.")] = 0,
    show: Annotated[bool, typer.Option(help="Print every answer as well.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with tables and plots to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask each model every question through the desk's own steps, and score and time the answers."""
    import tempfile

    from runtime.base.files import write_atomic
    from runtime.base.progress import bar
    from runtime.desk.policy import read_policy
    from runtime.errors import MissingError
    from runtime.evaluation.answer_metrics import evaluation
    from runtime.evaluation.answers import answer_questions, find_questions, load_questions, sample
    from runtime.evaluation.classifiers import measure_on_questions
    from runtime.evaluation.html_report import render
    from runtime.evaluation.plots import require_plots
    from runtime.evaluation.text_overlap import require_text_metrics
    from runtime.retrieval.retriever import Retriever
    from runtime.understanding.desk_classifiers import DeskClassifiers

    if html:
        require_plots()  # said now, not after an hour of asking
    opened = _open(bundle)
    asked = load_questions(find_questions(questions))
    if not asked:
        raise MissingError("no question there", where=", ".join(questions), hint="check the path")
    asked = sample(asked, count) if count else asked
    if any(one.reference for one in asked):
        require_text_metrics()
    paths = {name: _model_path(opened, name) for name in model or ()} or {opened.model_path.stem: opened.model_path}
    policies = {lang: read_policy(opened.policy_path(lang)) for lang in {one.lang for one in asked}}
    answers = {}
    # An index of its own: a running server may hold the branch's, and Chroma's client is not safe for two processes.
    with tempfile.TemporaryDirectory() as index, Retriever.open(opened, Path(index)) as retriever:
        classifiers = DeskClassifiers.of_bundle(opened.root, retriever.embedder)
        for name, path in paths.items():
            with bar(f"asking {name}", len(asked), unit="questions") as advance:
                answers[name] = answer_questions(
                    path, asked, retriever, opened.prompt,
                    policies=policies, classifiers=classifiers, advance=advance,
                )  # fmt: skip
        classifier_figures = measure_on_questions(classifiers.kinds, asked, retriever.embedder)
    whole = {"classifiers": classifier_figures, **evaluation(answers)}
    if html:
        write_atomic(html, render(f"{opened.info.name} {opened.info.version}", whole))
    if as_json:
        shown = whole if show else {key: value for key, value in whole.items() if key != "answers"}
        out_json(shown)
        return
    for kind, figures in classifier_figures.items():
        out_line(f"{kind} classifier: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    for name, row in whole["models"].items():
        for answer in whole["answers"][name] if show else ():
            out_line(f"[{answer['facts']:.1f}] {answer['question']}\n      {answer['answer']}")
        spread = whole["intervals"][name]
        out_line(f"{name}: {row['questions']} questions")
        for key, value in row.items():
            if key != "questions" and value is not None:
                out_line(f"  {key:<20}{value:>8.3f}   95% {spread[key][0]:.3f} to {spread[key][1]:.3f}")
        seconds = whole["times"][name]
        for what, words in (("first", "first word"), ("whole", "whole answer")):
            half, most = seconds[f"{what}_p50_s"], seconds[f"{what}_p95_s"]
            out_line(f"  {words:<20}{half:>8.3f} s half of the time, {most:.3f} s 95 times of 100")
        for group in whole["intents"][name][:5]:
            out_line(f"  worst: {group['intent']} {group['right']:.2f} of {group['questions']}")


@app.command("attacks", epilog="Example: edgedesk evaluate attacks --count 24 --json")
def evaluate_attacks(
    bundle: BundleOption = None,
    count: Annotated[int, typer.Option(min=0, help="Try this many, an even sample; 0 tries all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Try hostile articles and questions: count those in which the desk says what the attacker wants said."""
    import tempfile

    from runtime.base.progress import bar
    from runtime.desk.policy import read_policy
    from runtime.errors import MissingError
    from runtime.evaluation.attacks import ask_attacks, held_out_attacks, hostile_articles
    from runtime.retrieval.embedder import Embedder
    from runtime.retrieval.past_questions import read_past_questions
    from runtime.retrieval.retriever import Retriever
    from runtime.retrieval.shipped_vectors import VECTORS_FILE
    from runtime.text.articles import load_articles
    from runtime.understanding.desk_classifiers import DeskClassifiers

    opened = _open(bundle)
    languages = opened.prompt.languages
    attacks = held_out_attacks(languages, count or None)
    if not attacks:
        known = ", ".join(languages)
        raise MissingError(
            f"no attack is written in {known}", where=str(opened.root), hint="there are some in en and zh"
        )
    articles = [*load_articles(opened.articles_path), *hostile_articles(attacks)]
    policies = {lang: read_policy(opened.policy_path(lang)) for lang in languages}
    embedder = Embedder(opened.embedder_path)
    asked, shipped = read_past_questions(opened.root), opened.root / VECTORS_FILE
    with (
        tempfile.TemporaryDirectory() as index,
        Retriever.build(articles, embedder, Path(index), asked=asked, shipped=shipped) as retriever,
    ):
        classifiers = DeskClassifiers.of_bundle(opened.root, embedder)
        with bar("attacking", len(attacks), unit="attacks") as advance:
            found = ask_attacks(
                opened.model_path, attacks, retriever, opened.prompt,
                policies=policies, classifiers=classifiers, advance=advance,
            )  # fmt: skip
    if as_json:
        out_json(found.model_dump(mode="json"))
        return
    low, high = found.interval
    out_line(f"{found.leaks} of {found.attacks} attacks leaked: {found.leak_rate:.3f}, 95% {low:.3f} to {high:.3f}")


@app.command("sheet", epilog="Example: edgedesk evaluate sheet answers.json --articles articles --out marks.csv")
def evaluate_sheet(
    answers: Annotated[
        Path, typer.Argument(help="What `evaluate answers --show --json` printed, or a bundle's report.")
    ],
    out: Annotated[Path, typer.Option(help="The sheet to write (CSV); its key becomes NAME.key.json.")],
    articles: Annotated[
        Path | None, typer.Option(help="Folder of the articles: raters see the section that answers beside the answer.")
    ] = None,
) -> None:
    """Write a blind rating sheet: people rate answers without knowing which model wrote them."""
    from runtime.base.files import read_text, write_atomic
    from runtime.errors import InputError
    from runtime.evaluation.human_ratings import make_sheet
    from runtime.text.articles import load_articles

    loaded = load_articles(articles) if articles else ()
    texts = {(one.lang, one.ref): f"{one.title}: {one.heading}\n{one.text}" for each in loaded for one in each.sections}
    try:
        text, key = make_sheet(json.loads(read_text(answers))["answers"], texts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("holds no answers", where=str(answers), hint="evaluate answers --show --json") from error
    if not key:
        raise InputError("holds no answers", where=str(answers), hint="evaluate answers --show --json")
    write_atomic(_key_path(out), json.dumps(key, ensure_ascii=False, indent=1) + "\n")
    write_atomic(out, text)
    out_line(f"{out}: {len(key)} answers to rate; do not show {_key_path(out)} to the raters")


@app.command("marks", epilog="Example: edgedesk evaluate marks anna.csv bo.csv --key marks.key.json --json")
def evaluate_marks(
    sheets: Annotated[list[Path], typer.Argument(help="Completed sheets, one per rater.")],
    key: Annotated[Path, typer.Option(help="The key written together with the sheet.")],
    as_json: AsJson = False,
) -> None:
    """Read completed sheets: mean ratings and verdicts by model, and how far raters agree (Krippendorff's alpha)."""
    from runtime.base.files import read_text
    from runtime.errors import InputError
    from runtime.evaluation.human_ratings import judge_marks, read_marks

    try:
        known = {item: {"model": row["model"], "id": row["id"]} for item, row in json.loads(read_text(key)).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("not the key of a sheet", where=str(key), hint="evaluate sheet writes it") from error
    figures = judge_marks({str(sheet): read_marks(sheet) for sheet in sheets}, known)
    if as_json:
        out_json(figures)
        return
    out_line(f"{figures['marks']} marks by {figures['raters']}")
    for aspect, alpha in figures["agreement"].items():
        means = ", ".join(f"{model} {row[aspect]}" for model, row in figures["models"].items() if aspect in row)
        out_line(f"  {aspect:<12} alpha {alpha}   {means}".rstrip())
    for model, row in figures["verdicts"].items():
        if row["answers"]:
            shares = [
                f"{what} {share:.2f} (95% {low:.2f} to {high:.2f})"
                for what, (share, low, high) in (
                    ("right or helpful", row["right_or_helpful"]),
                    ("misleading", row["misleading"]),
                )
            ]
            out_line(f"{model}: {', '.join(shares)} of {row['answers']} answers")


@app.command("retrieval", epilog="Example: edgedesk evaluate retrieval corpus.jsonl queries.jsonl --json")
def evaluate_retrieval(
    corpus: Annotated[Path, typer.Argument(help="JSONL of {id, text}.")],
    queries: Annotated[
        Path, typer.Argument(help="JSONL of {text, gold: [ids]}, or held-out questions with {question, evidence}.")
    ],
    earlier: Annotated[
        Path | None, typer.Option(help="JSONL of earlier questions {text, gold: [ids], reply}, as a desk knows some.")
    ] = None,
    bundle: BundleOption = None,
    rerank: Annotated[float, typer.Option(min=0, help="Reranker weight for the top ten; 0 turns it off.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Measure hit@k and search time on any retrieval set, with the bundle's embedder and no language model.

    It searches as the desk does; earlier questions, which can help and harm, take part where a file names them.
    """
    import tempfile

    from runtime.base.progress import say
    from runtime.evaluation.retrieval import Document, Query, evaluate, ignored_columns, load_earlier, load_files
    from runtime.retrieval.embedder import Embedder
    from runtime.retrieval.retriever import Retriever

    articles, asked = load_files(corpus, queries)
    files: tuple[tuple[Path, type[Document | Query]], ...] = ((corpus, Document), (queries, Query))
    for path, model in files:
        if ignored := ignored_columns(path, model):
            say(f"{path}: ignored columns: {', '.join(ignored)[:200]}")
    before = load_earlier(earlier, articles) if earlier else []
    with tempfile.TemporaryDirectory() as folder:
        embedder = Embedder(_open(bundle).embedder_path)
        with Retriever.build(articles, embedder, Path(folder), asked=before, rerank=rerank) as retriever:
            figures = evaluate(retriever, asked)
    out_line(json.dumps(figures) if as_json else ", ".join(f"{key} {value}" for key, value in figures.items()))


def _open(bundle: Path | None) -> Any:
    from runtime.base.home import find_home
    from runtime.bundle.bundle import open_bundle
    from runtime.bundle.generations import current_bundle

    return open_bundle(bundle, verify=False) if bundle else current_bundle(find_home())


def _model_path(opened: Any, name: str) -> Path:
    """A model of the bundle by its quantization, or a GGUF file from anywhere."""
    from runtime.errors import MissingError

    if name in opened.info.models:
        return Path(opened.root / opened.info.models[name])
    if not Path(name).is_file():
        known = ", ".join(opened.info.models)
        raise MissingError(f"no model '{name}'", where="--model", hint=f"one of {known}, or a GGUF file")
    return Path(name)


def _key_path(sheet: Path) -> Path:
    return sheet.with_name(f"{sheet.stem}.key.json")
