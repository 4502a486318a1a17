r"""Cuts a text into what can be shown alone: sentences, list items with their lead-in, table rows with their head.

    "We take back:\\n- fridges\\n- ovens"     ->  ("fridges", lead "We take back:"), ("ovens", lead "We take back:")
    "| model | fee |\\n|---|---|\\n| A4 | €3 |"  ->  ("| A4 | €3 |", lead "| model | fee |"), shown "model: A4; fee: €3"

A lead-in or a table's head is never an item by itself: alone it says nothing. Promises: no word is lost, but one of
more than `MAX_PART_CHARS` characters is cut; no item but a table's row is long; time grows linearly with the text.
Knows nothing of articles and searches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from runtime.text.sentences import sentences
from runtime.text.tokens import terms

MAX_ITEM_TERMS = 120
"""A sentence of more is a list without line breaks, and is cut at its commas and semicolons."""
MAX_ITEM_CHARS = 1200
"""A sentence of more is cut as well: a text without any sign or blank is one word of any length."""
MAX_PART_CHARS = 400
"""What stands between two separators is cut at its blanks, and where there are none within so many, anywhere."""
_ITEM = re.compile(r"(?:[-*•·]|\d{1,3}(?:[)、]|\.(?!\d))|[（(]\d{1,3}[)）])\s*")
_ENDS = tuple(".!?;:,。！？；：，…")
_RULE = re.compile(r"[|:\-\s]+")
_SEPARATOR = re.compile(r"(?<=[;；])|(?<=[,，、])(?!\d)")
_PART = re.compile(rf".{{1,{MAX_PART_CHARS - 1}}}(?:\s|$)|.{{1,{MAX_PART_CHARS}}}", re.DOTALL)


class Item(NamedTuple):
    """A sentence, a list item or a table's row, and the line without which it says too little ("" where none)."""

    text: str
    lead: str = ""

    @property
    def is_row(self) -> bool:
        """Whether it is a row of a table."""
        return self.text.startswith("|")

    @property
    def shown(self) -> str:
        """As a person reads it by itself."""
        if self.is_row:
            head, row = _cells(self.lead), _cells(self.text)
            named = [f"{name}: {cell}" if name else cell for name, cell in zip(head, row, strict=False) if cell]
            named += row[len(head) :]
            return "; ".join(named) + "."
        if not self.lead:
            return self.text
        return self.lead + ("" if self.lead.endswith("：") else " ") + self.text


def split_items(text: str) -> list[Item]:
    """A text's items in order."""
    out: list[Item] = []
    for is_table, group in groupby(text.split("\n"), key=lambda line: line.strip().startswith("|")):
        lines = [line.strip() for line in group if line.strip()]
        out += _table(lines) if is_table else _prose(lines)
    return out


def shown_in_order(items: Sequence[Item]) -> list[str]:
    """What a person reads of items that stand together: a line that leads to several is said once, before the first."""
    out: list[str] = []
    lead = ""
    for item in items:
        out.append(item.text if item.lead and item.lead == lead and not item.is_row else item.shown)
        lead = item.lead
    return out


def join_shown(texts: Sequence[str], lang: str) -> str:
    """What stands together as one text: what ends without a mark is divided from what follows it."""
    gap, mark = ("", "；") if lang == "zh" else (" ", ";")
    ended = [text if text.endswith(_ENDS) or text is texts[-1] else text + mark for text in texts]
    return gap.join(ended).strip()


def _table(lines: Sequence[str]) -> list[Item]:
    ruled = len(lines) > 1 and "-" in lines[1] and bool(_RULE.fullmatch(lines[1]))
    head, rows = (lines[0], lines[2:]) if ruled else ("", list(lines))
    return [Item(row, head) for row in rows] or [Item(head)]


def _prose(lines: Sequence[str]) -> list[Item]:
    out: list[Item] = []
    lead = ""
    for line in lines:
        mark = _ITEM.match(line)
        if mark and mark.end() < len(line):
            out += [Item(piece, lead) for piece in _short(line[mark.end() :])]
            continue
        if lead and not (out and out[-1].lead == lead):
            out.append(Item(lead))  # nothing followed that it led to
        lead = ""
        for sentence in sentences(line):
            if lead:  # it led to a sentence in its own line
                out += [Item(piece, lead) for piece in _short(sentence)]
                lead = ""
            elif sentence.endswith((":", "：")) and len(sentence) <= MAX_PART_CHARS:
                lead = sentence
            else:
                out += [Item(piece) for piece in _short(sentence)]
    if lead and not (out and out[-1].lead == lead):
        out.append(Item(lead))
    return out


def _short(sentence: str) -> list[str]:
    """The sentence, or where it is a list in disguise, runs of its parts."""
    if len(terms(sentence)) <= MAX_ITEM_TERMS and len(sentence) <= MAX_ITEM_CHARS:
        return [sentence]
    out: list[str] = []
    size = 0
    for part in (piece for long in _SEPARATOR.split(sentence) for piece in _PART.findall(long)):
        count = len(terms(part))
        if not out or size + count > MAX_ITEM_TERMS // 4 or len(out[-1]) + len(part) > MAX_PART_CHARS:
            out.append("")
            size = 0
        out[-1] += part
        size += count
    return [part.strip() for part in out if part.strip()]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")] if row else []
