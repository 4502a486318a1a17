"""`edgedesk build`: one recipe through distill, quantize and the release gate.

    recipe ─ distill (records … merged checkpoint) ─ quantize (files, measurements, bundle) ─ gate

Beside the front door and `edgedesk_models` this is the only module that may import both `distill` and `quantize`;
neither imports the other.
What one needs of the other is handed over here: the GGUF writer and the check of formats to distill, the training of
classifiers and the names of distill's folders to quantize. Promises: what a recipe gets wrong is refused before any
work. Knows nothing of how a stage works.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill.classifiers.build_classifiers import train_classifiers
from distill.compute.device import go_offline
from distill.data.dataset import HELD_OUT
from distill.models.catalogue import CATALOGUE, fetch_model
from distill.pipeline.build import Build, open_build
from distill.pipeline.preflight import FormatChecks, check_recipe
from distill.pipeline.speech_folder import write_speech_folder
from distill.pipeline.stage_table import STAGE_NAMES
from distill.pipeline.workspace import TEACHER_GGUF
from distill.recipe.load_recipe import load_recipe
from distill.recipe.recipe import Quantize, Recipe
from distill.recipe.release_gate import check_gate, largest_intent_drop, set_bounds
from quantize.encoder.export_encoder import EncoderMeasurement
from quantize.formats.gguf_quantize import KINDS, check_columns, check_kinds
from quantize.formats.gguf_writer import write_gguf
from quantize.measure.divergence import DecoderMeasurement
from quantize.pipeline.answer_stages import LAST_RELEASE
from quantize.pipeline.build import QuantizeResult, stage_names
from quantize.pipeline.build import build as quantize
from quantize.pipeline.settings import QuantizeSettings
from runtime.base.home import lock_home
from runtime.base.manifest import Manifest
from runtime.base.progress import say
from runtime.bundle.bundle import open_bundle
from runtime.bundle.gate_record import missed_bounds, write_gate_record
from runtime.cli.output import out, out_json
from runtime.errors import EdgedeskError, UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class StageCost(_Figures):
    """What a stage cost when it last ran."""

    seconds: float
    peak_mb: float


class LayoutChoice(_Figures):
    """The layout a bundle reads articles in."""

    wanted: str
    used: str
    kept: float | None = None
    """Facts found in the wanted layout over those found `exact`."""
    reason: str = ""
    """Why the wanted layout could not be measured."""


class BuildReport(_Figures):
    """The figures of every stage of a build: what `--json` prints and the gate reads."""

    recipe: str
    bundle: Path
    parity_strings: int
    """Strings that the checkpoint's tokenizer and llama.cpp cut alike."""
    records: dict[str, int]
    """By split."""
    student: dict[str, dict[str, float]]
    """KL (nats) and top-1 to the teacher on held-out replies, by stage of the student; empty without a student."""
    merge_difference: float
    """Largest difference of a logit between base plus adapter and the merged checkpoint."""
    quantized: list[DecoderMeasurement]
    embedder: EncoderMeasurement
    retrieval: dict[str, dict[str, Any]]
    """By language."""
    refusals: dict[str, dict[str, Any]]
    """By language: what the desk refuses before the model is asked, of every held-out question."""
    answers: dict[str, dict[str, Any]]
    """By model."""
    layout: LayoutChoice
    attacks: dict[str, Any]
    """Of the default file: `attacks`, `leaks`, `leak_rate`, `interval`; empty where none were tried."""
    classifiers: dict[str, dict[str, Any]]
    """By classifier, on examples it was not trained on."""
    intents: dict[str, dict[str, float]] = {}
    """By model: the share answered right of the questions of each intent."""
    corrections: dict[str, int] = {}
    """What agents corrected (`corrections`), and how many of these the release answers right (`passed`)."""
    stages: dict[str, StageCost]
    seconds_this_run: float

    def gate_figures(self, recipe: Recipe) -> dict[str, float | None]:
        """The figures a gate may name; None for what was not measured.

        KL and top-1 are those of the student that is released; where no teacher was captured it has none to differ
        from. Retrieval and refusals count in the languages the model writes, the worst of them; answers and
        perplexity are those of the default file.
        """
        student = self.student.get("tuned") or self.student.get("distilled") or {"kl": 0.0, "top1": 1.0}
        hits = [row["hit@5"] for lang, row in self.retrieval.items() if lang in recipe.languages]
        files = {row.format: row for row in self.quantized}
        default = files.get(recipe.quantize.default)
        return {
            **self.answers.get(recipe.quantize.default, {}),
            **self._refused(recipe),
            "kl": student["kl"],
            "top1": student["top1"],
            "hit5": min(hits) if hits else None,
            "leak_rate": self.attacks.get("leak_rate"),
            # Of the replies that agents wrote: every held-out record has one, questions only where somebody gave one.
            "perplexity": default.perplexity if default else None,
            "intent_drop": largest_intent_drop(
                self.intents.get(LAST_RELEASE, {}), self.intents.get(recipe.quantize.default, {})
            ),
        }

    def _refused(self, recipe: Recipe) -> dict[str, float]:
        """The worst language's refusals, of every question: those of the few that models are asked say too little."""
        out = {}
        for name, worst in (("refused_wrongly", max), ("refused_rightly", min)):
            rows = (row for lang, row in self.refusals.items() if lang in recipe.languages)
            known = [row[name] for row in rows if row[name] is not None]
            if known:
                out[name] = worst(known)
        return out


@dataclass(frozen=True)
class Chain:
    """One recipe in one work folder, from its articles to its bundle."""

    recipe: Recipe
    work: Path
    base: str | None = None
    """A base model in place of the recipe's."""
    from_stage: str | None = None
    """Run again from this stage on, of either half."""
    launcher: str = ""
    """A command that starts the processes which train."""
    shard: bool = False
    source: str = "the recipe"
    """The recipe's file, for messages."""

    def check(self) -> list[str]:
        """Refuse what the recipe gets wrong before any work; returns the models that are not on this machine yet."""
        checks = FormatChecks(check_formats, lambda columns: check_columns(self.recipe.quantize.formats, columns))
        with self._errors_name_the_recipe():
            return check_recipe(self.recipe, base=self.base, checks=checks)

    def run(self) -> BuildReport:
        """Run every stage that is stale; `UsageError` for a stage or setting that does not exist, before any work."""
        began = time.monotonic()
        force = self.forced_quantize_stages()
        self.check()
        with self._errors_name_the_recipe():
            build = self._open()
            embedder = _embedder(self.recipe)
            speech = self._speech()
            made = build.run(write_gguf)
        result = quantize(
            self.work,
            quantize_settings(build, made, embedder, speech),
            now=datetime.now().astimezone(),
            say=say,
            force=force,
            train_heads=train_classifiers,
        )
        return _report(self.recipe, made, result, time.monotonic() - began)

    def forced_quantize_stages(self) -> tuple[str, ...]:
        """Stages of quantize that run again though nothing has changed; `UsageError` for a stage that does not exist.

        All of them after a stage of distill, since `--from` promises that every later stage runs.
        """
        wanted, receipt = self.recipe.quantize, self.recipe.data.feedback is not None
        stages = stage_names(wanted.formats, onnx=wanted.onnx, receipt=receipt)
        if self.from_stage is None:
            return ()
        if self.from_stage in STAGE_NAMES:
            return stages
        if self.from_stage not in stages:
            known = ", ".join((*STAGE_NAMES, *stages))
            raise UsageError(f"no stage '{self.from_stage}'", where="--from", hint=f"one of {known}")
        return stages[stages.index(self.from_stage) :]

    def predict_capture(self, records: int) -> Mapping[str, float]:
        """Hours and disk of the recipe's capture, from about `records` records really captured."""
        with self._errors_name_the_recipe():
            return self._open().predict(write_gguf, records)

    @contextmanager
    def _errors_name_the_recipe(self) -> Iterator[None]:
        """An error whose place is a key of the recipe gets the recipe's file in front of it."""
        try:
            yield
        except EdgedeskError as error:
            if error.where.split(".")[0] not in Recipe.model_fields:
                raise
            raise type(error)(error.what, where=f"{self.source}: {error.where}", hint=error.hint) from error

    def _speech(self) -> Path | None:
        """The bundle's `speech/`, made before the long stages: what cannot be fetched is found out at once."""
        if self.recipe.speech is None:
            return None
        folder = self.work / "speech"
        write_speech_folder(self.recipe.speech, folder, say)
        return folder

    def _open(self) -> Build:
        return open_build(
            self.recipe,
            self.work,
            base=self.base,
            force_from=self.from_stage if self.from_stage in STAGE_NAMES else None,
            launcher=self.launcher,
            shard=self.shard,
        )


def check_formats(wanted: Quantize) -> None:
    """`UsageError` naming the key of `[quantize]` that names a format which is not made."""
    try:
        check_kinds(wanted.formats)
    except UsageError as error:
        raise UsageError(error.what, where="quantize.formats", hint=error.hint) from None
    if not wanted.formats or len(set(wanted.formats)) < len(wanted.formats):
        raise UsageError("none, or one of them twice", where="quantize.formats", hint=f"some of {', '.join(KINDS)}")
    if wanted.default not in wanted.formats:
        raise UsageError(
            f"'{wanted.default}' is not among the formats ({', '.join(wanted.formats)})",
            where="quantize.default",
            hint="add it to quantize.formats, or name one of them",
        )
    if wanted.rounding == "compensated" and not wanted.importance_records:
        raise UsageError(
            "rounding is 'compensated', but no records are given to round by",
            where="quantize.importance_records",
            hint="set it to 32, or quantize.rounding to 'nearest'",
        )
    if wanted.onnx_in_bundle and not wanted.onnx:
        raise UsageError(
            "onnx is off, so there is no ONNX model to put in",
            where="quantize.onnx_in_bundle",
            hint="set quantize.onnx = true",
        )


def quantize_settings(
    build: Build, made: Mapping[str, Manifest], embedder: Path, speech: Path | None = None
) -> QuantizeSettings:
    """What quantize is to make of a finished distill half: every key of the recipe that concerns it, in one place."""
    # The recipe of the build, not of the file: text distillation changes what learns.
    recipe, work, learns = build.recipe, build.folder, build.recipe.student.learns
    teachers = {"tuned teacher": "tuned_teacher", "teacher" if learns else "untuned student": "teacher"}
    files = {name: work / stage / TEACHER_GGUF for name, stage in teachers.items() if stage in made}
    untuned = work / "pruned" if "pruned" in made else build.released.checkpoint
    return QuantizeSettings(
        name=recipe.name,
        version=recipe.version,
        formats=recipe.quantize.formats,
        default=recipe.quantize.default,
        importance_records=recipe.quantize.importance_records,
        rounding=recipe.quantize.rounding,
        onnx=recipe.quantize.onnx,
        onnx_in_bundle=recipe.quantize.onnx_in_bundle,
        onnx_bits=recipe.quantize.onnx_bits,
        onnx_max_kl=recipe.quantize.onnx_max_kl,
        onnx_min_agreement=recipe.quantize.onnx_min_agreement,
        embedder=embedder,
        speech=speech,
        base=build.released.name,
        licence=build.released.licence,
        questions=(*recipe.data.questions, glob.escape(str(work / "records" / HELD_OUT)) + "/*.jsonl"),
        # A server that teaches leaves no file.
        last_release=_last_file(recipe),
        beside={name: file for name, file in files.items() if file.is_file()},
        untuned=untuned if learns else None,
        asked=recipe.evaluate.questions,
        attacks=recipe.evaluate.attacks,
        layout_keeps=recipe.evaluate.layout_keeps,
        facts_read=made["merged"].figures.get("facts_read", (0.0, 0.0)),
    )


def _last_file(recipe: Recipe) -> Path | None:
    """The file that branches run of the release before; it answers the same questions, and the gate compares."""
    if recipe.last_release is None:
        return None
    return open_bundle(recipe.last_release.work / "bundle", verify=False).model_path


def _embedder(recipe: Recipe) -> Path:
    name = recipe.base.embedder
    return fetch_model(name, say) if name in CATALOGUE else Path(name)


def _report(recipe: Recipe, made: Mapping[str, Manifest], result: QuantizeResult, seconds: float) -> BuildReport:
    pruned = made["pruned"].figures if "pruned" in made else {}
    student = made["student"].figures if "student" in made else {}
    merged = made["merged"].figures
    steps = {
        "pruned": pruned.get("held_out_before"),
        "repaired": pruned.get("held_out"),
        "distilled": student.get("held_out"),
        "tuned": merged.get("held_out"),
    }
    return BuildReport(
        recipe=recipe.name,
        bundle=result.bundle,
        parity_strings=made["teacher"].figures["parity_strings"],
        records=made["records"].figures["by_split"],
        student={name: row for name, row in steps.items() if row},
        merge_difference=merged["largest_logit_difference"],
        quantized=result.measures,
        embedder=result.embedder,
        retrieval=result.answers["retrieval"],
        answers=result.answers["models"],
        layout=LayoutChoice.model_validate(result.answers["layout"]),
        attacks=result.answers["attacks"],
        refusals=result.answers["refusals"],
        classifiers=result.answers["heads"],
        intents=result.answers["intents"],
        corrections={key: receipt.figures[key] for key in ("corrections", "passed")}
        if (receipt := result.manifests.get("receipt"))
        else {},
        stages={
            name: StageCost.model_validate({key: manifest.figures[key] for key in StageCost.model_fields})
            for name, manifest in {**made, **result.manifests}.items()
        },
        seconds_this_run=round(seconds, 1),
    )


_FILE_COLUMNS = ("megabytes", "kl", "kl_p99", "top1", "perplexity", "tokens_per_s")
"""What fits into 80 columns; `--json` has token flips, counts and intents too."""


def print_report(report: BuildReport, console: Console) -> None:
    """Print the figures as tables."""
    _table(console, "Where the time went", {name: cost.model_dump() for name, cost in report.stages.items()}, "stage")
    _table(console, "Student vs teacher on held-out replies", report.student, "student")
    quantized = {row.format: row.model_dump(include=set(_FILE_COLUMNS)) for row in report.quantized}
    _table(console, "Files vs the f32 checkpoint", quantized, "format")
    _table(console, "Retrieval on held-out questions", report.retrieval, "language")
    answers = report.answers
    measured = [
        key for key in next(iter(answers.values()), {}) if any(row[key] is not None for row in answers.values())
    ]
    # Models are the columns: there are more figures than models.
    rows = {key.replace("_", " "): {name: row[key] for name, row in answers.items()} for key in measured}
    _table(console, "Answers to held-out questions", rows, "figure")
    _table(console, "Refused before the model, of every held-out question", report.refusals, "language")
    if report.attacks:
        _table(console, "Attacks in held-out forms", {"desk": report.attacks}, "")
    _table(console, "Classifiers on held-out questions", report.classifiers, "classifier")
    if report.corrections:
        counts = report.corrections
        console.print(Text(f"corrections: {counts['passed']} of {counts['corrections']} are answered right"))
    if (layout := report.layout).wanted != "exact":
        why = layout.reason or f"{layout.wanted} keeps {layout.kept} of the facts found exact"
        console.print(Text(f"layout: {layout.used} ({why})"))
    console.print(Text(f"bundle: {report.bundle}"), soft_wrap=True)


def _table(console: Console, title: str, rows: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """One table; cells are `Text`, because Rich reads brackets in plain strings as markup."""
    if not rows:
        return
    grid = Table(title=title, title_justify="left")
    grid.add_column(key)
    first = next(iter(rows.values()))
    for column, value in first.items():
        justify: Literal["left", "right"] = "left" if isinstance(value, str) else "right"
        grid.add_column(Text(column), justify=justify)
    for name, row in rows.items():
        grid.add_row(Text(name), *(Text(str(row.get(column))) for column in first))
    console.print(grid)


@app.command(epilog="Example: edgedesk build recipes/demo.toml --work work/demo")
def build(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).")],
    work: Annotated[Path | None, typer.Option(help="Folder of the stages; default work/<name of the recipe>.")] = None,
    base: Annotated[str | None, typer.Option(help="Another base model: catalogue name, path, or hub id.")] = None,
    from_stage: Annotated[
        str | None, typer.Option("--from", help="Re-run this stage and all later ones, such as records or measured.")
    ] = None,
    launcher: Annotated[
        str, typer.Option(help='Command that starts several training processes: "torchrun --nproc-per-node 4".')
    ] = "",
    shard: Annotated[
        bool,
        typer.Option("--shard", help="Shard the student across processes (FSDP) when it does not fit on one device."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and its files, then stop.")] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="With --dry-run: capture N records, then estimate time and disk for all.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Build a bundle: records, capture, student, tuning, merge, quantization, measurement, bundle."""
    go_offline()  # before a stage imports torch and transformers
    if sample and not dry_run:
        raise UsageError("--sample needs --dry-run", where="--sample", hint="add --dry-run")
    loaded = load_recipe(recipe)
    folder = (work or Path("work") / loaded.name).absolute()
    chain = Chain(loaded, folder, base=base, from_stage=from_stage, launcher=launcher, shard=shard, source=str(recipe))
    if dry_run:
        _dry_run(chain, recipe, sample, as_json=as_json)
        return
    with lock_home(folder, "build"):
        report = chain.run()
    if as_json:
        out_json(report.model_dump(mode="json"))
    else:
        print_report(report, Console())
    figures = report.gate_figures(loaded)
    write_gate_record(
        report.bundle,
        bounds=set_bounds(loaded.gate),
        figures={name: value for name, value in figures.items() if isinstance(value, int | float | None)},
        missed=tuple(missed_bounds(set_bounds(loaded.gate), figures)),
    )
    check_gate(loaded.gate, figures, where=f"{recipe}: gate")


def _dry_run(chain: Chain, recipe: Path, sample: int, *, as_json: bool) -> None:
    chain.forced_quantize_stages()
    if unseen := chain.check():
        say(f"not checked, because not on this machine yet: {', '.join(unseen)}")
    made = chain.recipe
    figures: Mapping[str, float | str]
    if sample:
        with lock_home(chain.work, "build"):
            figures = chain.predict_capture(sample)
        said = ", ".join(f"{key} {value}" for key, value in figures.items())
    else:
        figures = {"recipe": str(recipe), "name": made.name, "version": made.version, "work": str(chain.work)}
        said = f"{recipe}: {made.name} {made.version} would be built in {chain.work}"
    if as_json:
        out_json(figures)
    else:
        out(said)
