"""Texts that must be the same, up to near ties.

A quantized model's logits depend a little on where its prompt lies in memory and what is computed beside it
(docs/log.md, "Letter-by-letter comparison"), so two tokens that are nearly as likely may change places. A text is
compared with the one written alone up to the first letter that differs; there the model must have been in two minds.
What comes behind such a place is another text, and is not compared. Knows nothing of engines but their pieces.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.engine.core.detokenizer import Detokenizer
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.tools.logits_recorder import LogitsRecorder

TIE_NATS = 1.0
"""Two tokens nearer to each other than this are a near tie: logits of one prompt differ by up to 0.7."""
Verdict = Literal["same", "tie", "wrong"]


@dataclass(frozen=True)
class Alone:
    """A text as it was written alone: its pieces, and by how many nats each was likelier than the next best."""

    pieces: tuple[tuple[str, float], ...]

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(text for text, _ in self.pieces)

    def compare(self, text: str) -> Verdict:
        """Whether a text is the same, or leaves it at a near tie."""
        if text == self.text:
            return "same"
        written = ""
        for piece, lead in self.pieces:
            written += piece
            if not text.startswith(written):
                return "tie" if lead < TIE_NATS else "wrong"
        return "wrong"


def write_alone(engine: LlamaEngine, recorder: LogitsRecorder, tokens: Sequence[int], count: int) -> Alone:
    """The greedy answer to a prompt, a token at a time; `recorder` makes the engine's samplers."""
    params = SamplingParams(max_tokens=count, lookup=False)
    records = recorder.watch(params)
    text = Detokenizer()
    generation = engine.generate(tokens, params, threading.Event())
    for _ in generation:
        pass
    # A character that is spread over several tokens comes with the last of them, and is as sure as the least sure one.
    pieces: list[tuple[str, float]] = []
    lead = float("inf")
    for record in records[: generation.stats.answer_tokens]:
        lead = min(lead, record.lead)
        if shown := text.feed(engine.vocab.piece(record.token)):
            pieces.append((shown, lead))
            lead = float("inf")
    return Alone(tuple(pieces))
