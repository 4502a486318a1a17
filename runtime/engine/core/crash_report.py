"""How often an engine's process has crashed, and at what. Counts only: what follows from them the server decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WorkKind = Literal["generate", "prefetch", "compile", "load", "idle"]
"""What a process was doing when it crashed: the first of these that it had in work, in this order.

`load`: it had not loaded its model yet. `idle`: nothing was in work.
"""


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
    repeated_prompt: bool = False
    """Whether one and the same prompt was in work at every crash counted in `generate` (two at least).

    Then the question is the likelier culprit than the model: a sound model is not to be given up because of it.
    """

    @property
    def total(self) -> int:
        """All crashes, whatever was in work."""
        return self.generate + self.prefetch + self.compile + self.load + self.idle


class CrashCounter:
    """Counts crashes for a `CrashReport`. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._counts: dict[WorkKind, int] = {}
        self._suspects: frozenset[int] | None = None
        """Prompts that were in work at every crash while generating; None before the first."""

    def record(self, kind: WorkKind, prompts: frozenset[int] = frozenset()) -> None:
        """Count a crash. `prompts`: hashes of the prompts that were being generated from."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind == "generate":
            self._suspects = prompts if self._suspects is None else self._suspects & prompts

    def reset(self) -> None:
        """An answer was written to its end: the process works."""
        self._counts.clear()
        self._suspects = None

    def report(self) -> CrashReport:
        """The counts now."""
        repeated = self._counts.get("generate", 0) > 1 and bool(self._suspects)
        return CrashReport(**self._counts, repeated_prompt=repeated)
