"""Claim: our KL divergence is the one that llama.cpp's own tool measures.

  kl_error  |our mean KL / llama-perplexity's - 1|, the same text, chunks and quantized file against f32: at most 0.02

    benchmarks/peer.sh llama-perplexity
    python benchmarks/kl_agreement.py [--work FOLDER] [--kind q4_k_m] [--chunks 8] [--quick] [--json]

Two minutes, 1 GB of disk; the text is Python's language reference.
"""

from __future__ import annotations

import re
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from _harness import Bar, begin, peer_folder
from _quantized import add_work, general_text, run_measured, work_folder

from quantize.formats.gguf_quantize import KINDS, quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.measure.divergence import measure_decoders
from quantize.measure.samples import text_samples
from runtime.base.progress import say
from runtime.errors import MissingError

BARS = {"kl_error": Bar(most=0.02)}
LENGTH = 512


def options(parser: ArgumentParser) -> None:
    """What is read."""
    add_work(parser)
    parser.add_argument("--kind", default="q4_k_m", choices=sorted(KINDS))
    parser.add_argument("--chunks", type=int, default=8)


def main() -> int:
    """Both read the same chunks."""
    run = begin("kl_agreement", __doc__, BARS, options)
    peer, threads = peer_folder(run, "llama-perplexity"), str(run.options.threads)
    try:
        work = work_folder(run.options.work)
    except MissingError as error:
        run.absent.append(error.what)
    if run.absent or peer is None:
        return run.end()
    chunks = 2 if run.options.quick else run.options.chunks
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        text, f32, file = scratch / "text.txt", scratch / "f32.gguf", scratch / f"{run.options.kind}.gguf"
        text.write_text(general_text()[: chunks * LENGTH * 8], encoding="utf-8")
        write_gguf(work / "merged", f32, precision="f32")
        quantize_gguf(f32, file, run.options.kind, threads=run.options.threads)
        tool: list[str | Path] = [
            peer / "llama-perplexity",
            "--file",
            text,
            "--ctx-size",
            str(LENGTH),
            "--chunks",
            str(chunks),
        ]
        tool += ["--threads", threads, "--kl-divergence-base", scratch / "base"]
        say("llama-perplexity reads f32")
        run_measured([*tool, "--model", f32])
        say("llama-perplexity reads the file")
        said = run_measured([*tool, "--model", file, "--kl-divergence"]).said
        samples = text_samples(text, work / "merged", length=LENGTH, count=chunks)
        row = measure_decoders(
            work / "merged", {"file": file}, samples, scratch=scratch, threads=run.options.threads, decode_tokens=2
        )[1]
    found = re.search(r"Mean\s+KLD:\s*([0-9.]+)", said)
    same = re.search(r"Same top p:\s*([0-9.]+)", said)
    if not found or not same:
        run.absent.append("llama-perplexity's figures: it prints them otherwise now")
        return run.end()
    run.row("", "mean KL", "top-1")
    run.row("edgedesk quantize compare --text", f"{row.kl:.5f}", f"{row.top1:.4f} of {row.tokens}")
    run.row("llama-perplexity --kl-divergence", found[1], f"{float(same[1]) / 100:.4f}")
    run.figures["kl_error"] = abs(row.kl / float(found[1]) - 1)
    run.details |= {"ours": row.kl, "theirs": float(found[1]), "tokens": row.tokens}
    return run.end()


if __name__ == "__main__":
    sys.exit(main())
