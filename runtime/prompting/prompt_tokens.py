"""A prompt in the parts that can be put together: what is decoded once, what is compiled, what is read each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["exact", "parallel", "sequential"]
LAYOUTS: tuple[Layout, ...] = ("exact", "parallel", "sequential")


@dataclass(frozen=True)
class Prompt:
    """Token ids. An article attends to the system text and itself; the tail to everything."""

    system: tuple[int, ...]
    articles: tuple[tuple[int, ...], ...]
    tail: tuple[int, ...]

    def flat(self) -> list[int]:
        """All of it in reading order, as `exact` reads it."""
        return [*self.system, *(token for article in self.articles for token in article), *self.tail]

    def __len__(self) -> int:
        return len(self.system) + sum(map(len, self.articles)) + len(self.tail)
