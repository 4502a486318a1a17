"""What travels between the engine's process and the one that asks: lines of JSON on a socket.

    →  {…keywords of Engine, model_path}                                  first, once
    →  {"do": "generate", "id", "prompt", "params", "deadline_s", "conversation"}
    →  {"do": "prepare", "id", "prompt", "conversation", "adapter"}   {"do": "compile", "id", "prompt", "adapter"}
    →  {"do": "cancel", "id"}   {"do": "forget", "conversation"}
    ←  {"ready": {context_tokens, slots, layout, reason}}   or   {"error"}       first, once
    ←  {"id", "place": [position, wait_s]}   {"id", "progress": [done, total]}   {"id", "piece": {text, scored}}
    ←  {"id", "stats"}   or   {"id", "error"}                             last for an id

Both ends are of one version: one starts the other.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from runtime.engine.core.generation import TextPiece
from runtime.engine.core.sampling_params import SamplingParams, Scored
from runtime.prompting.prompt_tokens import Prompt


class Connection:
    """One end of a socket; sending is safe from any thread."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; False when the other side is gone."""
        data = json.dumps(message).encode() + b"\n"
        with self._lock, suppress(OSError):
            self._end.sendall(data)
            return True
        return False

    def messages(self) -> Generator[dict[str, Any], None, None]:
        """Messages until the other side is gone."""
        with suppress(OSError), self._end.makefile("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # cut in the middle: the other side died while it wrote
                yield json.loads(line)


def pack_prompt(prompt: Prompt) -> list[Any]:
    """As JSON."""
    return [prompt.system, prompt.articles, prompt.tail]


def unpack_prompt(data: list[Any]) -> Prompt:
    """From JSON."""
    system, articles, tail = data
    return Prompt(tuple(system), tuple(map(tuple, articles)), tuple(tail))


def pack_params(params: SamplingParams) -> dict[str, Any]:
    """As JSON."""
    return asdict(params) | {"stop": sorted(params.stop)}


def unpack_params(data: dict[str, Any]) -> SamplingParams:
    """From JSON."""
    return SamplingParams(**data | {"stop": frozenset(data["stop"]), "stop_strings": tuple(data["stop_strings"])})


def pack_piece(piece: TextPiece) -> dict[str, Any]:
    """As JSON; bytes as Latin-1 text, which keeps each."""
    scored = [
        [one.token, one.text.decode("latin-1"), one.logprob, [[n, text.decode("latin-1"), p] for n, text, p in one.top]]
        for one in piece.scored
    ]
    return {"text": piece.text, "scored": scored}


def unpack_piece(data: dict[str, Any]) -> TextPiece:
    """From JSON."""
    scored = tuple(
        Scored(token, text.encode("latin-1"), p, tuple((n, other.encode("latin-1"), q) for n, other, q in top))
        for token, text, p, top in data["scored"]
    )
    return TextPiece(data["text"], scored)
