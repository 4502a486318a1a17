"""Claim: compensated rounding loses a quarter less than an importance matrix does, in a file of the same size.

  kl_ratio_KIND   mean KL to f32 of the compensated file over that of llama.cpp's own with the same importance matrix,
                  on held-out replies of intents that nothing was rounded by: at most 0.75
  top1_gain_KIND  top-1 of the compensated file less that of the other: at least 0

Importance matrix and compensation get the same training records, of one half of the intents. With --general the model
is SmolLM2-135M-Instruct itself, and the text Python's language reference, cut into two halves.

    python benchmarks/rounding.py [--work FOLDER] [--general] [--kind q4_0 …] [--records 40] [--quick] [--json]

Three to ten minutes. `--quick` takes one kind and 12 records.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from _harness import Bar, Run, begin
from _quantized import add_work, general_text, halves, work_folder

from distill.models.catalogue import open_base
from quantize.formats.compensated_gguf import compensate_gguf
from quantize.formats.gguf_quantize import KINDS, UNWEIGHED, quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.importance_matrix import measure_importance, write_importance
from quantize.measure.divergence import DecoderMeasurement, measure_decoders
from quantize.measure.samples import Sample, text_samples
from runtime.base.progress import bar, say
from runtime.errors import EdgedeskError

DEFAULT_KINDS = ("q4_0", "iq4_nl", "q4_k_m")


def options(parser: ArgumentParser) -> None:
    """What is rounded, and on what it is read."""
    add_work(parser)
    parser.add_argument("--general", action="store_true", help="SmolLM2-135M-Instruct on general text")
    parser.add_argument("--kind", action="append", choices=sorted(set(KINDS) - UNWEIGHED), help="repeat for several")
    parser.add_argument("--records", type=int, default=40, help="held-out records, or pieces of text times four")
    parser.add_argument("--calibrating", type=int, default=32, help="training records, or pieces of text")


def texts(run: Run, scratch: Path) -> tuple[Path, list[Sample], list[Sample]]:
    """(checkpoint, what is rounded by, what is read)."""
    count = 12 if run.options.quick else run.options.records
    if not run.options.general:
        work = work_folder(run.options.work)
        return work / "merged", *halves(work, run.options.calibrating, count)
    checkpoint = open_base("smollm2-135m-instruct", say).checkpoint
    text = general_text()
    parts = []
    for name, part in (("first", text[: len(text) // 2]), ("second", text[len(text) // 2 :])):
        (scratch / name).write_text(part, encoding="utf-8")
        pieces = run.options.calibrating if name == "first" else max(2, count // 4)
        parts.append(text_samples(scratch / name, checkpoint, length=384, count=pieces))
    return checkpoint, parts[0], parts[1]


def main() -> int:
    """Round, read, compare."""
    run = begin("rounding", __doc__, {}, options)
    kinds = run.options.kind or (DEFAULT_KINDS[:1] if run.options.quick else DEFAULT_KINDS)
    threads = run.options.threads
    run.bars = {
        **{f"kl_ratio_{kind}": Bar(most=0.75) for kind in kinds},
        **{f"top1_gain_{kind}": Bar(least=0) for kind in kinds},
    }
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        try:
            checkpoint, known, held = texts(run, scratch)
        except EdgedeskError as error:
            run.absent.append(error.what)
            return run.end()
        tokens, starts = [sample.tokens for sample in known], [sample.reply for sample in known]
        say(f"rounding by {sum(map(len, tokens))} tokens")
        write_gguf(checkpoint, scratch / "f16.gguf")
        matrix = scratch / "importance.gguf"
        write_importance(measure_importance(checkpoint, tokens, threads=threads), matrix)
        files: dict[str, Path] = {}
        for kind in kinds:
            plain, better = scratch / f"{kind}.gguf", scratch / f"{kind}-compensated.gguf"
            quantize_gguf(scratch / "f16.gguf", plain, kind, importance=matrix, threads=threads)
            began = time.perf_counter()
            with bar(f"rounding {kind}", 1, unit="files") as advance:
                done = compensate_gguf(checkpoint, plain, better, tokens, starts=starts, threads=threads)
                advance(1)
            run.details[f"seconds_{kind}"] = round(time.perf_counter() - began, 1)
            run.details[f"output_error_left_{kind}"] = round(done.remaining, 3)
            assert plain.stat().st_size == better.stat().st_size
            files |= {kind: plain, f"{kind} compensated": better}
        rows = measure_decoders(checkpoint, files, held, scratch=scratch, threads=threads, decode_tokens=2, report=say)
    compare(run, kinds, {row.format: row for row in rows})
    return run.end()


def compare(run: Run, kinds: list[str] | tuple[str, ...], rows: dict[str, DecoderMeasurement]) -> None:
    """The table, and the figures that the bars are about."""
    run.row("file", "MB", "KL, 99 %", "top-1", "perplexity")
    for row in rows.values():
        run.row(
            row.format,
            f"{row.megabytes:.1f}",
            f"{row.kl:.5f}, {row.kl_p99:.3f}",
            f"{row.top1:.4f} of {row.tokens}",
            f"{row.perplexity:.3f}",
        )
    for kind in kinds:
        plain, better = rows[kind], rows[f"{kind} compensated"]
        run.figures[f"kl_ratio_{kind}"] = better.kl / plain.kl
        run.figures[f"top1_gain_{kind}"] = round(better.top1 - plain.top1, 4)


if __name__ == "__main__":
    sys.exit(main())
