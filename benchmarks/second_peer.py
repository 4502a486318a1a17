"""Claim: a step of the pinned llama.cpp takes no longer than the same step of its fork ik_llama.cpp.

Both hold the same file in processes of their own with the same threads and flash attention, and read rows after a
prompt of `--depth` tokens, in turns: one row is writing, the others are reading. The fork comes as the wheel of
ik-llama-cpp-python (PyPI, MIT), pinned by hash and unpacked into the cache; nothing of the project imports it. It runs
twice, once with the weights repacked as it loads them (its option `repack_tensors`). Its best counts.

    python benchmarks/second_peer.py [--model 135m|3b|FILE] [--threads 2] [--depth 256] [--quick] [--json]
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from _harness import Bar, Run, begin, in_turns, main, median, model_file, spread

from runtime.base.progress import say
from runtime.base.user_cache import cache_folder
from runtime.errors import UnavailableError

PIN = "ik-llama-cpp-python==0.1.5"
HASHES = (  # CPython 3.11, 3.12 and 3.13 on x86-64
    "52408f31dd05d16ada53b041155f14ec1fee9acd6ab0b4b4f77de04bd565bd67",
    "94b57b193587feac519ef0089e416bc61ea7d83951921cd7ae553e0145e51bf0",
    "092c9469cdb25594110145ab3459948f9023aa0413e69a7fab04eb6c727a5062",
)
ROWS = (1, 8, 36, 128)
BARS = {f"rows_{rows}": Bar(least=1.0) for rows in ROWS}
CONTEXT_TOKENS = 2048
OWN = """
from pathlib import Path
from runtime.engine.llama.model import LlamaModel, Row

def open_model(path, threads, context, repack):
    model = LlamaModel(Path(path), context_tokens=context, slots=1, sequences=1, threads=threads, batch_tokens=512)

    def step(first, count, last):
        model.decode([Row(100 + at, first + at, 0, last and at == count - 1) for at in range(count)])
        if last:
            model.logits(count - 1)

    return step, lambda end: model.remove(0, end)
"""
FORK = """
import ctypes
from ik_llama_cpp import _ctypes_api as api

rm = api._lib.llama_kv_cache_seq_rm
rm.argtypes, rm.restype = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32], ctypes.c_bool

def open_model(path, threads, context, repack):
    api.llama_backend_init()
    wanted = api.llama_model_default_params()
    wanted.n_gpu_layers = 0
    wanted.repack_tensors, wanted.use_mmap = repack, not repack
    model = api.llama_model_load_from_file(path.encode(), wanted)
    settings = api.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch = context, 512, 512
    settings.n_threads = settings.n_threads_batch = threads
    settings.flash_attn = True
    state = api.llama_init_from_model(model, settings)
    batch = api.llama_batch_init(512, 0, 1)

    def step(first, count, last):
        batch.n_tokens = count
        for at in range(count):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.seq_id[at][0] = 100 + at, first + at, 1, 0
            batch.logits[at] = last and at == count - 1
        if api.llama_decode(state, batch):
            raise SystemExit("the fork could not go on")
        if last:
            api.llama_get_logits_ith(state, count - 1)[0]

    return step, lambda end: rm(state, 0, end, -1)
"""
LOOP = """
import sys, time
path, threads, context, depth, repack = sys.argv[1], *map(int, sys.argv[2:])
step, cut = open_model(path, threads, context, bool(repack))
for first in range(0, depth, 256):
    step(first, min(256, depth - first), False)
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    step(depth, int(line), True)
    print((time.perf_counter() - began) * 1000, flush=True)
    cut(depth)
"""


def fork_folder() -> Path:
    """The fork's wheel, unpacked; fetched from PyPI the first time. `UnavailableError` without a network."""
    folder = cache_folder() / "peer" / PIN
    if not folder.is_dir():
        say(f"fetching {PIN} (25 MB)")
        partial_folder = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
        wanted = " ".join((PIN, *(f"--hash=sha256:{digest}" for digest in HASHES)))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--target", str(partial_folder)]
        done = subprocess.run(
            [*command, "--requirement", "/dev/stdin"], input=wanted, text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise UnavailableError(f"{PIN} cannot be had", hint=done.stderr.strip()[-200:])
        partial_folder.rename(folder)
    return folder


@contextmanager
def contestant(
    program: str, folder: Path | None, model: Path, options: Run, *, repack: bool = False
) -> Iterator[Callable[[int], float]]:
    """A process that holds the model; gives what measures a step of so many rows, in milliseconds."""
    words = [
        str(model),
        str(options.options.threads),
        str(CONTEXT_TOKENS),
        str(options.options.depth),
        str(int(repack)),
    ]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "20000"}  # as the engine sets them
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    child = subprocess.Popen(
        [sys.executable, "-c", program + LOOP, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    asked, told = child.stdin, child.stdout

    def read() -> str:
        line = told.readline()
        if not line:
            raise UnavailableError("a contestant ended", hint=child.communicate()[1][-300:])
        return line

    def measure(rows: int) -> float:
        asked.write(f"{rows}\n")
        asked.flush()
        return float(read())

    try:
        while read().strip() != "ready":
            pass  # the fork prints remarks of its own
        measure(ROWS[0])
        yield measure
    finally:
        child.kill()
        child.wait()


def work(run: Run) -> None:
    """Measure all three, row count by row count."""
    model, folder = model_file(run.options.model), fork_folder()
    rounds = 3 if run.options.quick else run.options.rounds or 9
    own, fork, repacked = "llama.cpp", "ik_llama.cpp", "ik_llama.cpp, repacked"
    with ExitStack() as stack:
        ask = {
            own: stack.enter_context(contestant(OWN, None, model, run)),
            fork: stack.enter_context(contestant(FORK, folder, model, run)),
            repacked: stack.enter_context(contestant(FORK, folder, model, run, repack=True)),
        }
        run.row(f"ms a step after {run.options.depth} tokens", *ask, "fork's best over ours")
        for rows in ROWS:
            took = in_turns(rounds, {name: partial(_ignore_round, one, rows) for name, one in ask.items()}, say)
            best = min(median(took[fork]), median(took[repacked]))
            run.figures[f"rows_{rows}"] = best / median(took[own])
            run.figures[f"own_ms_{rows}"], run.figures[f"fork_ms_{rows}"] = median(took[own]), best
            run.row(f"{rows} rows", *(spread(took[name]) for name in ask), f"{run.figures[f'rows_{rows}']:.2f}")


def _ignore_round(measure: Callable[[int], float], rows: int, _round: int) -> float:
    return measure(rows)


def add_options(parser: ArgumentParser) -> None:
    """Beside the common ones."""
    parser.add_argument("--depth", type=int, default=256, help="tokens read before each step (default: 256)")


if __name__ == "__main__":
    raise SystemExit(main(begin("second_peer", __doc__, BARS, add_options), work))
