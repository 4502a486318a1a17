"""Cuts a section into what a reply can quote: sentences, list items, and rows of tables.

Promises: a unit's `quote` stands in the section word for word, but for a table row, which is read as "column: cell";
code blocks are left out; time is linear in the text. Knows nothing of questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from runtime.text.sentences import sentences

MAX_SENTENCE_CHARS = 800
"""What is longer is no sentence that anybody quotes: a paste, a log, a list without line breaks."""
_MARK = re.compile(r"(?:[-*+•]|\d{1,3}[.)、])[ \t]{1,4}")
_LINK = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,500}\)")
_EMPHASIS = re.compile(r"\*\*|__|`")
_RULE_LINE = re.compile(r"[-=*_|:\s]{3,}")
_LEANING = re.compile(
    r"(?:It|They|This|These|That|Those|He|She|Otherwise|However|But|And|Then|Also|In (?:this|that|these|those) cases?"
    r"|Both|Such|If (?:so|not)|Afterwards|There)\b"
)
_LEANING_HAN = re.compile(r"(?:它|其|这|那|此|该|否则|但|然后|之后|届时|同时|另外|并|也|因此|所以|如果不|如果是)")


@dataclass(frozen=True)
class Unit:
    """One thing that a section says."""

    text: str
    """Without Markdown's marks: what questions are made of."""
    quote: str
    """What a reply says: as the section has it, with the sentence before where this one leans on it."""
    topic: str
    """The deeper heading it stands under, or the section's."""
    row: tuple[tuple[str, str], ...] = ()
    """(column, cell) of a table's row; the first names what the row is about."""


def plain(text: str) -> str:
    """Markdown's links, emphasis and code marks taken off one line."""
    return _EMPHASIS.sub("", _LINK.sub(r"\1", text)).strip()


def article_units(heading: str, text: str) -> Iterator[Unit]:
    """The units of a section in reading order."""
    topic = heading
    fence = ""
    for is_table, group in groupby(_lines(text), key=lambda line: line.lstrip().startswith("|")):
        lines = list(group)
        if is_table:
            yield from _rows(lines, topic)
            continue
        for line in lines:
            stripped = line.strip()
            mark = re.match(r"`{3,}|~{3,}", stripped)
            if mark and (not fence or (stripped.startswith(fence) and stripped == mark[0])):
                fence = "" if fence else mark[0]
                continue
            if fence or not stripped or _RULE_LINE.fullmatch(stripped):
                continue
            if deeper := re.match(r"#{3,6}[ \t]{1,4}", stripped):
                topic = plain(stripped[deeper.end() :].rstrip("#")) or topic
                continue
            yield from _sentences(stripped, topic)


def _lines(text: str) -> list[str]:
    """Paragraphs with their wrapped lines joined; list items, headings and rows on lines of their own."""
    out: list[list[str]] = []
    joined = in_list = False
    for line in text.split("\n"):
        if line.startswith("    ") and not joined and not in_list:
            continue  # code, indented
        in_list = bool(_MARK.match(line.strip())) or (in_list and (not line.strip() or line.startswith(" ")))
        stripped = line.strip().removeprefix("> ")
        own = not stripped or stripped.startswith(("|", "#", "```", "~~~")) or _MARK.match(stripped)
        if joined and not own and out:
            out[-1] += [_gap(out[-1][-1]), stripped]
        else:
            out.append([stripped])
        joined = bool(stripped) and not stripped.startswith(("|", "#", "```", "~~~"))
    return ["".join(parts) for parts in out]


def _gap(before: str) -> str:
    """What stands between a text and the next: nothing after Chinese."""
    return "" if "\u3000" <= before[-1:] <= "\u9fff" or "\uff00" <= before[-1:] <= "\uffef" else " "


def _sentences(line: str, topic: str) -> Iterator[Unit]:
    mark = _MARK.match(line)
    before = ""
    for sentence in sentences(line[mark.end() :] if mark else line):
        if len(sentence) > MAX_SENTENCE_CHARS:
            before = ""
            continue
        leans = before and (_LEANING.match(sentence) or _LEANING_HAN.match(sentence))
        yield Unit(plain(sentence), f"{before}{_gap(before)}{sentence}" if leans else sentence, topic)
        before = sentence


def _rows(lines: list[str], topic: str) -> Iterator[Unit]:
    cells = [[plain(cell) for cell in line.strip().strip("|").split("|")] for line in lines]
    if len(cells) < 3 or not all(re.fullmatch(r":?-{1,}:?", cell) for cell in cells[1]):
        return
    names = cells[0]
    for row in cells[2:]:
        pairs = tuple((name, cell) for name, cell in zip(names, row, strict=False) if cell)
        if len(pairs) > 1:
            said = "; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs)
            yield Unit(said, said, topic, pairs)
