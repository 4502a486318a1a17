"""How often an engine's process has crashed, at what, and which prompts were in work each time.

What follows for a generation the server decides. What follows for a prompt is decided here: one that was in work at
`REFUSED_AFTER` crashes is not tried again for a while, so that a single question, typed again and again, cannot keep
the engine from everybody else. Knows nothing of processes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

WorkKind = Literal["generate", "prefetch", "compile", "load", "idle"]
"""What a process was doing when it crashed: the first of these that it had in work, in this order.

`load`: it had not loaded its model yet. `idle`: nothing was in work.
"""
REFUSED_AFTER = 2
"""Crashes with a prompt in work, without a whole answer to it between, after which it is refused: below the three after
which a generation on trial is given up, so that one question alone never decides that."""
REFUSED_S = 600.0
"""For so long; then it is tried once more. A prompt may have been in work by chance, and the cause may have gone."""
_REMEMBERED = 1024
"""Prompts whose crashes are remembered."""


@dataclass(frozen=True)
class CrashReport:
    """Crashes since the last answer that was written to its end and not cancelled, by what the process was doing.

    Reading ahead, compiling and cancelled answers reset nothing: a model that crashes whenever it writes must not be
    acquitted because it can read. A process that hung and was killed for it has crashed.
    """

    generate: int = 0
    prefetch: int = 0
    compile: int = 0
    load: int = 0
    idle: int = 0

    @property
    def total(self) -> int:
        """All crashes, whatever was in work."""
        return self.generate + self.prefetch + self.compile + self.load + self.idle


class CrashCounter:
    """Counts crashes for a `CrashReport`, and by prompt. Not thread-safe: its owner holds a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._counts: dict[WorkKind, int] = {}
        self._by_prompt: OrderedDict[int, tuple[int, float]] = OrderedDict()
        """Crashes with a prompt in work, and when the last was; the one that crashed last stands last."""

    def record(self, kind: WorkKind, prompts: frozenset[int] = frozenset()) -> None:
        """Count a crash. `prompts`: hashes of the prompts that were being worked on."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        for prompt in prompts:
            crashes, _ = self._by_prompt.pop(prompt, (0, 0.0))
            self._by_prompt[prompt] = crashes + 1, self._clock()
        while len(self._by_prompt) > _REMEMBERED:
            self._by_prompt.popitem(last=False)

    def reset(self, answered: int) -> None:
        """The prompt of this hash was answered to its end: the process works, and this prompt was not the cause.

        The others keep what is known of them.
        """
        self._counts.clear()
        self._by_prompt.pop(answered, None)

    def refuses(self, prompt: int) -> bool:
        """Whether the prompt of this hash is not to be tried for now."""
        crashes, last = self._by_prompt.get(prompt, (0, 0.0))
        return crashes >= REFUSED_AFTER and self._clock() - last < REFUSED_S

    def report(self) -> CrashReport:
        """The counts now."""
        return CrashReport(**self._counts)
