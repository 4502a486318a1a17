"""The passages of a corpus: what of it is embedded, and which section each passage stands for.

    row 0 … n-1   pieces of sections, in their order; title and heading with each, because they say what "it" is
    row n …       earlier questions, each for a section that answered it

Rows are kept in parts of the index (`runtime.retrieval.chroma_index`), by kind, language and audience: what most
searches leave out as a whole is not looked at. Pure; knows nothing of vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.retrieval.past_questions import PastQuestion
from runtime.text.articles import Article, Section
from runtime.text.sentences import pieces
from runtime.text.tables import split_items
from runtime.text.tokens import terms

Kind = Literal["section", "asked"]
PIECE_TERMS = 250
"""What the encoder sees at once. Cutting finer and counting the best piece found fewer answers, not more."""


FEW_ROWS = 6
"""Of a long table or list, embedded together: a row among two hundred is not found, one among six is."""


class ChunkTable:
    """The passages of these sections and of the questions they answered before."""

    def __init__(self, sections: Sequence[Section], asked: Sequence[PastQuestion]) -> None:
        self.texts: list[str] = []
        self.parts: list[str] = []
        """[row]: the part of the index it is kept in."""
        self._section: list[int] = []
        self._first = [0]
        for number, section in enumerate(sections):
            for text in split_chunks(section):
                self._add(text, number, "section", section)
            self._first.append(len(self.texts))
        self.answered: list[PastQuestion] = []
        """The questions of the rows from `pieces` on, one for each section that answered it."""
        where = {(section.lang, section.ref): number for number, section in enumerate(sections)}
        for question in asked:
            for ref in question.evidence:
                if (question.lang, ref) in where:
                    number = where[question.lang, ref]
                    self._add(question.text, number, "asked", sections[number])
                    self.answered.append(question)

    @property
    def pieces(self) -> int:
        """How many rows are pieces of sections; those behind them are earlier questions."""
        return self._first[-1]

    @cached_property
    def section(self) -> NDArray[np.int64]:
        """[row]: the number of the section it stands for."""
        return np.array(self._section, dtype=np.int64)

    def pieces_of(self, number: int) -> range:
        """The rows of a section's pieces."""
        return range(self._first[number], self._first[number + 1])

    def rows_of(self, kind: Kind) -> list[tuple[str, NDArray[np.int64]]]:
        """(part, its rows) of every part of a kind."""
        return self._rows_of[kind]

    @cached_property
    def _rows_of(self) -> dict[Kind, list[tuple[str, NDArray[np.int64]]]]:
        names = np.array(self.parts)
        ends: dict[Kind, tuple[int, int]] = {"section": (0, self.pieces), "asked": (self.pieces, len(names))}
        return {
            kind: [
                (str(part), begin + np.flatnonzero(names[begin:end] == part)) for part in np.unique(names[begin:end])
            ]
            for kind, (begin, end) in ends.items()
        }

    def _add(self, text: str, number: int, kind: Kind, section: Section) -> None:
        self.texts.append(text)
        self.parts.append(f"{kind}-{section.lang}-{section.audience}")
        self._section.append(number)


def split_chunks(section: Section) -> list[str]:
    """A section in overlapping pieces as they are embedded; of a table, each piece begins with the table's head."""
    return [with_heading(section, passage) for passage in _passages(section.text)]


def with_heading(section: Section, text: str) -> str:
    """A text of a section as it is embedded."""
    head = ": ".join(dict.fromkeys(part for part in (section.title, section.heading) if part))
    return f"{head}\n{text}" if head else text


def _passages(text: str) -> list[str]:
    """What is embedded of a text: pieces of whole sentences; of a long table or list, a few rows at a time."""
    if len(terms(text)) <= PIECE_TERMS:
        return [text]
    out: list[str] = []
    for lead, items in groupby(split_items(text), key=lambda item: item.lead):
        lines = [item.text for item in items]
        step = FEW_ROWS if lead else len(lines)
        for start in range(0, len(lines), step):
            out += pieces("\n".join([*([lead] if lead else []), *lines[start : start + step]]), PIECE_TERMS)
    return out


def chunk_texts(articles: Sequence[Article], asked: Sequence[PastQuestion]) -> list[str]:
    """What the index of these articles and earlier questions embeds, in its order."""
    return ChunkTable([section for article in articles for section in article.sections], asked).texts
