"""Llama-shaped checkpoints of random weights, and packs of noise: what weights say changes no memory and no speed."""

from __future__ import annotations

import random
from typing import Any

from distill.packing.packing import Pack

TEACHER_13B = {"num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 13_824, "num_attention_heads": 40}
"""Llama-2-13b's config.json: 13 billion weights."""
STUDENT_3B = {"num_hidden_layers": 26, "hidden_size": 3200, "intermediate_size": 8640, "num_attention_heads": 32}
"""OpenLLaMA 3B's config.json: 3.4 billion weights."""
VOCAB = 32_000
FIRST_WORD = 300
"""Ids below are bytes and marks."""
BRANCHES = 3


def noise_packs(count: int, tokens: int, vocabulary: int = VOCAB) -> list[Pack]:
    """Packs of noise: half of each is the shared prefix, half of every branch its reply."""
    rng = random.Random(7)  # noqa: S311 - noise, no secret
    prefix = tokens // 2
    length = (tokens - prefix) // BRANCHES
    edges = [
        (prefix + n * length, prefix + n * length + length // 2, prefix + (n + 1) * length) for n in range(BRANCHES)
    ]
    names = tuple(map(str, range(BRANCHES)))
    ids = range(min(FIRST_WORD, vocabulary // 2), vocabulary)
    return [Pack(tuple(rng.choices(ids, k=edges[-1][2])), prefix, tuple(edges), names) for _ in range(count)]


def random_llama(shape: dict[str, int], vocabulary: int = VOCAB, device: str = "cpu") -> Any:
    """A model in bf16 on `device`. One draw serves all weights in turn: drawing billions takes minutes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.modeling_utils import no_init_weights

    config = LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=False, attn_implementation="sdpa", **shape)
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with no_init_weights(), torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(kept)
    drawn = torch.empty(1 << 22).normal_(std=0.02).bfloat16().to(device)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                flat = weight.view(-1)
                for start in range(0, len(flat), len(drawn)):
                    flat[start : start + len(drawn)] = drawn[: len(flat) - start]
            else:
                weight.fill_(1.0)
    return model
