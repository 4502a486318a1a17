"""Text from models, customers and articles, made inert; and Chinese runs made to wrap.

Promises: `inert` returns text in which no character can move the cursor, start an escape sequence, turn the reading
direction or hide: each such character is shown as a visible sign instead. Markup is never parsed here or downstream:
callers hand the result to `Content` or to widgets with `markup=False`. Knows nothing of screens and widgets.
"""

from __future__ import annotations

import re
import unicodedata

MAX_COMBINING = 4
"""Marks kept on one letter; no script needs more, and a tower of them would be drawn over the neighbouring lines."""

_SAFE = re.compile(
    r"[\n\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u3001-\u3029\u3040-\u3096\u30a0-\u30ff\u4e00-\u9fff\uff01-\uff9f]*"
)
_JOINERS = {"\u200c", "\u200d"}
"""Zero-width (non-)joiners: Persian, Hindi and emoji need them, and they hide nothing."""


def inert(text: str) -> str:
    """The text with every control, format and surrogate character shown as a sign; lines end with a line feed.

    C0 controls become their Unicode pictures (`␛`, `␀`), all others their code point in angle brackets (`⟨202E⟩`).
    A tab becomes four spaces. `inert(inert(text)) == inert(text)`.
    """
    if _SAFE.fullmatch(text):
        return text
    out: list[str] = []
    combining = 0
    for char in text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n"):
        category = unicodedata.category(char)
        combining = combining + 1 if category in ("Mn", "Me") else 0
        if char == "\n" or char in _JOINERS:
            out.append(char)
        elif char == "\t":
            out.append("    ")
        elif char < " ":
            out.append(chr(0x2400 + ord(char)))
        elif category in ("Cc", "Cf", "Cs") or combining > MAX_COMBINING:
            out.append(f"⟨{ord(char):04X}⟩")
        else:
            out.append(char)
    return "".join(out)


def one_line(text: str) -> str:
    """Inert text on one line, for headings, status lines and notices."""
    return " ".join(inert(text).split())


# Chinese, Japanese and Korean letters, between any two of which a line may break. Full-width punctuation is not here.
_WIDE = (
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U00020000-\U0003ffff"
)
_OPEN = "（《「『【〔〈［｛“‘("
_CLOSE = "，。、；：？！）》」』】〕〉］｝”’…—·),.!?:;%"
# A piece that is never cut: one wide letter with the brackets before and the punctuation after it, which may not be
# parted from it (no line begins with a full stop, none ends with an opening bracket); or a run of other letters.
_PIECE = rf"(?:[{_OPEN}]{{0,4}}[{_WIDE}][{_CLOSE}]{{0,4}}|(?:(?![{_OPEN}]{{1,4}}[{_WIDE}])[^\s{_WIDE}])+)"


_IS_WIDE = re.compile(f"[{_WIDE}]")


def is_seam(text: str, at: int) -> bool:
    """Whether one piece surely ends before `text[at]` and another begins there, whatever follows later."""
    if not 0 < at < len(text):
        return True
    before, here = text[at - 1], text[at]
    if before.isspace():
        return not here.isspace()
    if _IS_WIDE.match(before):
        return not here.isspace() and here not in _CLOSE
    return bool(_IS_WIDE.match(here)) and before not in _OPEN


def wrap_chinese() -> None:
    """Let every Textual widget break lines between Chinese letters.

    Rich and Textual cut text into words at white space alone, so a Chinese sentence is one word: it jumps to the next
    line when it does not fit, and is then chopped anywhere, full stops at line starts included. Both keep the pattern
    of a word in one module variable; this sets both, and may be called more than once. `textual` is pinned exactly;
    `tests/tui/widgets/test_wrapping.py` notices when either variable moves.
    """
    import rich._wrap
    import textual._wrap

    rich._wrap.re_word = re.compile(rf"\s*{_PIECE}\s*")
    textual._wrap.re_chunk = re.compile(rf"{_PIECE}\s*|\s+")
