"""Which sentences of the sections found answer a question: extractive answering, for models too weak to be trusted.

A sentence counts by what was replied to the nearest earlier questions (the words it shares with each reply, nearer
questions counting more), by its own nearness to the question, and by its section's place among the hits. On the example
shop such sentences state as many of the expected facts as the best section whole, in half the words (docs/log.md).
Pure: cosines come in from outside. Knows nothing of models and engines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import exp
from typing import TYPE_CHECKING, NamedTuple

from runtime.base.statistics import z_scores
from runtime.grounding.citations import TermBag
from runtime.text.articles import Section
from runtime.text.sentences import sentences
from runtime.text.tokens import terms

if TYPE_CHECKING:
    from runtime.retrieval.retriever import Earlier, Hit

SENTENCES = 2
"""Sentences that are shown; one alone often lacks the condition that the next one states."""
PAST_REPLIES = 8
"""Replies to the nearest earlier questions that are compared with each sentence."""
_SHARPNESS = 40.0
"""Of the weight of earlier questions, e^(sharpness × cosine): E5's cosines of related questions lie within .1."""
_NEARNESS = 0.05
_PLACE = 0.1
"""What a sentence loses for each section that was found before its own."""


class ExtractedSentence(NamedTuple):
    """A sentence of a section."""

    section: Section
    text: str


Cosines = Callable[[Sequence[str]], Sequence[float]]
"""How near each of some sentences, the title before it, is to the question (-1 to 1)."""


def best_sentences(hits: Sequence[Hit], cosines: Cosines, *, limit: int = SENTENCES) -> list[ExtractedSentence]:
    """The `limit` sentences of the hits' sections that answer best, those of one section in its own order.

    Internal sections have a say only where nothing public was found.
    """
    hits = [hit for hit in hits if hit.section.audience == "public"] or hits
    lines = [
        (place, ExtractedSentence(hit.section, text))
        for place, hit in enumerate(hits)
        for text in sentences(hit.section.text)
    ]
    if not lines:
        return []
    replied = _reply_agreement([line.text for _, line in lines], [earlier for hit in hits for earlier in hit.earlier])
    near = z_scores(cosines([f"{line.section.title}: {line.text}" for _, line in lines]))
    scores = [
        reply + _NEARNESS * float(nearness) - _PLACE * place
        for reply, nearness, (place, _) in zip(replied, near, lines, strict=True)
    ]
    chosen = sorted(range(len(lines)), key=lambda at: -scores[at])[:limit]
    first = lines[chosen[0]][0]
    return [lines[at][1] for at in sorted(chosen, key=lambda at: (lines[at][0] != first, at))]


def extractive_fallback(answer: str, hits: Sequence[Hit], cosines: Cosines, least: float) -> list[ExtractedSentence]:
    """The lines to show in place of a model's answer; [] = keep it.

    It is kept where each of its sentences shares at least `least` (0 to 1) of its words and figures with one of them.
    """
    if least <= 0:
        return []
    lines = best_sentences(hits, cosines)
    known = [TermBag(f"{line.section.title} {line.text}") for line in lines]
    said = [TermBag(sentence) for sentence in sentences(answer)]
    agrees = [max((one.share_in(line) for line in known), default=0.0) >= least for one in said]
    return [] if all(agrees) else lines


def render_quote(lines: Sequence[ExtractedSentence]) -> str:
    """The lines as one text."""
    return "".join(line.text + ("" if line.section.lang == "zh" else " ") for line in lines).strip()


def _reply_agreement(texts: Sequence[str], earlier: Sequence[Earlier]) -> list[float]:
    """The agreement (F1 of terms) of each text with earlier replies, weighed by how near their questions are."""
    nearest = sorted(earlier, key=lambda one: -one.similarity)[:PAST_REPLIES]
    weights = [exp(_SHARPNESS * (one.similarity - nearest[0].similarity)) for one in nearest]
    replies = [Counter(terms(one.reply)) for one in nearest]
    out = []
    for text in texts:
        said = Counter(terms(text))
        shares = [_f1(said, reply) for reply in replies]
        out.append(sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights) if weights else 0.0)
    return out


def _f1(one: Counter[str], other: Counter[str]) -> float:
    both = (one & other).total()
    return 2 * both / (one.total() + other.total()) if both else 0.0
