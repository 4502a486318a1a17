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
    onnx: Annotated[bool, typer.Option("--onnx", help="Also the 8-bit ONNX decoder.")] = False,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Write f16, then each format, as CHECKPOINT's files in a folder; what is up to date is kept.

    Example: edgedesk quantize build/demo/merged --out files --format q8_0 --format q4_k_m
    """
    from quantize.formats.gguf_quantize import check_kinds
    from quantize.formats.importance_matrix import read_importance
    from quantize.pipeline.stages import make_f16, make_format, make_onnx
    from runtime.base.build_stage import StageRunner

    kinds = formats or ["q8_0", "q4_k_m"]
    check_kinds(kinds)
    if importance:
        read_importance(importance)  # a wrong file is refused before the f16 file is written
    stages = StageRunner(say)
    files = {"f16": make_f16(stages, checkpoint, out, name=checkpoint.resolve().name)}
    for kind in kinds:
        files[kind] = make_format(stages, files["f16"], out, kind, importance=importance, threads=threads)
    if onnx:
        files["onnx"] = make_onnx(stages, checkpoint, out, threads=threads)
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
    as_json: AsJson = False,
) -> None:
    """Predict each format's size and memory from config.json alone.

    Example: edgedesk quantize plan build/demo/merged --context 4096
    """
    from quantize.formats.checkpoint import read_json, read_shape
    from quantize.measure.size_prediction import predict_sizes

    path = checkpoint / "config.json"
    plans = predict_sizes(read_shape(read_json(path), str(path)), context)
    if as_json:
        out_json({"context": context, "formats": [row.as_dict() for row in plans]})
        return
    _table(
        ("format", "file MB", "server MB", "to make MB"),
        [
            (row.format, *(f"{size / 1e6:,.0f}" for size in (row.file_bytes, row.memory_bytes, row.build_bytes)))
            for row in plans
        ],
    )


@app.command()
def compare(
    work: Annotated[Path, typer.Argument(help="A build's work folder, with merged, records, prompt and articles.")],
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="GGUF file or ONNX folder; default: all in quantized/.")
    ] = None,
    records: Annotated[int, typer.Option("--records", min=1, help="Held-out records to read.")] = 24,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Measure KL, top-1, size and speed of quantized files against the f32 checkpoint.

    Example: edgedesk quantize compare build/demo --records 12
    """
    from quantize.measure.divergence import measure_decoders
    from quantize.pipeline.build import load_samples

    candidates = {_name(path): path for path in files} if files else _built(work / "quantized")
    samples = load_samples(work, records)
    rows = measure_decoders(work / "merged", candidates, samples, scratch=work, threads=threads, report=say)
    _show_measures(rows, as_json)


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


def _show_measures(rows: Sequence[DecoderMeasurement], as_json: bool) -> None:
    if as_json:
        out_json({"measures": [row.model_dump() for row in rows]})
        return
    cells = [
        (row.format, f"{row.megabytes:.1f}", f"{row.kl:.4f}", f"{row.top1:.3f}", f"{row.tokens_per_s:.1f}")
        for row in rows
    ]
    _table(("file", "MB", "KL to f32", "top-1", "tokens/s"), cells)


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
