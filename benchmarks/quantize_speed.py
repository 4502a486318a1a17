"""Claim: quantizing takes no longer than llama-quantize does, and little memory.

  time_vs_llama_quantize  our seconds over llama-quantize's, same f16 source, type and threads, in turns: at most 1.1
  memory_mb               our process's own memory at the peak (RssAnon, without pages of the source): at most 4,000

The source has Llama 3.2 3B's shape and random weights; --layers cuts it (28 are the whole model).

    benchmarks/peer.sh llama-quantize
    python benchmarks/quantize_speed.py [--layers 28] [--kind q4_k_m] [--rounds 1] [--quick] [--json]

Some ten minutes and 9 GB of disk with 28 layers; `--quick` takes two layers.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from _harness import Bar, begin, in_turns, median, peer_folder, spread
from _quantized import Ran, run_measured
from shape3b import LLAMA_3B, write_random

from quantize.formats.gguf_quantize import KINDS
from runtime.base.progress import say
from runtime.base.user_cache import cache_folder

BARS = {"time_vs_llama_quantize": Bar(most=1.1), "memory_mb": Bar(most=4000)}


def options(parser: ArgumentParser) -> None:
    """What is quantized into what."""
    parser.add_argument("--layers", type=int, default=LLAMA_3B.layers, help="of the 28")
    parser.add_argument("--kind", default="q4_k_m", choices=sorted(KINDS))


def main() -> int:
    """Quantize in turns."""
    run = begin("quantize_speed", __doc__, BARS, options)
    layers = 2 if run.options.quick else run.options.layers
    kind, threads = run.options.kind, str(run.options.threads)
    peer = peer_folder(run, "llama-quantize")
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        source = Path(folder) / "f16.gguf"
        say(f"writing {layers} layers of random weights")
        write_random(source, LLAMA_3B._replace(layers=layers))
        out = Path(folder) / "out.gguf"

        def ours(_round: int) -> Ran:
            return run_measured(
                [sys.executable, "-m", "quantize.formats.gguf_quantize", source, out, kind, threads],
                OMP_NUM_THREADS=threads,
            )

        def theirs(_round: int) -> Ran:
            assert peer is not None
            return run_measured([peer / "llama-quantize", source, out, kind.upper(), threads])

        contestants = {"ours": ours, **({"llama-quantize": theirs} if peer else {})}
        results = in_turns(run.options.rounds or 1, contestants, say)
        run.details |= {"layers": layers, "source_mb": round(source.stat().st_size / 1e6), "kind": kind}
    run.row(f"{kind}, {layers} of 28 layers", "seconds", "own memory, MB")
    for name, rows in results.items():
        run.row(name, spread([row.seconds for row in rows]), f"{max(row.anonymous_mb for row in rows):.0f}")
    run.figures["memory_mb"] = max(row.anonymous_mb for row in results["ours"])
    if peer:
        ratio = median([a.seconds / b.seconds for a, b in zip(results["ours"], results["llama-quantize"], strict=True)])
        run.figures["time_vs_llama_quantize"] = ratio
    return run.end()


if __name__ == "__main__":
    sys.exit(main())
