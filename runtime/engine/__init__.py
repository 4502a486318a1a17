"""The engine: one llama.cpp model, one thread that owns its context, several answers at a time, a line before it.

Knows nothing of how prompts are worded, of articles and policies; it continues tokens.
"""

from __future__ import annotations

from runtime.engine.engine import Engine
from runtime.engine.face import TextEngine
from runtime.engine.generation import Flag, Generation, Piece, Place, Progress, Stats
from runtime.engine.parts import LAYOUTS, Layout, Prompt
from runtime.engine.remote import RemoteEngine
from runtime.engine.sampling import SamplingParams, Scored
from runtime.engine.vocab import TextStream, Vocab

__all__ = [
    "LAYOUTS",
    "Engine",
    "Flag",
    "Generation",
    "Layout",
    "Piece",
    "Place",
    "Progress",
    "Prompt",
    "RemoteEngine",
    "SamplingParams",
    "Scored",
    "Stats",
    "TextEngine",
    "TextStream",
    "Vocab",
]
