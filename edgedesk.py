"""The front door: lists the commands, imports the one that is asked for, prints errors.

The only module that may import both `distill` and `quantize`, so `edgedesk build`, which runs one after the other,
lives here. `--help` loads no command.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from runtime import __version__
from runtime.base.progress import say
from runtime.errors import EdgedeskError, ExitCode, UsageError

if TYPE_CHECKING:
    from distill.recipe.recipe import Recipe
    from runtime.base.manifest import Manifest


class Entry(NamedTuple):
    """Where a command is defined: a Typer app, in which it is `name`, or which as a whole is the command."""

    module: str
    about: str
    whole: bool = False


COMMANDS = {
    "build": Entry("edgedesk", "head office: build a bundle from a recipe, every stage that is stale"),
    "models": Entry("distill.cli.models", "head office: list and fetch base models", whole=True),
    "data": Entry("distill.cli.data", "head office: prepare records, show what they hold", whole=True),
    "heads": Entry(
        "distill.cli.classifiers", "head office: how well intents or emotions of a file are told", whole=True
    ),
    "quantize": Entry("quantize.cli.main", "head office: quantize a checkpoint, plan sizes, compare files", whole=True),
    "evaluate": Entry("runtime.cli.evaluate", "head office: measure retrieval and answers", whole=True),
    "install": Entry("runtime.cli.main", "branch: check a bundle and make it the one this branch runs"),
    "rollback": Entry("runtime.cli.main", "branch: go back to the generation before"),
    "generations": Entry("runtime.cli.main", "branch: list the installed bundles"),
    "doctor": Entry("runtime.cli.main", "branch: check this machine, its bundle and its server"),
    "serve": Entry("runtime.cli.main", "branch: answer the console and other programs over a socket"),
    "ask": Entry("runtime.cli.main", "branch: ask one question and print the answer with its sources"),
    "agents": Entry("runtime.cli.agents", "branch: who may use the server over TCP", whole=True),
    "knowledge": Entry("runtime.cli.knowledge", "branch: compile articles, so that answers begin sooner", whole=True),
    "journal": Entry("runtime.cli.journal", "branch: copy, search and prune the journal", whole=True),
    "experiment": Entry("runtime.cli.experiment", "branch: try a policy beside the bundle's own", whole=True),
    "console": Entry("tui.cli.main", "agent: open the console"),
}


class FrontDoor(TyperGroup):
    """Knows the commands by name and loads the one that runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module that defines the command."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        here = sys.modules[__name__] if entry.module == "edgedesk" else import_module(entry.module)
        command = typer.main.get_command(here.app if here is not sys.modules[__name__] else build_app)
        if not entry.whole and hasattr(command, "commands"):
            return command.commands[cmd_name]
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List them without loading any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in COMMANDS.items()])


app = typer.Typer(
    cls=FrontDoor,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A company's own support model in every branch: build it, install it, ask it, offline.",
    epilog='Example: edgedesk build recipes/demo.toml; edgedesk install work/northlight-en/bundle; edgedesk ask "…"',
)
build_app = typer.Typer(rich_markup_mode=None)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@build_app.command(epilog="Example: edgedesk build recipes/demo.toml --work work/demo")
def build(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    work: Annotated[Path | None, typer.Option(help="Folder of the stages; default work/<name of the recipe>.")] = None,
    base: Annotated[str | None, typer.Option(help="Another base model: catalogue name, path, or hub id.")] = None,
    from_stage: Annotated[
        str | None, typer.Option("--from", help="Run again from this stage on, such as records, merged or measured.")
    ] = None,
    launcher: Annotated[
        str, typer.Option(help='Command that starts the processes which train: "torchrun --nproc-per-node 4".')
    ] = "",
    shard: Annotated[
        bool, typer.Option("--shard", help="They share the student out among them (FSDP): for one too large for each.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and its files, then stop.")] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="With --dry-run: capture so many records and predict hours and disk of all.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Build a bundle: records, capture, student, tuning, merge, quantization, measuring, bundle."""
    from distill.compute.device import offline

    offline()
    from distill.recipe.recipe import load_recipe
    from distill.recipe.release_gate import check_gate

    loaded = load_recipe(recipe)
    folder = (work or Path("work") / loaded.name).absolute()
    if sample and not dry_run:
        raise UsageError("a sample is for a dry run", where="--sample", hint="add --dry-run")
    if dry_run and not sample:
        typer.echo(f"{recipe}: {loaded.name} {loaded.version} would be built in {folder}")
        return
    from runtime.base.home import lock_home

    if dry_run:
        with lock_home(folder, "build"):
            figures = predict_capture(loaded, folder, base=base, records=sample)
        typer.echo(json.dumps(figures) if as_json else ", ".join(f"{key} {value}" for key, value in figures.items()))
        return
    with lock_home(folder, "build"):
        figures = run_chain(loaded, folder, base=base, from_stage=from_stage, launcher=launcher, shard=shard)
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False))
    else:
        print_figures(figures)
    check_gate(loaded, figures)


def predict_capture(loaded: Recipe, folder: Path, *, base: str | None, records: int) -> dict[str, float]:
    """Hours and disk of the recipe's capture, from a sample."""
    from distill.pipeline.build import open_build
    from quantize.formats.gguf_writer import write_gguf

    return open_build(loaded, folder, base=base).predict(write_gguf, records)


def run_chain(
    loaded: Recipe, folder: Path, *, base: str | None, from_stage: str | None, launcher: str = "", shard: bool = False
) -> dict[str, Any]:
    """Distill, then quantize, then measure; returns the figures of every stage."""
    from distill.classifiers.intent_training import train_classifiers
    from distill.data.dataset import HELD_OUT
    from distill.models.catalogue import CATALOGUE, fetch_model
    from distill.pipeline.build import open_build
    from distill.pipeline.workspace import STAGES, TEACHER_GGUF
    from quantize.formats.gguf_writer import write_gguf
    from quantize.pipeline.build import QuantizeSettings, stage_names
    from quantize.pipeline.build import build as quantize

    began = time.monotonic()
    later = stage_names(loaded.quantize.formats, onnx=loaded.quantize.onnx)
    if from_stage is not None and from_stage not in (*STAGES, *later):
        raise UsageError(f"no stage '{from_stage}'", where="--from", hint=f"one of {', '.join((*STAGES, *later))}")
    forced = from_stage if from_stage in STAGES else None
    chain = open_build(loaded, folder, base=base, force_from=forced, launcher=launcher, shard=shard)
    embedder = (
        fetch_model(loaded.base.embedder, say) if loaded.base.embedder in CATALOGUE else Path(loaded.base.embedder)
    )
    stages = chain.run(write_gguf)
    learns = chain.recipe.student.learns
    named = {"tuned teacher": "corrected", "teacher" if learns else "untuned student": "teacher"}
    beside = {
        name: folder / stage / TEACHER_GGUF
        for name, stage in named.items()
        if stage in stages and (folder / stage / TEACHER_GGUF).is_file()
    }
    untuned = (folder / "pruned" if "pruned" in stages else chain.released.checkpoint) if learns else None
    settings = QuantizeSettings(
        name=loaded.name,
        version=loaded.version,
        formats=loaded.quantize.formats,
        default=loaded.quantize.default,
        onnx=loaded.quantize.onnx,
        onnx_in_bundle=loaded.quantize.onnx_in_bundle,
        embedder=embedder,
        base=chain.released.name,
        licence=chain.released.licence,
        questions=(*loaded.data.questions, str(folder / "records" / HELD_OUT / "*.jsonl")),
        beside=beside,
        untuned=untuned,
        asked=loaded.evaluate.questions,
        layout_keeps=loaded.evaluate.layout_keeps,
        facts_read=stages["merged"].figures.get("facts_read", (0.0, 0.0)),
    )
    again = () if from_stage is None else later[later.index(from_stage) :] if from_stage in later else later
    result = quantize(
        folder, settings, now=datetime.now().astimezone(), say=say, force=again, train_heads=train_classifiers
    )
    return {
        "recipe": loaded.name,
        "bundle": str(result.bundle),
        "student": _distances(stages) if "student" in stages else None,
        "parity_strings": stages["teacher"].figures["parity_strings"],
        "merge_difference": stages["merged"].figures["largest_logit_difference"],
        "records": stages["records"].figures["by_split"],
        "quantized": [measure.model_dump() for measure in result.measures],
        "embedder": result.embedder.model_dump(),
        "retrieval": result.answers["retrieval"],
        "answers": result.answers["models"],
        "layout": result.answers["layout"],
        "heads": result.answers["heads"],
        "stages": {
            name: {"seconds": manifest.figures["seconds"], "peak_mb": manifest.figures["peak_mb"]}
            for name, manifest in {**stages, **result.manifests}.items()
        },
        "seconds_this_run": round(time.monotonic() - began, 1),
    }


def _distances(stages: dict[str, Manifest]) -> dict[str, dict[str, float]]:
    """KL and top-1 of the student against its teacher, as it came into being."""
    pruned = stages["pruned"].figures if "pruned" in stages else {}
    rows = {"pruned": pruned.get("held_out_before"), "repaired": pruned.get("held_out")}
    rows |= {
        name: stages[stage].figures.get("held_out") for name, stage in (("distilled", "student"), ("tuned", "merged"))
    }
    return {name: row for name, row in rows.items() if row}


def print_figures(figures: dict[str, Any]) -> None:
    """The figures as tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console()

    def table(title: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        grid = Table(title=title, title_justify="left")
        for column in rows[0]:
            grid.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
        for row in rows:
            grid.add_row(*(str(value) for value in row.values()))
        console.print(grid)

    table("Where the time went", [{"stage": name, **row} for name, row in figures["stages"].items()])
    if student := figures["student"]:
        rows = [{"student": name, **row} for name, row in student.items()]
        table("Student vs teacher on held-out replies", rows)
    table("Against the f32 checkpoint", figures["quantized"])
    table(
        "Retrieval on the held-out questions", [{"language": lang, **row} for lang, row in figures["retrieval"].items()]
    )
    asked = figures["answers"]
    measured = [key for key in next(iter(asked.values()), {}) if any(row[key] is not None for row in asked.values())]
    # Models side by side: there are more figures than models.
    rows = [{"figure": key.replace("_", " "), **{name: row[key] for name, row in asked.items()}} for key in measured]
    table("Answers to held-out questions", rows)
    rows = [{"head": name, **row} for name, row in figures["heads"].items()]
    table("What the heads tell of held-out questions", rows)
    if (layout := figures["layout"])["wanted"] != "exact":
        why = layout.get("reason") or f"{layout['wanted']} keeps {layout['kept']} of the facts found exact"
        console.print(f"layout: {layout['used']} ({why})")
    console.print(f"bundle: {figures['bundle']}", soft_wrap=True)


def main() -> None:
    """Run a command; an error on purpose ends in its exit code, Ctrl-C in 130, neither in a traceback."""
    try:
        app()
    except EdgedeskError as error:
        from runtime.cli.main import show_error

        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing half-made was left\n")
        sys.exit(int(ExitCode.INTERRUPTED))
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
