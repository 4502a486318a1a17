"""How the next token is to be chosen, whichever engine chooses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SamplingParams:
    """How an answer is written; greedy unless a temperature is given."""

    max_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Leave out tokens less likely than this share of the likeliest one."""
    repeat_penalty: float = 1.0
    """Above 1 makes tokens unlikely that the last `repeat_tokens` of the answer contain."""
    repeat_tokens: int = 64
    seed: int = 0
    stop: frozenset[int] = frozenset()
    """Tokens that end the answer besides those the model itself marks as ends; they are not part of it."""
    stop_strings: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    grammar: str = ""
    """GBNF, its rule `root`: nothing else can be written."""
    json_schema: str = ""
    """JSON Schema as JSON text; made into a grammar."""
    lookup: bool = True
    """Guess tokens from the prompt and check several at once, where that saves time; the text is the same.

    Up to near ties of a quantized model, as beside other requests (docs/reference/engine.md).
    """
    adapter: str = ""
    """A LoRA adapter the engine was opened with; the plain model if empty."""
    logprobs: int | None = None
    """Give the log-probability of every token and of so many likeliest ones in its place."""


@dataclass(frozen=True)
class Scored:
    """A token written, with natural log-probabilities of the model before any sampling setting."""

    token: int
    text: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...]
    """(token, its bytes, its log-probability) of the likeliest, best first."""


class NextToken(Protocol):
    """What chooses an answer's tokens; each engine knows its own."""

    def close(self) -> None:
        """The answer has ended."""
        ...
