"""Claim: `edgedesk quantize plan` foresees what a file takes in memory and how long it makes an agent wait.

  wait_error    the largest of |predicted / measured - 1| for the first word, over the types: at most 0.15
  write_error   the same for a written token: at most 0.15
  memory_error  the same for the process's memory: at most 0.15

The files have Llama 3.2 3B's shape, --layers of its 28, and random weights in each type's own blocks; speeds do not
depend on what weights say. Prediction and measurement take turns. Beside the claim a table gives milliseconds of a step
of 1, 36 and 128 rows by type and thread count.

    python benchmarks/reading_speed.py [--layers 7] [--kind q4_k_m …] [--threads 2] [--rounds 2] [--quick] [--json]

Some minutes a type; `--quick` takes two types and two layers.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from _harness import Bar, begin, median

from quantize.formats.checkpoint import ModelShape
from quantize.formats.gguf_quantize import KINDS
from quantize.measure.size_prediction import predict_sizes, stored_type
from quantize.measure.speed import measure_speed
from quantize.measure.trial_model import layer_types, write_trial
from quantize.measure.wait_prediction import predict_wait
from runtime.base.progress import say

BARS = {"wait_error": Bar(most=0.15), "write_error": Bar(most=0.15), "memory_error": Bar(most=0.15)}
SHAPE = ModelShape("llama", 7, 3072, 24, 8, 128, 8192, 16_384, 131_072, 1e-5, 500_000.0, None, True)
"""Llama 3.2 3B with a smaller vocabulary: what its output layer takes is predicted from its rows."""
CONTEXT = 1024


def options(parser: ArgumentParser) -> None:
    """What is timed."""
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="repeat for several")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt that is waited for")
    parser.add_argument("--steps", action="store_true", help="also steps of 36 and 128 rows, with one thread and more")


def main() -> int:
    """Predict, measure, compare."""
    run = begin("reading_speed", __doc__, BARS, options)
    quick, prompt, threads = run.options.quick, run.options.prompt, run.options.threads
    from dataclasses import replace

    shape = replace(SHAPE, layers=2 if quick else run.options.layers)
    kinds = run.options.kind or (["q8_0", "q4_0"] if quick else ["q8_0", "q4_k_m", "q4_k_s", "q4_0", "iq4_nl"])
    memory = {row.format: row.memory_bytes / 1e6 for row in predict_sizes(shape, CONTEXT)}
    errors: dict[str, list[float]] = {"wait_error": [], "write_error": [], "memory_error": []}
    run.row(f"{shape.layers} layers, {threads} threads", f"first word, {prompt} tokens", "a token", "memory, MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        for kind in kinds:
            say(f"timing {kind}")
            head = stored_type(kind, "output", 0, shape, shape.hidden)
            write_trial(
                shape, [layer_types(shape, kind, n) for n in range(shape.layers)], path, head=head, vocab=shape.vocab
            )
            pairs = []
            for _ in range(run.options.rounds or (1 if quick else 2)):
                predicted = predict_wait(shape, kind, prompt_tokens=prompt, threads=threads)
                pairs.append((predicted, measure_speed(path, prompt_tokens=prompt, threads=threads, context=CONTEXT)))
            # The shortest: a neighbour only adds to either side.
            wait = min(a.first_word_s for a, _ in pairs), min(b.first_word_s for _, b in pairs)
            step = min(a.step_s for a, _ in pairs), min(1 / b.writing_per_s for _, b in pairs)
            size = memory[kind], median([b.memory_mb for _, b in pairs])
            for name, (foreseen, found) in zip(errors, (wait, step, size), strict=True):
                errors[name].append(abs(foreseen / found - 1))
            run.row(
                kind,
                f"{wait[0]:.2f} s, was {wait[1]:.2f}",
                f"{1000 * step[0]:.1f} ms, was {1000 * step[1]:.1f}",
                f"{size[0]:.0f}, was {size[1]:.0f}",
            )
            run.details[kind] = {"wait_s": wait, "step_s": step, "memory_mb": size}
            for count in dict.fromkeys((1, threads)) if run.options.steps else ():
                steps = {
                    rows: measure_speed(path, prompt_tokens=rows, threads=count, context=CONTEXT) for rows in (36, 128)
                }
                one = 1000 / steps[36].writing_per_s
                cells = [f"{rows} rows: {1000 * speed.first_word_s:.0f} ms" for rows, speed in steps.items()]
                run.row(f"  {kind}, {count} threads", f"1 row: {one:.0f} ms", *cells)
                run.details[f"{kind}_{count}_threads_ms"] = [
                    one,
                    *(1000 * speed.first_word_s for speed in steps.values()),
                ]
    run.figures = {name: max(values) for name, values in errors.items()}
    return run.end()


if __name__ == "__main__":
    sys.exit(main())
