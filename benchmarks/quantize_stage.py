"""Claim: a model of 3 billion weights goes through the whole stage on a machine with 24 GB.

  memory_gb  own memory at the peak (RssAnon of the process and its children together, 10⁹ bytes): at most 22
  parity     texts whose tokens are the same in the f16 file and in the checkpoint's tokenizer: at least 300
  finite     share of the files' KL figures that are numbers: 1

A Llama of OpenLLaMA 3B's shape with random bf16 weights and SmolLM2's tokenizer: f16 file, importance matrix, each
type, and KL, top-1, size and speed of each against f32 on Python's language reference. No ONNX: its export keeps the
model twice in f32. With --rounding each type is also rounded by the same texts.

    python benchmarks/quantize_stage.py [--layers 26] [--kind q4_k_m …] [--rounding] [--quick] [--json]

26 layers need some 17 GB of disk; `--quick` takes two, 5 minutes on one core beside other work.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from _harness import Bar, begin
from _quantized import general_text
from _random_models import STUDENT_3B, random_llama

from distill.models.catalogue import open_base
from quantize.formats.gguf_quantize import KINDS
from quantize.measure.divergence import DecoderMeasurement, measure_decoders
from quantize.measure.samples import cut_text, text_samples
from quantize.pipeline.stages import Calibration, make_f16, make_format, make_importance
from runtime.base.build_stage import StageRunner
from runtime.base.progress import say
from runtime.base.user_cache import cache_folder

BARS = {"memory_gb": Bar(most=22), "parity": Bar(least=300), "finite": Bar(least=1)}
TOKENIZER_ROWS = 49_152
POLL_S = 0.2


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    parser.add_argument("--layers", type=int, default=STUDENT_3B["num_hidden_layers"], help="of the 26")
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="repeat for several; default: q4_k_m")
    parser.add_argument("--rounding", action="store_true", help="compensated rounding too, which takes hours at 26")


def main() -> int:
    """Make it, quantize it, measure it."""
    run = begin("quantize_stage", __doc__, BARS, options)
    quick, threads = run.options.quick, run.options.threads
    layers = 2 if quick else run.options.layers
    kinds = run.options.kind or ["q4_k_m"]
    run.row("step", "seconds", "own memory at the peak, GB")
    peaks = []
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        scratch = Path(folder)
        checkpoint, text, out = scratch / "checkpoint", scratch / "text.txt", scratch / "out"
        text.write_text(general_text()[: 24 * 4096], encoding="utf-8")
        say(f"writing {layers} layers of random weights")
        write_checkpoint(checkpoint, layers)
        pieces = cut_text(text, checkpoint, 256)[: 2 if quick else 4]
        calibration = Calibration(checkpoint, pieces) if run.options.rounding else None
        stages = StageRunner(say)

        def step(name: str, work: Callable[[], Path]) -> Path:
            began = time.perf_counter()
            with peak_memory() as peak:
                made = work()
            peaks.append(peak[0])
            run.row(name, f"{time.perf_counter() - began:.0f}", f"{peak[0] / 1e9:.1f}")
            return made

        f16 = step("f16", lambda: make_f16(stages, checkpoint, out, name="random", texts=texts_of(text)))
        matrix = step(
            "importance matrix",
            lambda: make_importance(stages, checkpoint, out, pieces, source="text", threads=threads),
        )
        files = {}
        for kind in kinds:
            files[kind] = step(
                kind,
                lambda kind=kind: make_format(  # type: ignore[misc]
                    stages, f16, out, kind, importance=matrix, compensated=calibration, threads=threads
                ),
            )
        rows: list[DecoderMeasurement] = []

        def measure() -> Path:
            samples = text_samples(text, checkpoint, length=256, count=1 if quick else 2)
            rows.extend(
                measure_decoders(
                    checkpoint, files, samples, scratch=scratch, threads=threads, decode_tokens=4, report=say
                )
            )
            return out

        step("measured against f32", measure)
        manifest = stages.manifests["f16"]
        run.details |= {"layers": layers, "checkpoint_gb": size(checkpoint), "files_gb": size(out)}
    for row in rows:
        run.row(row.format, f"{row.megabytes:.0f} MB", f"KL {row.kl:.4f}", f"{row.tokens_per_s:.1f} tokens/s")
    run.figures = {
        "memory_gb": max(peaks) / 1e9,
        "parity": float(manifest.figures["tokens_equal_on"]),
        "finite": sum(math.isfinite(row.kl) for row in rows) / len(rows),
    }
    return run.end()


def write_checkpoint(out: Path, layers: int) -> None:
    """Random bf16 weights, with a tokenizer whose every id has a row."""
    base = open_base("smollm2-135m-instruct", say).checkpoint
    model = random_llama(STUDENT_3B | {"num_hidden_layers": layers}, vocabulary=TOKENIZER_ROWS)
    model.config.bos_token_id, model.config.eos_token_id = 1, 2
    model.save_pretrained(out, max_shard_size="2GB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (base / name).is_file():
            shutil.copy(base / name, out / name)


def texts_of(path: Path) -> list[str]:
    """Lines to compare tokens on."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][:400]


def size(folder: Path) -> float:
    """10⁹ bytes below a folder."""
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9, 2)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The largest RssAnon of this process and its children together, in bytes, while the block runs."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            peak[0] = max(peak[0], own_memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def own_memory() -> int:
    """RssAnon of this process and of all that descend from it."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        except OSError:
            continue  # it ended
        pid = int(path.parent.name)
        parents[pid] = int(fields["PPid"])
        resident[pid] = int(fields.get("RssAnon", "0 kB").split()[0]) * 1024
    ours = {int(Path("/proc/self").resolve().name)}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(resident.get(pid, 0) for pid in ours)


if __name__ == "__main__":
    sys.exit(main())
