"""The engine: one llama.cpp model, one thread that owns its context, a bounded queue in front of it.

Knows nothing of prompts, articles and policies; it continues tokens.
"""

from __future__ import annotations

from runtime.engine.engine import Engine, Flag, Generation, Piece, Place, SamplingParams, Stats
from runtime.engine.vocab import TextStream, Vocab

__all__ = ["Engine", "Flag", "Generation", "Piece", "Place", "SamplingParams", "Stats", "TextStream", "Vocab"]
