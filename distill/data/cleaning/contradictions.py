"""Finds statements with a figure that another text contradicts: replies against articles, articles against each other.

Two sentences speak of one thing when they share most of their words, figures left out; they contradict each other when
both name figures of one kind and unit, and none of the one is among the other's. Promises: every finding names both
sentences; nothing is claimed of sentences without a figure, or of what the other text does not speak of. Figures that
differ for a reason that stands in other words ("in December", another model) part the sentences by these words. Knows
nothing of models.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from distill.data.steps import Dropped, Step
from runtime.text.articles import Article, Section
from runtime.text.quantities import Quantity, quantities
from runtime.text.records import Record
from runtime.text.sentences import sentences
from runtime.text.tokens import terms

REPLY_SHARE = 0.6
"""Of the rarer side's words that a reply's sentence shares with an article's to speak of the same thing."""
ARTICLE_SHARE = 0.75
"""Of all words of two articles' sentences: stricter, since every product has a sentence like its neighbour's."""
_MIN_TERMS = 3
_COMMON = 200
"""A word of more sentences than that names no pair of them to compare."""


class Statement(NamedTuple):
    """A sentence with a figure."""

    where: str
    """`article#section`, or a record's id."""
    text: str
    words: frozenset[str]
    """Its terms without those that hold a figure."""
    figures: tuple[Quantity, ...]


class Contradiction(NamedTuple):
    """Two statements that cannot both hold."""

    one: Statement
    other: Statement

    def __str__(self) -> str:
        return f"{self.one.where}: “{self.one.text}” against {self.other.where}: “{self.other.text}”"


def statements(text: str, where: str) -> list[Statement]:
    """The sentences of a text that name a figure with a unit, a date or a time."""
    found = []
    for sentence in sentences(text):
        figures = tuple(figure for figure in quantities(sentence) if figure.unit or figure.kind in ("date", "time"))
        words = frozenset(term for term in terms(sentence) if not any(char.isdigit() for char in term))
        if figures and len(words) >= _MIN_TERMS:
            found.append(Statement(where, sentence, words, figures))
    return found


class CurrentArticles:
    """The articles that hold on a day, and those that did, ready to be asked about a reply."""

    def __init__(self, articles: Iterable[Article], today: date) -> None:
        current: list[Statement] = []
        expired: list[Statement] = []
        for article in articles:
            for section in article.sections:
                into = expired if article.valid_until is not None and article.valid_until < today else current
                if article.valid_on(today) or into is expired:
                    into += section_statements(section)
        self._current, self._expired = _StatementIndex(current), _StatementIndex(expired)

    def contradiction(self, reply: str, where: str) -> Contradiction | None:
        """What a current article says against a reply."""
        return next(self._against(reply, where, self._current, same=False), None)

    def expired_quote(self, reply: str, where: str) -> Contradiction | None:
        """What a reply says as an expired article did, where no current article says so too."""
        for found in self._against(reply, where, self._expired, same=True):
            if not any(_agree(found.one, near) for near in self._current.near(found.one, REPLY_SHARE)):
                return found
        return None

    def _against(self, reply: str, where: str, index: _StatementIndex, *, same: bool) -> Iterator[Contradiction]:
        for said in statements(reply, where):
            near = list(index.near(said, REPLY_SHARE))
            if same:
                yield from (Contradiction(said, other) for other in near if _agree(said, other))
            elif near and not any(_agree(said, other) for other in near):
                # One article that bears it out is enough: others may speak of another case in the same words.
                yield from (Contradiction(said, other) for other in near if _disagree(said, other))


def reply_step(articles: Sequence[Article], today: date) -> Step[Record]:
    """The step that drops transcripts' records whose reply an article contradicts, or which quote an expired one.

    It can be pickled, since workers get copies.
    """
    languages = sorted({article.lang for article in articles})
    known = {lang: CurrentArticles([each for each in articles if each.lang == lang], today) for lang in languages}
    return Step("contradictions", _ReplyCheck(known))


@dataclass(frozen=True)
class _ReplyCheck:
    known: dict[str, CurrentArticles]

    def __call__(self, record: Record) -> Record | Dropped:
        known = self.known.get(record.lang)
        if known is None or record.source != "transcript":
            return record
        if found := known.contradiction(record.response, record.id):
            return Dropped("an article contradicts the reply", record.id, str(found))
        if found := known.expired_quote(record.response, record.id):
            return Dropped("the reply quotes an expired article", record.id, str(found))
        return record


def article_conflicts(articles: Sequence[Article], today: date) -> list[Contradiction]:
    """Sentences of two sections, both valid on that day and in one language, that disagree on a figure.

    They are reported, never mended: only the company knows which holds.
    """
    found: list[Contradiction] = []
    for lang in sorted({article.lang for article in articles}):
        known = [
            statement
            for article in articles
            if article.lang == lang and article.valid_on(today)
            for section in article.sections
            for statement in section_statements(section)
        ]
        index = _StatementIndex(known)
        for one in known:
            near = index.near(one, ARTICLE_SHARE, of_all=True)
            found += [Contradiction(one, each) for each in near if one.where < each.where and _disagree(one, each)]
    return found


@lru_cache(maxsize=4096)
def section_statements(section: Section) -> tuple[Statement, ...]:
    """The statements of a section."""
    return tuple(statements(section.text, section.ref))


class _StatementIndex:
    """Finds statements that share words with one, by their words."""

    def __init__(self, known: Sequence[Statement]) -> None:
        self._known = known
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, statement in enumerate(known):
            for word in statement.words:
                self._places[word].append(place)

    def near(self, statement: Statement, share: float, *, of_all: bool = False) -> Iterator[Statement]:
        """Statements that share so much of the smaller side's words, or of both sides' with `of_all`."""
        counts: Counter[int] = Counter()
        for word in statement.words:
            places = self._places.get(word, [])
            if len(places) <= _COMMON:
                counts.update(places)
        for place, least in sorted(counts.items()):
            if least < _MIN_TERMS - 1:
                continue
            other = self._known[place]
            shared = len(statement.words & other.words)
            whole = len(statement.words | other.words) if of_all else min(len(statement.words), len(other.words))
            if shared >= max(_MIN_TERMS, share * whole):
                yield other


def _same_sort(one: Quantity, other: Quantity) -> bool:
    return one.kind == other.kind and one.unit == other.unit


def _agree(one: Statement, other: Statement) -> bool:
    """Whether every figure of the one that the other could speak of is there."""
    comparable = [figure for figure in one.figures if any(_same_sort(figure, each) for each in other.figures)]
    return bool(comparable) and all(any(each.supports(figure) for each in other.figures) for figure in comparable)


def _disagree(one: Statement, other: Statement) -> bool:
    return any(
        any(_same_sort(figure, each) for each in other.figures)
        and not any(each.supports(figure) or figure.supports(each) for each in other.figures)
        for figure in one.figures
    )
