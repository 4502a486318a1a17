"""Head office's commands for files: quantize a checkpoint, plan it, compare what was made.

Stdout is data, stderr is talk. Errors are raised; the front door prints them. Heavy libraries are imported by the
command that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.base.progress import say
from runtime.cli.output import out as print_line
from runtime.cli.output import out_json

if TYPE_CHECKING:
    from quantize.measure.divergence import DecoderMeasurement


class _CheckpointOrCommand(typer.core.TyperGroup):
    """`quantize CHECKPOINT` is short for `quantize run CHECKPOINT`: a word that is no command is a folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_CheckpointOrCommand,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Turn a checkpoint into the files a branch can run.

    Example: edgedesk quantize build/demo/merged --out files --format q4_k_m""",
)

CheckpointFolder = Annotated[
    Path, typer.Argument(help="A Hugging Face checkpoint: Llama, Mistral, Qwen2, Qwen3, SmolLM3, Granite or Phi-3.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Processor threads.")]


_CALIBRATION_RECORDS = 32
_CALIBRATION_PIECES = 32
"""More of them lower the error left on other texts by little: both are some 10,000 tokens."""
_ONNX_PROBES = 6


@app.command()
def run(
    checkpoint: CheckpointFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = Path("quantized"),
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="q8_0, q6_k, q5_k_m, q4_k_m, q4_k_s, q4_0, iq4_nl or iq4_xs.")
    ] = None,
    importance: Annotated[
        Path | None, typer.Option(help="Importance matrix (GGUF), of a build or of llama-imatrix.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Round so that outputs err least on this: a text file, or a build's work folder."),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also the ONNX decoder.")] = False,
    onnx_bits: Annotated[int, typer.Option("--onnx-bits", help="Bits of the ONNX decoder's weights: 8, or 4.")] = 8,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Write f16, then each format, as CHECKPOINT's files in a folder; what is up to date is kept.

    Example: edgedesk quantize build/demo/merged --out files --format q8_0 --format q4_k_m
    """
    from quantize.formats.gguf_quantize import check_kinds
    from quantize.formats.importance_matrix import read_importance
    from quantize.formats.onnx_decoder import check_bits
    from quantize.measure.samples import cut_text
    from quantize.pipeline.build import load_samples
    from quantize.pipeline.stages import Calibration, make_f16, make_format, make_onnx
    from runtime.base.build_stage import StageRunner

    kinds = formats or ["q8_0", "q4_k_m"]
    check_kinds(kinds)
    if onnx:
        check_bits(onnx_bits)
    if importance:
        read_importance(importance)  # a wrong file is refused before the f16 file is written
    compensated = None
    if calibration:
        if calibration.is_dir():
            samples = load_samples(calibration, _CALIBRATION_RECORDS, ("train",))
            compensated = Calibration(
                checkpoint, [sample.tokens for sample in samples], [sample.reply for sample in samples]
            )
        else:
            compensated = Calibration(checkpoint, cut_text(calibration, checkpoint)[:_CALIBRATION_PIECES])
    stages = StageRunner(say)
    files = {"f16": make_f16(stages, checkpoint, out, name=checkpoint.resolve().name)}
    for kind in kinds:
        files[kind] = make_format(
            stages, files["f16"], out, kind, importance=importance, compensated=compensated, threads=threads
        )
    if onnx:
        probes = compensated.texts[:_ONNX_PROBES] if compensated else ()
        files["onnx"] = make_onnx(stages, checkpoint, out, bits=onnx_bits, probes=probes, threads=threads)
    sizes = {name: _megabytes(path) for name, path in files.items()}
    if as_json:
        rows = {name: {"path": str(path), "megabytes": sizes[name]} for name, path in files.items()}
        out_json({"files": rows, "seconds": stages.seconds})
    else:
        _table(("file", "MB"), [(str(path), f"{sizes[name]:.1f}") for name, path in files.items()])


@app.command()
def plan(
    checkpoint: CheckpointFolder,
    context: Annotated[int, typer.Option("--context", min=256, help="Tokens of context a server holds.")] = 2048,
    wait: Annotated[
        list[str] | None,
        typer.Option("--wait", help="Predict this format's wait, too: layers of its shape are timed on this machine."),
    ] = None,
    prompt: Annotated[
        int, typer.Option("--prompt", min=16, max=4096, help="Unread tokens of the prompt that is waited for.")
    ] = 384,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Predict each format's size and memory, and on request its waiting time, from config.json alone.

    Example: edgedesk quantize plan build/demo/merged --context 4096 --wait q4_k_m --threads 4
    """
    from quantize.formats.checkpoint import read_json, read_shape
    from quantize.formats.gguf_quantize import check_kinds
    from quantize.measure.size_prediction import predict_sizes
    from quantize.measure.wait_prediction import predict_wait

    check_kinds(wait or ())
    path = checkpoint / "config.json"
    shape = read_shape(read_json(path), str(path))
    plans = predict_sizes(shape, context)
    waits = {}
    for kind in dict.fromkeys(wait or ()):
        say(f"timing layers in {kind}")
        waits[kind] = predict_wait(shape, kind, prompt_tokens=prompt, threads=threads)
    if as_json:
        rows = [row.as_dict() for row in plans]
        out_json({"context": context, "formats": rows, "waits": [row.model_dump() for row in waits.values()]})
        return
    head: tuple[str, ...] = ("format", "file MB", "server MB", "to make MB")
    cells: list[tuple[str, ...]] = [
        (row.format, *(f"{size / 1e6:,.0f}" for size in (row.file_bytes, row.memory_bytes, row.build_bytes)))
        for row in plans
    ]
    if waits:
        head = (*head, f"first word after {prompt} tokens, s", "tokens/s")
        cells = [
            (*row, f"{waits[row[0]].first_word_s:.2f}", f"{waits[row[0]].writing_per_s:.1f}")
            if row[0] in waits
            else (*row, "", "")
            for row in cells
        ]
    _table(head, cells)


@app.command()
def compare(
    work: Annotated[Path, typer.Argument(help="A build's work folder, with merged, records, prompt and articles.")],
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="GGUF file or ONNX folder; default: all in quantized/.")
    ] = None,
    records: Annotated[int, typer.Option("--records", min=1, help="Held-out records to read.")] = 24,
    text: Annotated[
        Path | None, typer.Option("--text", help="Read this general text, too: UTF-8, 512 tokens at least.")
    ] = None,
    speed_threads: Annotated[
        list[int] | None, typer.Option("--speed-threads", min=1, help="Time each file with so many threads; repeat.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw KL against the wait for the first word: FILE.svg or .png.")
    ] = None,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Measure KL, top-1, flips, size and speed of quantized files against the f32 checkpoint.

    "lost" counts reply tokens that f32 puts first and the file does not, "won" the other way round.

    Example: edgedesk quantize compare build/demo --records 12 --speed-threads 2 --plot quality.svg
    """
    from quantize.measure.divergence import measure_decoders
    from quantize.measure.quality_plot import Point, check_ending, draw
    from quantize.measure.samples import text_samples
    from quantize.pipeline.build import load_samples

    if plot:
        check_ending(plot)
    counts = tuple(dict.fromkeys(speed_threads or ((threads,) if plot else ())))
    candidates = {_name(path): path for path in files} if files else _built(work / "quantized")
    samples, general = load_samples(work, records), text_samples(text, work / "merged") if text else []
    rows = measure_decoders(
        work / "merged", candidates, samples, scratch=work, threads=threads, speed_threads=counts, report=say
    )
    if plot:
        timed = [Point(row.format, row.speeds[0].first_word_s, row.kl) for row in rows if row.speeds]
        draw(timed, plot, title=f"{work.resolve().name}, {rows[0].tokens} reply tokens, {counts[0]} threads")
    others = (
        measure_decoders(work / "merged", candidates, general, scratch=work, threads=threads, report=say)
        if general
        else []
    )
    if as_json:
        out_json({
            "measures": [row.model_dump() for row in rows],
            "general": [row.model_dump() for row in others],
        })  # fmt: skip
        return
    _show_measures(rows)
    if others:
        print_line(f"\n{text}:")
        _show_measures(others)


@app.command()
def choose(
    measures: Annotated[Path, typer.Argument(help="What `compare --speed-threads N --json` printed.")],
    memory: Annotated[float, typer.Option("--memory", min=1, help="MB that the branch has for the model.")],
    wait: Annotated[float, typer.Option("--wait", min=0.01, help="Seconds that agents wait for the first word.")],
    cores: Annotated[int, typer.Option("--cores", min=1, help="Processor cores of the branch.")] = 2,
    prompt: Annotated[int, typer.Option("--prompt", min=1, help="Unread tokens of a usual prompt.")] = 384,
    max_kl: Annotated[float, typer.Option("--max-kl", min=0.0001, help="Nats that a file may stray from f32.")] = 0.1,
    min_top1: Annotated[
        float, typer.Option("--min-top1", min=0, max=1, help="Share of tokens with the same likeliest one.")
    ] = 0.9,
    as_json: AsJson = False,
) -> None:
    """Name the best of the measured files for a branch: within the gate, its memory and its wait.

    Example: edgedesk quantize choose measures.json --memory 1500 --wait 2 --cores 4
    """
    from pydantic import ValidationError

    from quantize.formats.checkpoint import read_json
    from quantize.measure.choice import BranchProfile, QualityGate
    from quantize.measure.choice import choose as choose_file
    from quantize.measure.divergence import DecoderMeasurement
    from runtime.base.validation import first_problem
    from runtime.errors import GateError, InputError, MissingError

    if not measures.is_file():
        raise MissingError("no such file of measures", where=str(measures), hint=_MEASURE_FIRST)
    found = read_json(measures).get("measures")
    try:
        rows = [DecoderMeasurement.model_validate(row) for row in found] if isinstance(found, list) else []
    except ValidationError as error:
        problem = first_problem(error, "key", DecoderMeasurement)
        raise InputError(problem.sentence, where=str(measures), hint=_MEASURE_FIRST) from None
    if not rows:
        raise InputError("no measures in it", where=str(measures), hint=_MEASURE_FIRST)
    profile = BranchProfile(memory_mb=memory, cores=cores, wait_s=wait, prompt_tokens=prompt)
    choice = choose_file(rows, profile, QualityGate(max_kl=max_kl, min_top1=min_top1))
    if as_json:
        out_json(choice.model_dump(mode="json"))
    else:
        for verdict in choice.verdicts:
            mark = "best" if verdict.format == choice.format else "; ".join(verdict.misses) or "passes"
            print_line(f"{verdict.format}: {mark}")
    if choice.format is None:
        raise GateError(
            "no file passes for this branch", where=str(measures), hint="make a smaller format, or accept a longer wait"
        )


_MEASURE_FIRST = "edgedesk quantize compare WORK --speed-threads 2 --json > FILE"


def _name(path: Path) -> str:
    """What a file is called in the table: a stage's `model.gguf` by its folder."""
    return path.parent.name if path.name == "model.gguf" else path.stem


def _built(folder: Path) -> dict[str, Path]:
    """Every finished file below a build's `quantized/` folder."""
    from runtime.errors import MissingError

    found = {path.parent.name: path for path in sorted(folder.glob("*/model.gguf"))}
    if (folder / "onnx" / "model.onnx").is_file():
        found["onnx"] = folder / "onnx"
    if not found:
        raise MissingError("no quantized files", where=str(folder), hint="edgedesk quantize CHECKPOINT --out FOLDER")
    return found


def _show_measures(rows: Sequence[DecoderMeasurement]) -> None:
    cells = [
        (
            row.format,
            f"{row.megabytes:.1f}",
            f"{row.kl:.4f}",
            f"{row.kl_p99:.3f}",
            f"{row.top1:.3f}",
            f"{row.perplexity:.2f}",
            str(row.lost),
            str(row.won),
            f"{row.tokens_per_s:.1f}",
        )
        for row in rows
    ]
    _table(("file", "MB", "KL to f32", "99 %", "top-1", "perplexity", "lost", "won", "tokens/s"), cells)
    timed = [(row, speed) for row in rows for speed in row.speeds]
    if timed:
        print_line("")
        _table(
            ("file", "threads", "reads/s", "writes/s", "first word s", "memory MB"),
            [
                (
                    row.format,
                    str(speed.threads),
                    f"{speed.reading_per_s:.1f}",
                    f"{speed.writing_per_s:.1f}",
                    f"{speed.first_word_s:.2f}",
                    f"{speed.memory_mb:.0f}",
                )
                for row, speed in timed
            ],
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns for people: the first to the left, figures to the right."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, *rows]:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print_line("  ".join([first, *others]))


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else list(path.glob("*.onnx*"))
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)
