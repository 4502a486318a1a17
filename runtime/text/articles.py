"""Articles: Markdown files with front matter, cut into sections at their `## ` headings.

A section is what is retrieved, put into the prompt and cited; its reference is `article#anchor`. Promises: every
malformed article is refused with file and line. Knows nothing of indexes and prompts.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from runtime.base.files import MAX_ARTICLE_BYTES, read_text
from runtime.errors import InputError, MissingError

_HEADING = re.compile(r"^##\s+(?P<text>.+?)\s*(?:\{#(?P<anchor>[\w.-]+)\})?\s*$")
_TITLE = re.compile(r"^#\s+(?P<text>.+?)\s*$")
_ID = re.compile(r"\w[\w.-]*")
_LANG = re.compile(r"[a-z]{2}")
_FENCE = re.compile(r"^\s{0,3}(```|~~~)")
_FRONT_KEYS = {"id", "title", "lang", "topic", "audience", "valid_from", "valid_until", "product", "branch"}


@dataclass(frozen=True)
class Section:
    """One citable piece of an article."""

    article: str
    anchor: str
    title: str
    """The article's title."""
    heading: str
    text: str
    lang: str
    audience: Literal["public", "internal"] = "public"

    @property
    def ref(self) -> str:
        """`article#anchor`, the same in every language."""
        return f"{self.article}#{self.anchor}"


@dataclass(frozen=True)
class Article:
    """One article file in one language."""

    id: str
    title: str
    lang: str
    sections: tuple[Section, ...]
    topic: str = ""
    audience: Literal["public", "internal"] = "public"
    product: tuple[str, ...] = ()
    """The models it is about; none = it is about no particular one."""
    branch: tuple[str, ...] = ()
    """The branches it holds in; none = all."""
    valid_from: date | None = None
    valid_until: date | None = None

    def fits(self, *, branch: str = "", product: str = "") -> bool:
        """Whether it holds in a branch and is not about other products than this one; "" asks for neither."""
        here = not branch or not self.branch or branch.casefold() in map(str.casefold, self.branch)
        return here and (not product or not self.product or product.casefold() in map(str.casefold, self.product))

    def valid_on(self, day: date) -> bool:
        """Whether the article may be used on that day (both bounds included)."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )


def load_articles(folder: Path) -> list[Article]:
    """All `*.md` below a folder, sorted by path; `InputError` on the first that is malformed or named twice."""
    if not folder.is_dir():
        raise MissingError("no such folder of articles", where=str(folder), hint="check the path")
    paths = sorted(path for path in folder.rglob("*.md") if path.is_file())
    if not paths:
        raise InputError("no article (*.md) found", where=str(folder), hint="put Markdown files there")
    articles: dict[tuple[str, str], Path] = {}
    out = []
    for path in paths:
        article = parse_article(read_text(path, max_bytes=MAX_ARTICLE_BYTES), path)
        if (other := articles.setdefault((article.lang, article.id), path)) is not path:
            raise InputError(
                f"article '{article.id}' stands in {other} too", where=str(path), hint="give it its own id"
            )
        out.append(article)
    return out


def parse_article(text: str, path: Path, *, lang: str = "") -> Article:
    """One article. Without front matter, the file's name is its id, its `# ` heading its title.

    `lang` is used where the front matter names none; otherwise the text's script decides.
    """
    front, body, first_line = _split_front_matter(text, path)
    lang = _word(front, "lang") or lang or guess_language(body)
    if not _LANG.fullmatch(lang):
        raise InputError(f"lang '{lang}'", where=str(path), hint="a two-letter code: en, zh")
    audience = front.get("audience", "public")
    if audience not in ("public", "internal"):
        raise InputError(f"audience '{audience}'", where=str(path), hint="use public or internal")
    identity = _word(front, "id") or path.stem
    if not _ID.fullmatch(identity):
        raise InputError(f"id '{identity}'", where=str(path), hint="letters, digits, '-', '_' and '.', a letter first")
    title, pieces = _split_sections(body)
    title = _word(front, "title") or title or path.stem
    if not pieces:
        raise InputError("no text in it", where=f"{path}:{first_line}", hint="write at least one sentence")
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    sections = []
    for heading, anchor, content in pieces:
        plain = name = anchor or slug(heading) or "overview"
        while name in taken:  # numbers go on where they stopped: a thousand equal headings take no million tries
            numbers[plain] = numbers.get(plain, 1) + 1
            name = f"{plain}-{numbers[plain]}"
        taken.add(name)
        sections.append(Section(identity, name, title, heading or title, content, lang, audience))
    return Article(
        id=identity,
        title=title,
        lang=lang,
        sections=tuple(sections),
        topic=_word(front, "topic"),
        audience=audience,
        product=_words(front, "product"),
        branch=_words(front, "branch"),
        valid_from=_date(front, "valid_from", path),
        valid_until=_date(front, "valid_until", path),
    )


def guess_language(text: str) -> str:
    """`zh` when at least a fifth of the letters are Han, else `en`: the two languages customers write."""
    letters = [char for char in text if char.isalpha()]
    han = sum(1 for char in letters if is_han(char))
    return "zh" if letters and han * 5 >= len(letters) else "en"


def is_han(char: str) -> bool:
    """Whether a character is a Chinese ideograph (CJK Unified, extensions and compatibility)."""
    code = ord(char)
    return (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF
    )


def slug(heading: str) -> str:
    """A heading as an anchor: lower case, letters and digits of any script, words joined by '-'."""
    normal = unicodedata.normalize("NFKC", heading).lower()
    return re.sub(r"[\W_]+", "-", normal).strip("-")[:60]


def _split_front_matter(text: str, path: Path) -> tuple[dict[str, Any], str, int]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return {}, text, 1
    import yaml

    end = next((number for number, line in enumerate(lines) if number and line.strip() == "---"), 0)
    if not end:
        raise InputError("the front matter is not closed", where=f"{path}:1", hint="end it with a line '---'")
    try:
        front = yaml.safe_load("\n".join(lines[1:end])) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line_number = (mark.line if mark else 0) + 2
        raise InputError("the front matter is not YAML", where=f"{path}:{line_number}", hint=str(error)) from None
    except (ValueError, RecursionError) as error:  # 2026-02-30 looks like a date to YAML, and is none
        raise InputError("the front matter is not YAML", where=f"{path}:2", hint=str(error)) from None
    if not isinstance(front, dict):
        raise InputError("the front matter is not 'key: value' lines", where=f"{path}:2")
    if unknown := sorted(set(map(str, front)) - _FRONT_KEYS):
        raise InputError(
            f"unknown front matter key '{unknown[0]}'", where=str(path), hint=f"known: {', '.join(sorted(_FRONT_KEYS))}"
        )
    return front, "\n".join(lines[end + 1 :]), end + 2


def _split_sections(body: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The `# ` title, and (heading, anchor, text) of every section that has text; deeper headings stay in theirs."""
    title = ""
    fenced = False
    pieces: list[tuple[str, str, list[str]]] = [("", "", [])]
    for line in body.splitlines():
        fenced ^= bool(_FENCE.match(line))
        if fenced:
            pieces[-1][2].append(line)
        elif match := _HEADING.match(line):
            pieces.append((match["text"], match["anchor"] or "", []))
        elif (match := _TITLE.match(line)) and not title:
            title = match["text"]
        else:
            pieces[-1][2].append(line)
    whole = [(heading, anchor, "\n".join(lines).strip()) for heading, anchor, lines in pieces]
    return title, [piece for piece in whole if piece[2]]


def _word(front: dict[str, Any], key: str) -> str:
    """A value as text; "" when it is absent or left empty."""
    value = front.get(key)
    return "" if value is None else str(value)


def _words(front: dict[str, Any], key: str) -> tuple[str, ...]:
    """A value, or a list of them, as texts."""
    value = front.get(key)
    many = value if isinstance(value, list) else [value]
    return tuple(str(one) for one in many if one is not None and str(one))


def _date(front: dict[str, Any], key: str, path: Path) -> date | None:
    value = front.get(key)
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    raise InputError(f"{key} '{value}' is not a date", where=str(path), hint="write it as 2026-01-31")
