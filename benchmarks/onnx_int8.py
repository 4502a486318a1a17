"""Claim: the 8-bit ONNX decoder is as good as f32 and half as fast as llama.cpp.

  kl            mean KL to f32 on held-out replies of the company's records: at most 0.01
  speed_vs_q8   tokens it writes a second over those of llama.cpp's Q8_0, in turns: at least 0.5

With --bits 4 the 4-bit decoder is made and measured instead. Of the ways to compute, the fastest is taken that agrees
with f32 on the likeliest token as often as the best. Needs a finished build (./build.sh demo, or --work FOLDER).

    python benchmarks/onnx_int8.py [--work FOLDER] [--bits 8] [--records 24] [--rounds 3] [--quick] [--json]

One to three minutes; `--quick` reads six records.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from _harness import Bar, begin, in_turns, median, spread
from _quantized import add_work, work_folder

from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.onnx_decoder import AgreementBound, export_onnx_decoder
from quantize.measure.divergence import measure_decoders
from quantize.measure.speed import Speed, measure_speed
from quantize.pipeline.build import load_samples
from runtime.base.progress import say
from runtime.errors import MissingError

BARS = {"kl": Bar(most=0.01), "speed_vs_q8": Bar(least=0.5)}


def options(parser: ArgumentParser) -> None:
    """Which decoder, on how many records."""
    add_work(parser)
    parser.add_argument("--bits", type=int, default=8, choices=(8, 4))
    parser.add_argument("--records", type=int, default=24)


def main() -> int:
    """Export, read, write in turns."""
    run = begin("onnx_int8", __doc__, BARS, options)
    threads = run.options.threads
    try:
        work = work_folder(run.options.work)
    except MissingError as error:
        run.absent.append(error.what)
        return run.end()
    probes = [sample.tokens for sample in load_samples(work, 6, ("train",))]
    samples = load_samples(work, 6 if run.options.quick else run.options.records)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        onnx, q8 = scratch / "onnx", scratch / "q8_0.gguf"
        say(f"exporting {run.options.bits} bits")
        open_bound = AgreementBound(max_kl=99, min_agreement=0)
        tried = export_onnx_decoder(
            work / "merged", onnx, bits=run.options.bits, probes=probes, bound=open_bound, threads=threads
        )
        write_gguf(work / "merged", scratch / "f16.gguf")
        quantize_gguf(scratch / "f16.gguf", q8, "q8_0", threads=threads)
        rows = measure_decoders(
            work / "merged", {"onnx": onnx, "q8_0": q8}, samples, scratch=scratch, threads=threads, report=say
        )

        def speed(path: Path) -> Callable[[int], Speed]:
            return lambda _round: measure_speed(path, prompt_tokens=192, threads=threads, tries=1)

        rounds = run.options.rounds or (1 if run.options.quick else 3)
        speeds = in_turns(rounds, {"onnx": speed(onnx), "q8_0": speed(q8)}, say)
    for one in tried:
        run.row(
            f"blocks of {one.block}, accuracy level {one.accuracy_level}",
            f"KL {one.kl:.4f}",
            f"agreement {one.agreement:.3f} of {one.positions}",
            "chosen" if one == tried[0] else "",
        )
    run.row("file", "MB", "KL, top-1", "writes/s", "reads/s")
    for row in rows[1:]:
        run.row(
            row.format,
            f"{row.megabytes:.0f}",
            f"{row.kl:.4f}, {row.top1:.3f} of {row.tokens}",
            spread([speed.writing_per_s for speed in speeds[row.format]]),
            spread([speed.reading_per_s for speed in speeds[row.format]]),
        )
    run.figures["kl"] = rows[1].kl
    run.figures["speed_vs_q8"] = median(
        [a.writing_per_s / b.writing_per_s for a, b in zip(speeds["onnx"], speeds["q8_0"], strict=True)]
    )
    run.details |= {
        "bits": run.options.bits,
        "block": tried[0].block,
        "accuracy_level": tried[0].accuracy_level,
        "top1": rows[1].top1,
    }
    return run.end()


if __name__ == "__main__":
    sys.exit(main())
