"""The lines of a Markdown text that its reader is shown: code as it is, all else without what is hidden.

Hidden are HTML comments, `<?php … ?>`, `<![CDATA[ … ]]>`, `<script>` and `<style>` with what they hold, and Markdown's
own comments (`[//]: # (…)`). In code, between backticks on one line or in a fenced block, they are what the reader is
to see, and stay. Where backticks do not pair up on their line, nothing after them is taken for code: rather too much is
hidden than a comment shown. Promises: time is linear in the text. Knows nothing of headings and sections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runtime.errors import InputError
from runtime.text.html_text import TAGS

LINE_END = re.compile(r"\r\n|\n|\r")
"""Markdown's line ends. `str.splitlines` knows more, such as U+2028, which are text here."""
_FENCE = re.compile(r"(`{3,}|~{3,})(.*)")
_MARKER = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?= |$)")
_BLANKS = re.compile(" *")
_MARK = re.compile(r"<!--|<\?(?=[A-Za-z=])|<!\[CDATA\[|<script(?=[\s>/]|$)|<style(?=[\s>/]|$)|`+", re.IGNORECASE)
_ENDS = {
    "<!--": re.compile(r"-->"),
    "<?": re.compile(r"\?>"),
    "<![cdata[": re.compile(r"\]\]>"),
    "<script": re.compile(r"</script[ \t]{0,9}>", re.IGNORECASE),
    "<style": re.compile(r"</style[ \t]{0,9}>", re.IGNORECASE),
}
_NOTE = re.compile(r"[ \t>*+-]*\[(?://|comment|注释)\]:[ \t]*(?:\S+[ \t]+([(\"'])(.*))?", re.IGNORECASE)
_EMPTY_LINK = re.compile(
    r"[ \t>*+-]*\[[^\[\]^][^\[\]]{0,99}\]:[ \t]*(?:#|<>)[ \t]+(?:\(.*\)|\".*\"|'.*')", re.IGNORECASE
)
"""A link that leads nowhere and has a title: a comment under any name."""
_TAG_START = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,11})(?:\s|$)")
_TAG_LINES = 10
"""A tag goes on over no more lines."""


class ShownLine(NamedTuple):
    """A line as it is shown."""

    number: int
    text: str
    code: bool
    """Whether it belongs to a fenced block."""


def shown_text(text: str, where: str) -> str:
    """A whole text as it is shown; `InputError` where a comment or a fenced block is not closed."""
    return "\n".join(line.text for line in shown_lines(LINE_END.split(text), where))


def without_comments(line: str) -> str:
    """One line on its own, such as a title. What is not closed is hidden up to its end."""
    return _Hiding([line], 0).shown(0, line)


def shown_lines(lines: Sequence[str], where: str, first_line: int = 1) -> Iterator[ShownLine]:
    """The lines as they are shown, those left out of which nothing is; `InputError` at `where` for an open block.

    Fences follow CommonMark: one closes with as many of its own character as opened it, or more, or with the list item
    it stands in; backticks in its first line make it inline code.
    """
    hiding = _Hiding(lines, first_line)
    items: list[int] = []  # where the text of the list items around begins
    fence, fenced_at, base = "", 0, 0
    held: list[str] = []  # lines of a tag that goes on
    for number, line in enumerate(lines, start=first_line):
        plain = line.expandtabs(4)
        indent = len(plain) - len(plain.lstrip(" "))
        if fence and base and plain.strip() and indent < base:
            fence = ""
        if fence:
            yield ShownLine(number, line, code=True)
            if indent < base + 4 and re.fullmatch(rf"{fence[0]}{{{len(fence)},}} *", plain[indent:]):
                fence = ""
            continue
        if not hiding.end:
            base, place = _content(plain, indent, items)
            opened = _FENCE.fullmatch(plain, place) if place < base + 4 else None
            if opened and not (opened[1][0] == "`" and "`" in opened[2]):
                if held:
                    yield ShownLine(number - 1, " ".join(held), code=False)
                    held = []
                fence, fenced_at = opened[1], number
                hiding.stray = False
                yield ShownLine(number, line, code=True)
                continue
            if _is_note(line, f"{where}:{number}"):
                continue
        shown = hiding.shown(number, line)
        if line.strip() and not shown.strip():
            continue  # a line that only held a comment leaves no gap
        held.append(shown)
        if not _tag_goes_on(shown, lines, number - first_line + 1, inside=len(held) > 1):
            yield ShownLine(number, " ".join(held), code=False)
            held = []
    if held:
        yield ShownLine(first_line + len(lines) - 1, " ".join(held), code=False)
    if fence:
        raise InputError(
            f"the code block is not closed ({fence})", where=f"{where}:{fenced_at}", hint=f"end it with a line {fence}"
        )
    if hiding.end:
        raise InputError("the comment is not closed (<!--)", where=f"{where}:{hiding.since}", hint="end it with -->")


class _Hiding:
    """What is hidden at the place that has been read up to."""

    def __init__(self, lines: Sequence[str], first_line: int) -> None:
        self._lines = lines
        self._first_line = first_line
        self._last: dict[str, tuple[int, int]] = {}
        self.end: re.Pattern[str] | None = None
        """What ends the hidden part that is open."""
        self.since = 0
        """The line it began in."""
        self.stray = False
        """Whether backticks without a partner came before in this paragraph."""

    def shown(self, number: int, line: str) -> str:
        """What is shown of the next line."""
        if not line.strip():
            self.stray = False
        partners = _partners(line) if "`" in line else {}
        kept: list[str] = []
        place = done = 0
        while True:
            if self.end:
                ended = self.end.search(line, place)
                if not ended:
                    return "".join(kept)
                place = done = ended.end()
                self.end = None
            mark = _MARK.search(line, place)
            if not mark:
                return "".join((*kept, line[done:]))
            place = mark.end()
            if mark[0][0] == "`":
                escaped = mark.start() > 0 and line[mark.start() - 1] == "\\"
                partner = partners.get(mark.start(), 0)
                if self.stray or escaped or not partner:
                    self.stray = True
                else:
                    place = partner
                continue
            name = mark[0].lower()
            if name != "<!--" and self._last_end(name) <= (number, place):
                continue  # nothing ends it: words about a tag
            kept.append(line[done : mark.start()])
            self.end, self.since = _ENDS[name], number
            if name == "<!--":  # `<!-->` and `<!--->` are whole comments
                place = mark.start() + 2

    def _last_end(self, name: str) -> tuple[int, int]:
        """(line, place) of the last end of this kind; (-1, 0) where there is none."""
        if name not in self._last:
            self._last[name] = (-1, 0)
            for number, line in enumerate(self._lines, start=self._first_line):
                for match in _ENDS[name].finditer(line):
                    self._last[name] = (number, match.start() + 1)
        return self._last[name]


def _partners(line: str) -> dict[int, int]:
    """Where code begins -> where it ends: at the next run of as many backticks."""
    ends: dict[int, int] = {}
    partners: dict[int, int] = {}
    for match in reversed(list(re.finditer("`+", line))):
        length = match.end() - match.start()
        partners[match.start()] = ends.get(length, 0)
        ends[length] = match.end()
    return partners


def _content(plain: str, indent: int, items: list[int]) -> tuple[int, int]:
    """(where the innermost list item's text begins, where this line's does); `items` is brought up to this line."""
    if indent == len(plain):
        return 0, len(plain)
    while items and indent < items[-1]:
        items.pop()
    base, place = items[-1] if items else 0, indent
    while place < base + 4 and (marker := _MARKER.match(plain, place)):
        text = next(_BLANKS.finditer(plain, marker.end())).end()
        code = text == len(plain) or text > marker.end() + 4
        base = marker.end() + 1 if code else text
        items.append(base)
        place = text
    return base, place


def _is_note(line: str, where: str) -> bool:
    """Whether a line is a comment in Markdown's own form."""
    if "]:" not in line:
        return False
    note = _NOTE.match(line)
    if note and note[1] and {"(": ")"}.get(note[1], note[1]) not in note[2]:
        raise InputError("the comment is not closed ([//]:)", where=where, hint="end it on its own line")
    return bool(note or _EMPTY_LINK.fullmatch(line.rstrip()))


def _tag_goes_on(line: str, lines: Sequence[str], following: int, *, inside: bool) -> bool:
    """Whether a line ends within a tag that one of the next lines closes."""
    start = line.rfind("<")
    if start < 0:
        if not inside or ">" in line:
            return False
    else:
        tag = _TAG_START.match(line, start)
        if not tag or tag[1].lower() not in TAGS or ">" in line[start:]:
            return False
    for after in lines[following : following + _TAG_LINES]:
        mark = re.search("[<>]", after)
        if mark or not after.strip():
            return mark is not None and mark[0] == ">"
    return False
