"""What a model makes of held-out replies, each token given those before it (teacher forcing).

A small model finds few facts of its own, so that its answers tell little from a hundred questions; read so, every word
of every reply tells something. Knows nothing of where packs come from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distill.compute.device import autocast
from distill.packing.forward import target_states
from distill.packing.packing import Pack
from runtime.prompting.json_tokenizer import JsonTokenizer

FIGURE = re.compile(r"\d+(?:[.,:]\d+)*")
"""Prices, times, days, measures."""


@dataclass(frozen=True)
class Forced:
    """One model on some packs, as arrays of numpy."""

    surprise: Any
    """float [record]: nats of each reply, end mark included."""
    tokens: Any
    """int [record]: its tokens."""
    facts: Any
    """float [fact]: 1 where each of its tokens is the likeliest; figures that stand in the articles too."""

    @property
    def nats(self) -> float:
        """Mean surprise a token."""
        return float(self.surprise.sum() / self.tokens.sum())


def read_replies(model: Any, packs: Sequence[Pack], tokenizer: JsonTokenizer) -> Forced:
    """Read packs of held-out records, their articles as they are laid out."""
    surprise, tokens, facts = [], [], []
    for pack in packs:
        index = torch.tensor(pack.reply_targets())
        words = torch.tensor(pack.tokens)[index + 1]
        cost, right = torch.zeros(len(index)), torch.zeros(len(index), dtype=torch.bool)
        with torch.no_grad(), autocast("auto"):
            for start, states in target_states(model.eval(), pack):
                logits = model.lm_head(states)[: len(index) - start].float()
                place = slice(start, start + len(logits))
                cost[place] = torch.nn.functional.cross_entropy(logits, words[place], reduction="none")
                right[place] = logits.argmax(-1) == words[place]
        known = set(FIGURE.findall(tokenizer.decode(pack.tokens[: pack.prefix])))
        begin = 0
        for _, reply, end in pack.branches:
            own = slice(begin, begin := begin + end - reply)
            surprise.append(float(cost[own].sum()))
            tokens.append(end - reply)
            spans = _figures_in(pack.tokens[reply:end], tokenizer, known)
            facts += [float(right[own][first:last].all()) for first, last in spans]
    return Forced(np.array(surprise), np.array(tokens), np.array(facts))


def _figures_in(ids: Sequence[int], tokenizer: JsonTokenizer, known: set[str]) -> list[tuple[int, int]]:
    """Token ranges of the figures in a text that are among those known."""
    ends = [len(tokenizer.decode(ids[: count + 1])) for count in range(len(ids))]
    out = []
    for found in FIGURE.finditer(tokenizer.decode(ids)):
        if found[0] in known:
            first = next(place for place, end in enumerate(ends) if end > found.start())
            last = next(place for place, end in enumerate(ends) if end >= found.end())
            out.append((first, last + 1))
    return out
