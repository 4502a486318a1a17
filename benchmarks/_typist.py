"""A typist: when keys are pressed, and what the console sends of the text meanwhile (`tui.app.sync`). Pure.

The gaps between keys vary as people's do, log-normally around the mean: some are pauses, also inside a word. Knows
nothing of engines.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from runtime.desk.prefetch import stable_prefix
from runtime.text.sentences import ends_sentence

KEYS_PER_S = 40 * 5 / 60
"""40 words a minute, five keys a word."""
SPREAD = 0.5
"""Standard deviation of the gaps' logarithms: one gap in three is above the mean."""
LAST_PAUSE_S = 0.7
"""From the last key to Enter."""
PAUSE_S = 0.35
"""After which the console sends the text as one that may be whole; the end of a sentence needs none."""


@dataclass(frozen=True)
class Call:
    """What the console sends."""

    at: float
    """Seconds after the first key."""
    text: str
    """All of the text, or its settled words."""
    whole: bool
    """Whether a draft is begun for it."""


def key_times(text: str, seed: int) -> list[float]:
    """When each key is pressed, and last Enter, in seconds after the first."""
    chance = random.Random(seed)  # noqa: S311 - a way of typing, no secret
    middle = math.log(1 / KEYS_PER_S) - SPREAD**2 / 2
    times = [0.0]
    for _ in text[1:]:
        times.append(times[-1] + chance.lognormvariate(middle, SPREAD))
    return [*times, times[-1] + LAST_PAUSE_S]


def calls(text: str, times: list[float]) -> Iterator[Call]:
    """What the console sends while these keys are pressed, in order."""
    drafting = False
    for place, (pressed, following) in enumerate(pairwise(times)):
        typed = text[: place + 1]
        if drafting or typed[-1].isspace():
            yield Call(pressed, stable_prefix(typed), whole=False)
            drafting = False
        if typed.strip() and ends_sentence(typed):
            yield Call(pressed, typed.strip(), whole=True)
            drafting = True
        elif typed.strip() and following - pressed >= PAUSE_S:
            yield Call(pressed + PAUSE_S, typed.strip(), whole=True)
            drafting = True
