"""`edgedesk classifiers`: measures intent and emotion classifiers on labelled questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.output import out, out_json

app = typer.Typer(
    no_args_is_help=True,
    help="Train and measure intent and emotion classifiers.",
    epilog="Example: edgedesk classifiers cross-validate intents.csv --json",
)


@app.callback()
def _group() -> None:
    """Train and measure intent and emotion classifiers."""


@app.command("cross-validate", epilog="Example: edgedesk classifiers cross-validate intents.csv --json")
def cross_validate_file(
    file: Annotated[Path, typer.Argument(help="CSV with columns text and label, or JSONL.")],
    test: Annotated[
        Path | None, typer.Option(help="Measure on this file instead; labels that FILE has not are out of scope.")
    ] = None,
    embedder: Annotated[Path | None, typer.Option(help="An embedder folder; default: the installed bundle's.")] = None,
    folds: Annotated[int, typer.Option(min=1, max=5, help="Number of cross-validation folds to run (1-5).")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train on four fifths of the file (stratified), measure on the rest: accuracy, macro-F1, calibration error.

    With --test the whole file is trained on, and the share of out-of-scope rows found at 5 % false alarms is told too.
    """
    from distill.classifiers.intent_training import cross_validate as measured
    from distill.classifiers.intent_training import measure_on_test
    from distill.classifiers.labelled_files import read_examples
    from runtime.base.home import find_home
    from runtime.base.progress import bar, say
    from runtime.bundle.generations import current_bundle
    from runtime.retrieval.embedder import Embedder

    examples = list(read_examples(file))
    say(f"{len(examples):,} examples; embedding and training take a few minutes for 10,000")
    encoder = Embedder(embedder or current_bundle(find_home()).embedder_path)
    if test:
        figures = measure_on_test(examples, list(read_examples(test)), encoder.queries)
    else:
        with bar("training and measuring", folds, unit="folds") as advance:
            figures = measured(examples, encoder.queries, count=folds, advance=advance)
    if as_json:
        out_json(figures)
    else:
        out(", ".join(f"{key} {value}" for key, value in figures.items()))


@app.command("evaluate", epilog="Example: edgedesk classifiers evaluate intents.csv --kind intent --json")
def evaluate_bundle(
    file: Annotated[Path, typer.Argument(help="CSV with columns text and label, or JSONL.")],
    kind: Annotated[str, typer.Option(help="intent or emotion.")] = "intent",
    bundle: Annotated[Path | None, typer.Option(help="A bundle's folder; default: the installed one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a bundle's own classifier on labelled questions that it was not trained on."""
    from distill.classifiers.labelled_files import read_examples
    from runtime.base.home import find_home
    from runtime.bundle.bundle import open_bundle
    from runtime.bundle.generations import current_bundle
    from runtime.errors import MissingError
    from runtime.evaluation.classifiers import measure_on_labelled
    from runtime.retrieval.embedder import Embedder
    from runtime.understanding.linear_classifier import FOLDER, load_classifiers

    rows = [(one.text, one.label) for one in read_examples(file)]
    opened = open_bundle(bundle, verify=False) if bundle else current_bundle(find_home())
    head = load_classifiers(opened.root / FOLDER).get(kind)
    if head is None:
        raise MissingError(
            f"the bundle has no {kind} classifier", where=str(opened.root), hint="label records and build again"
        )
    figures = measure_on_labelled(head, rows, Embedder(opened.embedder_path))
    if as_json:
        out_json(figures)
    else:
        out(", ".join(f"{key} {value}" for key, value in figures.items()))
