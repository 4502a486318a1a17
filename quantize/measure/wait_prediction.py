"""How long a format of a checkpoint would make an agent wait on this machine, before anything is built.

From config.json alone: layers of the checkpoint's own shape with random weights in the format's own types are timed
(`trial_model`), and a whole model is as many of each kind as it has. Promises: nothing of the checkpoint is read but
its shape; the scratch files are gone afterwards. Knows nothing of quality.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from quantize.formats.checkpoint import ModelShape
from quantize.measure.size_prediction import matrices_of_layer, stored_type
from quantize.measure.speed import Speed, measure_speed
from quantize.measure.trial_model import layer_types, write_trial

_ROWS = (512, 8704)
"""Rows of the output layer, few and more: what the difference takes, each row takes."""
_TIMED_WEIGHTS = 30_000_000
"""Weights that are added to see what a layer takes; fewer drown in what a step costs anyway."""
_MOST_LAYERS = 8
_ROUNDS = 3
"""Times that each trial file is timed, in turns: a neighbour that works for a while does not fall on one file alone."""

Timed = Callable[[Path], Speed]
"""Reads and writes with a file."""


class WaitPrediction(BaseModel):
    """One format on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    threads: int
    prompt_tokens: int
    first_word_s: float
    """From an unread prompt of that length to its first token."""
    step_s: float
    """A written token, one sequence."""

    @property
    def writing_per_s(self) -> float:
        """Tokens a second."""
        return 1 / self.step_s


def predict_wait(
    shape: ModelShape, kind: str, *, prompt_tokens: int = 384, threads: int = 2, timed: Timed | None = None
) -> WaitPrediction:
    """Time the parts of `kind` (a key of `KINDS`) and add them up; some seconds for a small model, a minute for 3B.

    Each part's shortest time counts: whatever else the machine does only adds, and differences of parts double it.
    """
    signatures = Counter(
        tuple(sorted(layer_types(shape, kind, layer).items())) for layer in range(shape.layers)
    ).most_common()
    head = stored_type(kind, "output", 0, shape, shape.hidden)
    weights = sum(rows * columns for _, rows, columns in matrices_of_layer(shape))
    added = min(_MOST_LAYERS, max(2, math.ceil(_TIMED_WEIGHTS / weights)))
    measure = timed or (lambda path: measure_speed(path, prompt_tokens=prompt_tokens, threads=threads, tries=1))
    first = dict(signatures[0][0])

    models = [([first], _ROWS[0]), ([first], _ROWS[1])]
    models += [([first, *[dict(types)] * added], _ROWS[0]) for types, _ in signatures]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"trial {number}.gguf" for number in range(len(models))]
        for path, (layers, rows) in zip(paths, models, strict=True):
            write_trial(shape, layers, path, head=head, vocab=rows)
        rounds = [[measure(path) for path in paths] for _ in range(_ROUNDS)]
    base, wider, *deep = [
        (min(speed.first_word_s for speed in speeds), min(1 / speed.writing_per_s for speed in speeds))
        for speeds in zip(*rounds, strict=True)
    ]
    deeper = [(seconds, count) for seconds, (_, count) in zip(deep, signatures, strict=True)]
    total = [
        added_up(
            base[part],
            [((deep[part] - base[part]) / added, count) for deep, count in deeper],
            (wider[part] - base[part]) / (_ROWS[1] - _ROWS[0]),
            shape.vocab,
        )
        for part in (0, 1)
    ]
    return WaitPrediction(
        format=kind,
        threads=threads,
        prompt_tokens=prompt_tokens,
        first_word_s=total[0],
        step_s=total[1],
    )


def added_up(base: float, layers: Sequence[tuple[float, int]], row: float, vocab: int) -> float:
    """Seconds of a whole model (pure).

    `base` is one layer of the first kind with the few rows, `layers` (seconds, how many) of each kind, `row` a row of
    the output layer. A part that came out below nothing is noise, and nothing.
    """
    row = max(0.0, row)
    rest = max(0.0, base - layers[0][0] - row * _ROWS[0])
    return rest + sum(max(0.0, each) * count for each, count in layers) + row * vocab
