"""Claim: one GPU of 80 GB captures a 13B-shaped teacher and teaches, tunes and merges a 3B-shaped student.

A 13B-shaped teacher in bf16 is captured, a 3B-shaped student learns from the capture through adapters, gets LoRA
adapters of its own, and is merged; then two processes train together. Weights are random, at true shapes. The stages
are the project's own. There is no peer; tokens a second have no bar: from them a build's hours are predicted.

    python benchmarks/gpu.py [--out FILE] [--shape full|tiny] [--steps 8] [--tokens 1024] [--json]

Each stage's figures are written to FILE as soon as they are known, so a run that is cut off leaves what it had.
Without a GPU the same stages run on the CPU: `--shape tiny` for a try. Two processes need two GPUs; with fewer they
run on the CPU at the tiny shape, and the figure's name says so. `gpu.sh` runs this with a limit of 10 minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from _harness import Bar, Run, begin, main
from _random_models import STUDENT_3B, TEACHER_13B, VOCAB, noise_packs, random_llama

from distill.compute.device import choose_device, go_offline
from distill.compute.distributed import is_main_process
from distill.packing.packing import Pack
from distill.recipe.settings import DistillSettings, LoraSettings
from distill.student.merge_lora import merge_adapters
from distill.student.training import distill, tune
from distill.teacher.capture import capture, read_capture
from runtime.base.files import write_atomic
from runtime.base.memory_watch import release_memory, watch_memory
from runtime.base.progress import say
from runtime.errors import ModelError

TINY_TEACHER = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
TINY_STUDENT = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
TINY_VOCAB = 600
GPU_BARS = {f"{stage}, GPU GB": Bar(most=80.0) for stage in ("capture", "distil", "lora", "merge")}
PROCESSES = 2
LAUNCH_S = 300.0


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the figures, written after each stage")
    parser.add_argument("--shape", choices=("full", "tiny"), default="full", help="of the models (default: full)")
    parser.add_argument("--steps", type=int, default=8, help="packs of each stage")
    parser.add_argument("--tokens", type=int, default=1024, help="tokens of a pack")
    parser.add_argument("--process", action="store_true", help="one of several processes that a launcher started")


def work(run: Run) -> None:
    """Capture, distil, tune and merge in this process; then train in two."""
    import torch

    options, on_gpu = run.options, torch.cuda.is_available()
    tiny = options.shape == "tiny" or options.quick
    if on_gpu:
        run.bars = GPU_BARS
    run.details |= {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "shape": "tiny" if tiny else "full",
        "tokens a pack": options.tokens,
        "packs": options.steps,
    }
    vocabulary = TINY_VOCAB if tiny else VOCAB
    packs = noise_packs(options.steps, options.tokens, vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        captured = Path(folder) / "capture.parquet"
        with measured(run, "capture"):
            teacher = random_llama(TINY_TEACHER if tiny else TEACHER_13B, vocabulary, choose_device())
            yield_memory()
            with timed(run, "capture", packs):
                capture(teacher, packs, captured)
            del teacher
        rows = list(read_capture(captured))
        student = random_llama(TINY_STUDENT if tiny else STUDENT_3B, vocabulary, choose_device())
        with measured(run, "distil"), timed(run, "distil", packs):
            settings = DistillSettings(rank=16, frozen="bf16", learning_rate=1e-4)
            distill(student, rows, settings, Path(folder) / "kd", ignore)
        with measured(run, "lora"), timed(run, "lora", packs):
            wrapped, _ = tune(student, packs, LoraSettings(frozen="bf16"), Path(folder) / "lora", ignore)
        with measured(run, "merge"):
            began = time.monotonic()
            merge_adapters(wrapped, packs, Path(folder), Path(folder) / "merged")
            run.figures["merge, s"] = round(time.monotonic() - began, 2)
        del wrapped, student
    yield_memory()
    launch(run)
    write(run)


def ignore(_tokens: int) -> None:
    """No bar: a stage takes seconds."""


@contextmanager
def timed(run: Run, stage: str, packs: list[Pack]) -> Iterator[None]:
    """Tokens a second of a block, the first and slowest steps included."""
    import torch

    say(stage)
    began = time.monotonic()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    tokens = sum(len(pack.tokens) for pack in packs)
    run.figures[f"{stage}, tokens/s"] = round(tokens / (time.monotonic() - began), 1)


@contextmanager
def measured(run: Run, stage: str) -> Iterator[None]:
    """The most memory a block holds, of the GPU where there is one and of the machine; the file is written after it."""
    import torch

    yield_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with watch_memory() as peak:
        yield
    if torch.cuda.is_available():
        run.figures[f"{stage}, GPU GB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    run.figures[f"{stage}, memory GB"] = round(peak.megabytes / 1024, 2)
    write(run)


def yield_memory() -> None:
    """What earlier stages left goes back, to the machine and to the GPU."""
    import torch

    release_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def write(run: Run) -> None:
    """The figures so far."""
    write_atomic(run.options.out, json.dumps({"figures": run.figures, **run.details}, indent=1, default=str) + "\n")


def launch(run: Run) -> None:
    """Two processes of torchrun train one student together: on two GPUs, else on the CPU at the tiny shape."""
    import torch

    on_gpus = torch.cuda.device_count() >= PROCESSES and run.details["shape"] == "full"
    what = f"{PROCESSES} processes on {'GPUs' if on_gpus else 'the CPU, tiny'}"
    say(what)
    options = run.options
    shape, hidden = ("full", {}) if on_gpus else ("tiny", {"CUDA_VISIBLE_DEVICES": ""})
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
        sizes = ["--steps", str(options.steps), "--tokens", str(options.tokens)]
        command = [*launcher, __file__, "--process", "--shape", shape, *sizes, "--out", str(answer)]
        done = subprocess.run(command, stdout=sys.stderr, env={**os.environ, **hidden}, timeout=LAUNCH_S, check=False)
        if done.returncode or not answer.is_file():
            raise ModelError(f"the two processes ended with exit code {done.returncode}", hint="their output is above")
        run.figures[f"{what}, tokens/s"] = json.loads(answer.read_text(encoding="utf-8"))["figures"]["tokens/s"]


def train_together(run: Run) -> None:
    """What each process of the launcher does; the main process writes the figure."""
    tiny = run.options.shape == "tiny"
    vocabulary = TINY_VOCAB if tiny else VOCAB
    packs = noise_packs(run.options.steps, run.options.tokens, vocabulary)
    student = random_llama(TINY_STUDENT if tiny else STUDENT_3B, vocabulary, choose_device())
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tune(student, packs, LoraSettings(frozen="bf16"), Path(folder), ignore)
    run.figures["tokens/s"] = round(sum(len(pack.tokens) for pack in packs) / (time.monotonic() - began), 1)
    if is_main_process():
        write(run)


if __name__ == "__main__":
    go_offline()
    started = begin("gpu", __doc__, {}, options)
    task: Callable[[Run], None] = train_together if started.options.process else work
    sys.exit(main(started, task))
