"""Claim: a 13B teacher at four bits and a 3B student meet on a machine of 24 GB without a GPU.

Random weights at true shapes, since memory and speed do not depend on what weights say: a Llama-2-13B-shaped Q4_K_M
GGUF (`shape13b.py`) is captured through llama.cpp and leaves memory; then a 3B-shaped student (OpenLLaMA 3B, the same
32,000 tokens) takes steps of distillation through LoRA adapters, its frozen weights in bf16. Capture and training are
the project's own (`distill.teacher.capture`, `distill.student.training`). Prints the peak of memory and the speed of
both; the pages of the teacher's file count, and so does the merging of the adapters.

    python benchmarks/scale_13b_to_3b.py [--steps 2] [--tokens 192] [--threads 2] [--json]

Needs 8 GB of disk for the teacher, which stays in the cache. `--quick` takes one step.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from _harness import Bar, Run, begin, main
from _random_models import STUDENT_3B, noise_packs, random_llama
from shape13b import shape13b

from distill.compute.device import bf16_is_faster, go_offline
from distill.recipe.settings import DistillSettings
from distill.student.training import distill
from distill.teacher.capture import capture, read_capture
from distill.teacher.teacher import gguf_teacher
from runtime.base.memory_watch import release_memory, watch_memory
from runtime.base.progress import say

MACHINE_GB = 24.0
BARS = {"capture, peak GB": Bar(most=MACHINE_GB), "student, peak GB": Bar(most=MACHINE_GB)}


def work(run: Run) -> None:
    """Capture, then learn."""
    import torch

    options = run.options
    torch.set_num_threads(options.threads)
    steps = 1 if options.quick else options.steps
    packs = noise_packs(steps + 1, options.tokens)
    teacher_file = shape13b()
    run.details |= {"teacher bytes": teacher_file.stat().st_size, "tokens a step": options.tokens, "steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "capture.parquet"
        say("capturing")
        with (
            watch_memory() as peak,
            gguf_teacher(teacher_file, context=options.tokens, threads=options.threads) as teacher,
        ):
            began = time.monotonic()
            figures = capture(teacher, packs, out)
            seconds = time.monotonic() - began
        release_memory()
        run.figures["capture, peak GB"] = round(peak.megabytes / 1024, 2)
        run.figures["capture, tokens/s"] = round(figures["tokens"] / seconds, 2)
        captured = list(read_capture(out))
        ends: list[float] = []
        say("learning")
        with watch_memory() as peak:
            student = random_llama(STUDENT_3B)
            run.details["student weights"] = sum(weight.numel() for weight in student.parameters())
            settings = DistillSettings(rank=16, frozen="bf16", learning_rate=1e-4)
            learned = distill(student, captured, settings, Path(folder), lambda _tokens: ends.append(time.monotonic()))
    run.figures["student, peak GB"] = round(peak.megabytes / 1024, 2)
    run.figures["student, s/step"] = round((ends[-1] - ends[0]) / (len(ends) - 1), 2)
    run.details |= {"bf16": bf16_is_faster(), "loss": learned["loss_last_quarter"]}


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--steps", type=int, default=2, help="steps that are timed")
    parser.add_argument("--tokens", type=int, default=192, help="tokens of a step's pack")


if __name__ == "__main__":
    go_offline()
    sys.exit(main(begin("scale_13b_to_3b", __doc__, BARS, options), work))
