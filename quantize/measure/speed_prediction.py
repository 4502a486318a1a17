"""How fast a model will write on this machine, from its shape and from what another model reached here.

Writing one token reads every weight once, so its time grows with the bytes of the file; each layer adds a fixed cost
for its small steps, as much as reading `LAYER_BYTES` more. Source of the constant: SmolLM2-135M at Q4_1 (98 MB, 30
layers, 164 tokens a second) and a file of Llama 3.2 3B's shape at Q4_K_M (2,020 MB, 28 layers, 15.4) on one machine
(docs/reference/benchmarks.md). Pure; knows nothing of files.
"""

from __future__ import annotations

from typing import NamedTuple

from quantize.formats.checkpoint import ModelShape

LAYER_BYTES = 3_300_000
WORDS_PER_TOKEN = 0.73
"""English, SmolLM2's tokenizer on the example shop's articles: 9,688 words in 13,233 tokens."""


class TokenCost(NamedTuple):
    """What one token takes to write."""

    read_bytes: int
    layers: int

    @property
    def in_bytes(self) -> int:
        """In bytes read."""
        return self.read_bytes + self.layers * LAYER_BYTES


def token_cost(shape: ModelShape, file_bytes: int, embedding_bytes: int) -> TokenCost:
    """What a token of a file takes; of input embeddings that are not the output layer, one row is read."""
    return TokenCost(file_bytes - (0 if shape.tied else embedding_bytes), shape.layers)


def predict_tokens_per_s(cost: TokenCost, known: TokenCost, known_tokens_per_s: float) -> float:
    """The speed of one model where another's was measured."""
    return known_tokens_per_s * known.in_bytes / cost.in_bytes
