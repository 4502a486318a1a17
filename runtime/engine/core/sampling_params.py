"""How the next token is to be chosen, whichever engine chooses it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingParams:
    """How an answer is written; greedy unless a temperature is given."""

    max_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    """With a temperature: draw from the likeliest tokens that together have this probability."""
    seed: int = 0
    stop: frozenset[int] = frozenset()
    """Tokens that end the answer besides those the model itself marks as ends; they are not part of it."""
    stop_strings: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    lookup: bool = True
    """Guess tokens from the prompt and check several at once, where that saves time; the text is the same.

    Up to near ties of a quantized model, as with other requests in the batch (docs/reference/engine.md).
    """
