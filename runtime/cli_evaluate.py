"""`edgedesk evaluate`: retrieval and answers of the installed bundle, or of one given, on anybody's questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Measure retrieval and answers.",
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
    count: Annotated[int, typer.Option(help="Ask this many, spread evenly; 0 = all.")] = 0,
    show: Annotated[bool, typer.Option(help="Print every answer too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask every question of each model, with the articles retrieval finds, and count the facts in its answers."""
    import tempfile

    from runtime.answer_eval import answer_questions, load_questions, rows, sample, summary
    from runtime.errors import MissingError
    from runtime.progress import bar
    from runtime.retrieval import Retriever

    opened = _open(bundle)
    asked = load_questions([str(Path(pattern).absolute()) for pattern in questions], opened.prompt.languages)
    if not asked:
        raise MissingError(
            "no question in a language the model writes", where=", ".join(questions), hint="check the path"
        )
    asked = sample(asked, count) if count else asked
    figures: dict[str, Any] = {}
    # An index of its own: a running server may hold the branch's, and Chroma's client is not safe for two processes.
    with tempfile.TemporaryDirectory() as index, Retriever.open(opened, Path(index)) as retriever:
        for name in model or [opened.info.model]:
            path = opened.root / opened.info.models[name] if name in opened.info.models else opened.root / name
            with bar(f"asking {name}", len(asked), unit="questions") as advance:
                answers = answer_questions(path, asked, retriever, opened.prompt, advance=advance)
            figures[name] = summary(answers) | ({"answers": rows(answers)} if show else {})
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    for name, row in figures.items():
        for answer in row.pop("answers", []):
            typer.echo(f"[{answer['facts']:.1f}] {answer['question']}\n      {answer['answer']}")
        typer.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


@app.command("retrieval", epilog="Example: edgedesk evaluate retrieval corpus.jsonl queries.jsonl --json")
def evaluate_retrieval(
    corpus: Annotated[Path, typer.Argument(help="JSONL of {id, text}.")],
    queries: Annotated[Path, typer.Argument(help="JSONL of {id, text, gold: [ids]}.")],
    bundle: BundleOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure hit@k and the time of a search on any company's set, with the bundle's embedder and no model."""
    import tempfile

    from runtime.embedder import Embedder
    from runtime.retrieval import Retriever
    from runtime.retrieval_eval import evaluate, load_files

    articles, asked = load_files(corpus, queries)
    with tempfile.TemporaryDirectory() as folder:
        embedder = Embedder(_open(bundle).embedder_path)
        with Retriever.build(articles, embedder, Path(folder)) as retriever:
            figures = evaluate(retriever, asked)
    typer.echo(json.dumps(figures) if as_json else ", ".join(f"{key} {value}" for key, value in figures.items()))


def _open(bundle: Path | None) -> Any:
    from runtime.bundle import open_bundle
    from runtime.home import find_home
    from runtime.store import current_bundle

    return open_bundle(bundle, verify=False) if bundle else current_bundle(find_home())
