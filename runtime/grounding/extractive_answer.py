"""Which sentences of the sections found answer a question: extractive answering, for models too weak to be trusted.

A sentence counts by what was replied to the nearest earlier questions (the words it shares with each reply, nearer
questions counting more) and by its own nearness to the question. What is shown is one answer: sentences of the first
section alone, in its order, so that no condition of one article stands beside the price of another. Only where that
section is about a case that the question does not name (`Hit.special`), and another article is nearer, are two
articles shown, each under its title. Pure: cosines come in from outside. Knows nothing of models and engines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import TYPE_CHECKING, NamedTuple

from runtime.base.statistics import z_scores
from runtime.grounding.citations import MAX_SENTENCES, TermBag
from runtime.text.articles import Section
from runtime.text.sentences import sentences
from runtime.text.tables import Item, join_shown, shown_in_order, split_items
from runtime.text.tokens import term_agreement, terms

if TYPE_CHECKING:
    from runtime.retrieval.retriever import Earlier, Hit

SENTENCES = 3
"""Of one section, that are shown; one alone often lacks the condition that the next one states."""
PAST_REPLIES = 8
"""Replies to the nearest earlier questions that are compared with each sentence."""
_SHARPNESS = 40.0
"""Of the weight of earlier questions, e^(sharpness × cosine): E5's cosines of related questions lie within .1."""
_NEARNESS = 0.05


class ExtractedSentence(NamedTuple):
    """A sentence of a section, a list item with its lead-in or a table row with its head."""

    section: Section
    text: str
    titled: bool = False
    """Whether it is shown under its article's title, because another case stands beside it."""


Cosines = Callable[[Sequence[str]], Sequence[float]]
"""How near each of some sentences, the title before it, is to the question (-1 to 1)."""


def best_sentences(hits: Sequence[Hit], cosines: Cosines, *, limit: int = SENTENCES) -> list[ExtractedSentence]:
    """At most `limit` sentences of the first section, those that answer best, in its order.

    Where that section is about a special case, and another article is nearer to the question by its own text, the best
    sentence of each, the nearer article's first. Internal sections have a say only where nothing public was found.
    """
    return _lines(_choose(hits, cosines, limit))


def _choose(hits: Sequence[Hit], cosines: Cosines, limit: int) -> dict[Section, set[int]]:
    """The sections that answer, in the order they are shown in, and the places of their items that do."""
    hits = [hit for hit in hits if hit.section.audience == "public"] or list(hits)
    if not hits:
        return {}
    replies = [earlier for hit in hits for earlier in hit.earlier]
    other = _other_case(hits)
    cases, each = ([hits[0]], limit) if other is None else ([other, hits[0]], 1)
    return {hit.section: {place for place, _ in _ranked(hit, replies, cosines)[:each]} for hit in cases}


def _lines(chosen: Mapping[Section, set[int]]) -> list[ExtractedSentence]:
    return [
        ExtractedSentence(section, text, titled=len(chosen) > 1)
        for section, places in chosen.items()
        for text in shown_in_order([split_items(section.text)[place] for place in sorted(places)])
    ]


def _rests_on(said: Sequence[TermBag], section: Section, least: float) -> set[int]:
    """The places of a section's items that bear out one of these sentences, each sentence's best."""
    items = [TermBag(f"{section.title} {item.shown}") for item in split_items(section.text)]
    shares = ([one.share_in(item) for item in items] for one in said)
    return {row.index(max(row)) for row in shares if row and max(row) >= least}


def _ranked(hit: Hit, replies: Sequence[Earlier], cosines: Cosines) -> list[tuple[int, Item]]:
    """The items of a section with their places in it, the one that answers best first."""
    items = list(enumerate(split_items(hit.section.text)))
    if not items:
        return []
    agreement = _reply_agreement([item.shown for _, item in items], replies)
    near = z_scores(cosines([f"{hit.section.title}: {item.shown}" for _, item in items]))
    scores = [reply + _NEARNESS * float(nearness) for reply, nearness in zip(agreement, near, strict=True)]
    return [items[at] for at in sorted(range(len(items)), key=lambda at: -scores[at])]


def _other_case(hits: Sequence[Hit]) -> Hit | None:
    """The section of another article that is nearest to the question and nearer than the first hit, a special case."""
    if not hits[0].special:
        return None
    others = [hit for hit in hits[1:] if hit.section.article != hits[0].section.article and not hit.special]
    nearest = max(others, key=lambda hit: hit.similarity, default=None)
    return nearest if nearest and nearest.similarity >= hits[0].similarity else None


def extractive_fallback(answer: str, hits: Sequence[Hit], cosines: Cosines, least: float) -> list[ExtractedSentence]:
    """The lines to show in place of a model's answer; [] = keep it.

    It is kept where each of its sentences shares at least `least` (0 to 1) of its words and figures with one of them.
    Where it is replaced, what it says in the words of a section that is shown stays among the lines.
    """
    if least <= 0:
        return []
    chosen = _choose(hits, cosines, SENTENCES)
    known = [TermBag(f"{line.section.title} {line.text}") for line in _lines(chosen)]
    said = [TermBag(sentence) for sentence in sentences(answer)[:MAX_SENTENCES]]
    if all(max((one.share_in(line) for line in known), default=0.0) >= least for one in said):
        return []
    return _lines({section: places | _rests_on(said, section, least) for section, places in chosen.items()})


def render_quote(lines: Sequence[ExtractedSentence]) -> str:
    """The lines as one text; each case under its title in a line of its own, two of an article under headings too."""
    cases: dict[Section, list[ExtractedSentence]] = {}
    for line in lines:
        cases.setdefault(line.section, []).append(line)
    titles = Counter(section.title for section in cases)
    out = []
    for section, said in cases.items():
        name = section.title if titles[section.title] == 1 else f"{section.title}, {section.heading}"
        title, colon = (name.replace(", ", "，"), "：") if section.lang == "zh" else (name, ": ")
        text = join_shown([line.text for line in said], section.lang)
        out.append(f"{title}{colon}{text}" if any(line.titled for line in said) else text)
    return "\n".join(out)


def _reply_agreement(texts: Sequence[str], earlier: Sequence[Earlier]) -> list[float]:
    """The agreement (F1 of terms) of each text with earlier replies, weighed by how near their questions are."""
    nearest = sorted(earlier, key=lambda one: -one.similarity)[:PAST_REPLIES]
    weights = [exp(_SHARPNESS * (one.similarity - nearest[0].similarity)) for one in nearest]
    replies = [Counter(terms(one.reply)) for one in nearest]
    out = []
    for text in texts:
        said = Counter(terms(text))
        shares = [term_agreement(said, reply) for reply in replies]
        out.append(sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights) if weights else 0.0)
    return out
