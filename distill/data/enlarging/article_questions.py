"""Pairs of question and reply out of articles, by rules: what a company without transcripts trains on.

    section -> units (sentences, list items, rows) -> questions that a unit answers -> reply that quotes the unit

Promises: a reply says nothing but what stands in its section, so its evidence bears it out by construction
(`is_borne_out` checks it all the same); no question is asked twice in one language, and one that two sections could
answer names its article; the same articles give the same pairs. Knows nothing of models.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from distill.data.conversation import RawConversation, RawTurn
from distill.data.enlarging import chinese_questions, english_questions
from distill.data.enlarging.article_units import Unit, article_units, plain
from runtime.grounding.citations import source_text
from runtime.grounding.claim_check import unsupported_claims
from runtime.text.articles import Article, Section
from runtime.text.sentences import sentences

MAX_PER_SECTION = 12
"""Pairs of one section; a price list of a thousand rows must not drown everything else."""
MAX_REPLY_CHARS = {"en": 420, "zh": 170}
"""A quote that is longer is cut to whole sentences, one at least."""
_LONGEST_QUESTION = 160
_OPENING_CHARS = {"en": 320, "zh": 130}


@dataclass(frozen=True)
class ArticlePair:
    """A question that a section answers, and the section's own words for it."""

    question: str
    reply: str
    section: Section

    @property
    def evidence(self) -> tuple[str, ...]:
        """The section, as a record names it."""
        return (self.section.ref,)


def article_questions(section: Section, *, most: int = MAX_PER_SECTION) -> list[ArticlePair]:
    """At most `most` pairs of one section: its heading first, then its sentences in turn, the surest of each first."""
    rules = chinese_questions if section.lang == "zh" else english_questions
    units = list(article_units(section.heading, section.text))
    opening = _opening(units, section.lang)
    pairs = [(question, opening) for question in rules.heading_questions(plain(section.heading), section.title)]
    answered = [list(_pairs_of(place, units, section)) for place in range(len(units))]
    # The first question of every unit before the second of any, so that a cut leaves no unit unasked.
    for turn in range(max(map(len, answered), default=0)):
        pairs += [found[turn] for found in answered if turn < len(found)]
    seen: set[str] = set()
    out: list[ArticlePair] = []
    for question, reply in pairs:
        key = question_key(question)
        if reply and key not in seen and len(out) < most:
            seen.add(key)
            out.append(ArticlePair(_tidy(question), reply, section))
    return out


def questions_of_articles(articles: Iterable[Article], *, most: int = MAX_PER_SECTION) -> list[ArticlePair]:
    """The pairs of all public sections that `is_borne_out` lets pass, each question once a language.

    A question that several sections answer, or that leans on what was said before, gets its article's title in front.
    """
    pairs = [
        pair
        for article in articles
        for section in article.sections
        if section.audience == "public"
        for pair in article_questions(section, most=most)
        if is_borne_out(pair.reply, section)
    ]
    often = Counter((pair.section.lang, question_key(pair.question)) for pair in pairs)
    out: dict[tuple[str, str], ArticlePair] = {}
    for pair in pairs:
        rules = chinese_questions if pair.section.lang == "zh" else english_questions
        if often[pair.section.lang, question_key(pair.question)] > 1 or rules.leans_on_context(pair.question):
            pair = replace(pair, question=_named(pair.question, pair.section))
        out.setdefault((pair.section.lang, question_key(pair.question)), pair)
    return list(out.values())


def article_conversations(
    articles: Sequence[Article], *, languages: Sequence[str], most: int = MAX_PER_SECTION
) -> Iterator[RawConversation]:
    """The pairs as conversations of one question each, of the source "article".

    Their names are `<article>#<anchor>-<lang>~<number>`: what stands before `~` is one for all questions of a section,
    which quote the same sentences and belong into one split.
    """
    numbers: Counter[str] = Counter()
    for pair in questions_of_articles([each for each in articles if each.lang in languages], most=most):
        name = f"{pair.section.ref}-{pair.section.lang}"
        numbers[name] += 1
        yield RawConversation(
            conversation=f"{name}~{numbers[name]}",
            lang=pair.section.lang,
            turns=(
                RawTurn(role="user", content=pair.question, evidence=pair.evidence),
                RawTurn(role="assistant", content=pair.reply),
            ),
            source="article",
        )


def is_borne_out(reply: str, section: Section) -> bool:
    """Whether the section supports every figure, name and promise of a reply, and holds each of its sentences' words.

    The test for whatever is made from an article, by rules or by a teacher.
    """
    return bool(reply.strip()) and not unsupported_claims(reply, [source_text(section)])


def question_key(question: str) -> str:
    """What two spellings of one question share: letters and digits, in small letters."""
    return re.sub(r"[\W_]+", "", question.casefold())


def _pairs_of(place: int, units: Sequence[Unit], section: Section) -> Iterator[tuple[str, str]]:
    rules = chinese_questions if section.lang == "zh" else english_questions
    unit = units[place]
    if unit.row:
        questions = rules.row_questions(unit.row)
    elif unit.text.endswith(("?", "？")):  # an FAQ within a section: the next sentences answer
        if place + 1 < len(units) and len(unit.text) <= _LONGEST_QUESTION and unit.text[0].isalpha():
            yield unit.text, _cut(units[place + 1].quote, section.lang)
        return
    else:
        questions = rules.sentence_questions(unit.text, plain(unit.topic))
    reply = _cut(unit.quote, section.lang)
    if not reply.endswith((":", "：")):  # what such a sentence announces is a list or a command
        yield from ((question, reply) for question in questions)


def _opening(units: Sequence[Unit], lang: str) -> str:
    """The section's first sentences, as many as a short reply holds."""
    gap, limit = ("", _OPENING_CHARS["zh"]) if lang == "zh" else (" ", _OPENING_CHARS["en"])
    said: list[str] = []
    for unit in units:
        sentence = unit.quote if unit.row or not said or not unit.quote.startswith(said[-1]) else unit.text
        if said and len(gap.join([*said, sentence])) > limit:
            break
        said.append(sentence)
    return _cut(gap.join(said), lang)


def _cut(quote: str, lang: str) -> str:
    limit = MAX_REPLY_CHARS.get(lang, MAX_REPLY_CHARS["en"])
    if len(quote) <= limit:
        return quote
    kept = ""
    for sentence in sentences(quote):
        if kept and len(kept) + len(sentence) > limit:
            break
        kept += ("" if lang == "zh" or not kept else " ") + sentence
    return kept if len(kept) <= 2 * limit else ""


def _named(question: str, section: Section) -> str:
    where = section.title if section.title != section.heading else section.heading
    return f"关于{where}：{question}" if section.lang == "zh" else f"About {where}: {question}"


def _tidy(question: str) -> str:
    question = re.sub(r"\s+", " ", question).strip()
    return question[0].upper() + question[1:]
