"""Claim: from start to the first word in 3 seconds on the 3B shape, in the memory that `plan` predicted.

A new process loads the file, which lies in the file cache, and answers a short question; measured from its start to the
first text, Python's own start included. Memory is what the process holds then: its own, and the model's mapped pages.
The peer is llama-server, from its start to the same.

    python benchmarks/startup.py [--model 135m|3b] [--threads 2] [--quick] [--json]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import shape3b
from _harness import Bar, Peer, Run, begin, in_turns, main, median, model_file, peer_folder, spread

from distill.models.catalogue import open_base
from quantize.formats.checkpoint import ModelShape, read_json, read_shape
from quantize.measure.size_prediction import predict_sizes
from runtime.base.progress import say

BARS = {"start_s": Bar(most=3.0), "memory_over_plan": Bar(least=0.9, most=1.1)}
CONTEXT_TOKENS = 2048
PROGRAM = """
import json, sys, threading, time
from pathlib import Path
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
path, threads, context = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with LlamaEngine(EngineOptions(path, context_tokens=context, threads=threads, slots=1)) as engine:
    tokens = engine.vocab.encode("How long do I have to return something?", control=False)
    for piece in engine.generate(tokens, SamplingParams(max_tokens=4), threading.Event()):
        first = time.monotonic()
        break
    status = Path("/proc/self/status").read_text()
print(json.dumps({"first": first, "status": status}))
"""


@dataclass(frozen=True)
class Start:
    """One start."""

    seconds: float
    memory_bytes: int


def start_engine(model: Path, threads: int) -> Start:
    """A process of its own; its clock is this one's."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model), str(threads), str(CONTEXT_TOKENS)],
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(done.stdout)
    return Start(told["first"] - began, resident(told["status"]))


def start_peer(folder: Path, model: Path, threads: int) -> Start:
    """llama-server, asked as soon as it says that it is ready."""
    with Peer(folder, model, threads=threads, context_tokens=CONTEXT_TOKENS) as peer:
        reply = peer.ask(list(range(100, 110)), 4)
        status = Path(f"/proc/{peer.process.pid}/status").read_text()
        return Start(reply.arrivals[0] - peer.started, resident(status))


def resident(status: str) -> int:
    """Bytes a process holds in memory, from its /proc status."""
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def planned(model: Path, name: str) -> int | None:
    """What `edgedesk quantize plan` says of a server with this file; none for a shape that is not known here."""
    if name == "3b":
        sizes = shape3b.LLAMA_3B
        shape = ModelShape(
            architecture="llama", layers=sizes.layers, hidden=sizes.hidden, heads=sizes.heads,
            kv_heads=sizes.kv_heads, head_dim=sizes.head, feed_forward=sizes.feed_forward, vocab=sizes.vocab,
            context=shape3b.CONTEXT, norm_eps=1e-5, rope_theta=500_000.0, rope_scaling=None, tied=True,
        )  # fmt: skip
        return next(row.memory_bytes for row in predict_sizes(shape, CONTEXT_TOKENS) if row.format == "q4_k_m")
    if name == "135m":
        config = open_base("smollm2-135m-instruct", say).checkpoint / "config.json"
        plan = next(row for row in predict_sizes(read_shape(read_json(config), str(config)), CONTEXT_TOKENS))
        # The file is in a format that is not offered: the rest of the plan does not depend on it.
        return plan.memory_bytes - plan.file_bytes + model.stat().st_size
    return None


def work(run: Run) -> None:
    """Measure both."""
    folder = peer_folder(run)
    model, threads = model_file(run.options.model), run.options.threads
    contestants: dict[str, Callable[[int], Start]] = {"engine": lambda _: start_engine(model, threads)}
    if folder is not None:
        contestants["peer"] = lambda _: start_peer(folder, model, threads)
    with model.open("rb") as file:
        while file.read(1 << 24):
            pass  # into the file cache
    starts = in_turns(2 if run.options.quick else run.options.rounds or 7, contestants, say)
    run.row("", "start to first text, s", "memory, MB")
    for name, found in starts.items():
        run.row(name, spread([one.seconds for one in found]), spread([one.memory_bytes / 1e6 for one in found]))
    run.figures["start_s"] = median([one.seconds for one in starts["engine"]])
    memory = median([float(one.memory_bytes) for one in starts["engine"]])
    run.figures["memory_mb"] = memory / 1e6
    if (plan := planned(model, run.options.model)) is not None:
        run.figures["planned_mb"] = plan / 1e6
        run.figures["memory_over_plan"] = memory / plan
    if peers := starts.get("peer"):
        run.figures["peer_start_s"] = median([one.seconds for one in peers])


if __name__ == "__main__":
    raise SystemExit(main(begin("startup", __doc__, BARS), work))
