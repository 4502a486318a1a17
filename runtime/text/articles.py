"""Articles: Markdown files with front matter, cut into sections at their `## ` headings.

A section is what is retrieved, put into the prompt and cited; its reference is `article#anchor`. Promises: every
malformed article is refused with file and line; comments, scripts and styles never leave the file except in code, which
is shown as it is (`runtime.text.shown_lines`); tags and entities read as text; time is linear in the text. Knows
nothing of indexes and prompts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml

from runtime.base.files import MAX_ARTICLE_BYTES, read_text
from runtime.base.progress import say
from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.text.html_text import html_as_text
from runtime.text.languages import language_code
from runtime.text.normalize import nfkc
from runtime.text.shown_lines import LINE_END, shown_lines, without_comments

_ANCHOR = re.compile(r"\{#([\w.-]{1,100})\}$")
_ID = re.compile(r"\w[\w.-]*")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
_ENDINGS = (".md", ".markdown", ".mdown", ".mkd")
_LANG = re.compile(r"[a-z]{2}")
_FRONT_KEYS = {"id", "title", "lang", "topic", "audience", "valid_from", "valid_until", "product", "branch"}
MAX_FRONT_LINES = 200
MAX_WORD_CHARS = 500
"""The longest value in front matter."""
_PROBLEMS_NAMED = 20


class EmptyArticleError(InputError):
    """An article without a sentence: nothing to cite, and no reason to refuse the others."""


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


def load_articles(folder: Path, *, warn: Callable[[str], None] = say) -> list[Article]:
    """All `*.md` below a folder, sorted by path; `InputError` naming every file that is malformed or named twice.

    An article without text is left out and told to `warn`.
    """
    if not folder.is_dir():
        raise MissingError("no such folder of articles", where=str(folder), hint="check the path")
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS and (path.is_symlink() or path.is_file())
    )
    if not paths:
        raise InputError("no article (*.md) found", where=str(folder), hint="put Markdown files there")
    places: dict[tuple[str, str], Path] = {}
    articles: list[Article] = []
    problems: list[EdgedeskError] = []
    for path in paths:
        try:
            article = parse_article(read_text(path, max_bytes=MAX_ARTICLE_BYTES, follow=False), path)
            if (other := places.setdefault((article.lang, article.id), path)) is not path:
                raise InputError(f"article '{article.id}' is in {other} too", where=str(path), hint="change its id")
        except EmptyArticleError as error:
            warn(f"{error}: left out")
        except EdgedeskError as error:
            problems.append(error)
        else:
            articles.append(article)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        named = "\n".join(f"  {problem}" for problem in problems[:_PROBLEMS_NAMED])
        raise InputError(
            f"{len(problems)} of {len(paths)} articles cannot be read:\n{named}",
            where=str(folder),
            hint=problems[0].hint or "mend these files",
        )
    if not articles:
        raise EmptyArticleError("no article has any text", where=str(folder), hint="write at least one sentence")
    return articles


def parse_article(text: str, path: Path, *, lang: str = "") -> Article:
    """One article. Without front matter, the file's name is its id, its `# ` heading its title.

    `lang` is used where the front matter names none; otherwise the text's script decides.
    """
    values, body, first_line = _split_front_matter(text, path)
    front = _FrontMatter(values, path)
    lang = language_code(front.word("lang")) or lang or guess_language(body)
    if not _LANG.fullmatch(lang):
        raise InputError(f"lang '{lang}'", where=str(path), hint="a two-letter code: en, zh")
    audience = values.get("audience", "public")
    if audience not in ("public", "internal"):
        raise InputError(f"audience '{audience}'", where=str(path), hint="use public or internal")
    identity = front.word("id") or (path.stem if _ID.fullmatch(path.stem) else slug(path.stem)) or path.stem
    if not _ID.fullmatch(identity):
        raise InputError(f"id '{identity}'", where=str(path), hint="letters, digits, '-', '_' and '.', a letter first")
    title, pieces = _split_sections(body, path, first_line)
    title = html_as_text(without_comments(front.word("title"))).strip() or title or path.stem
    if not pieces:
        raise EmptyArticleError("no text in it", where=f"{path}:{first_line}", hint="write at least one sentence")
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
        topic=front.word("topic"),
        audience=audience,
        product=front.words("product"),
        branch=front.words("branch"),
        valid_from=front.day("valid_from"),
        valid_until=front.day("valid_until"),
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


HAN = "\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0003ffff"
"""The same characters, for the class of a pattern."""


def slug(heading: str) -> str:
    """A heading as an anchor: lower case, letters and digits of any script, words joined by '-'."""
    normal = nfkc(heading).lower()
    return re.sub(r"[\W_]+", "-", normal).strip("-")[:60]


class _FrontLoader(yaml.BaseLoader):
    """YAML whose values are the words that were written, without aliases.

    Other loaders make a truth of `lang: no`, 750 of `title: 12:30` and 8 of `id: 010`; and ten lines of aliases can
    name a value of gigabytes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def _split_front_matter(text: str, path: Path) -> tuple[dict[str, Any], str, int]:
    """(values, body, number of the body's first line)."""
    lines = LINE_END.split(text)
    if lines[0].strip() != "---":
        return {}, "\n".join(lines), 1
    head = enumerate(lines[1 : MAX_FRONT_LINES + 2], start=1)
    end = next((number for number, line in head if line.strip() == "---"), 0)
    if not end:
        raise InputError("front matter has no closing '---'", where=f"{path}:1", hint="end it with a line '---'")
    try:
        front = yaml.load("\n".join(lines[1:end]), Loader=_FrontLoader) or {}  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{(mark.line if mark else 0) + 2}"
        raise InputError("the front matter is not YAML", where=where, hint=error.problem or str(error)) from None
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # 2026-02-30 looks like a date to YAML, and is none
        raise InputError("the front matter is not YAML", where=f"{path}:2", hint=str(error)[:200]) from None
    if not isinstance(front, dict):
        raise InputError("the front matter is not 'key: value' lines", where=f"{path}:2")
    for key in map(str, front):  # keys of other systems, such as `layout`, mean nothing here; a slip would
        if key not in _FRONT_KEYS and (near := get_close_matches(key.lower(), _FRONT_KEYS, n=1, cutoff=0.8)):
            raise InputError(f"unknown front matter key '{key}'", where=str(path), hint=f"did you mean '{near[0]}'?")
    return front, "\n".join(lines[end + 1 :]), end + 2


def _split_sections(body: str, path: Path, first_line: int) -> tuple[str, list[tuple[str, str, str]]]:
    """The `# ` title, and (heading, anchor, text) of every section that has text; deeper headings stay in theirs.

    A heading is marked by `#` or underlined. A second one of the first level opens a section like those of the second.
    """
    title = ""
    pieces: list[tuple[str, str, list[str]]] = [("", "", [])]
    alone = False  # whether the last line is a paragraph of one line, which a line under it makes a heading
    for _, line, code in shown_lines(body.split("\n"), str(path), first_line):
        heading, level = ("", 0) if code else _heading(line)
        if not code and alone and (under := _SETEXT.fullmatch(line)):
            heading, level = pieces[-1][2].pop().strip(), 1 if under[1][0] == "=" else 2
        opens = level == 2 or (level == 1 and (title or len(pieces) > 1 or any(map(str.strip, pieces[0][2]))))
        if opens:
            anchor = _ANCHOR.search(heading)
            heading = heading[: anchor.start()].rstrip() if anchor else heading
            pieces.append((html_as_text(heading).strip(), anchor[1] if anchor else "", []))
        elif level == 1:
            title = html_as_text(heading).strip()
        else:
            text = pieces[-1][2]
            alone = not code and _is_paragraph(line) and not (text and text[-1].strip())
            text.append(line if code else html_as_text(line))
            continue
        alone = False
    whole = [(heading, anchor, "\n".join(lines).strip()) for heading, anchor, lines in pieces]
    return title, [piece for piece in whole if piece[2]]


def _is_paragraph(line: str) -> bool:
    """Whether a line could be a heading if it were underlined: no list, quote, table, heading or code."""
    plain = line.strip()
    return bool(plain) and not line.startswith(("    ", "\t")) and plain[0] not in "-*+>|#=`~<" and len(plain) <= 200


def _heading(line: str) -> tuple[str, int]:
    """The text and level of a `#` heading; ("", 0) for any other line."""
    plain = line.strip()
    level = len(plain) - len(plain.lstrip("#"))
    if not 1 <= level <= 2 or len(line) - len(line.lstrip(" ")) > 3 or plain[level : level + 1] not in (" ", "\t"):
        return "", 0
    text = plain[level:].strip()
    without = text.rstrip("#")
    if without != text and without[-1:] in ("", " ", "\t"):  # `## Price ##`
        text = without.rstrip()
    return (text, level) if text else ("", 0)


@dataclass(frozen=True)
class _FrontMatter:
    """Values as they were written, read as what they must be."""

    values: dict[str, Any]
    path: Path

    def word(self, key: str) -> str:
        """One value as text; "" when it is absent or left empty."""
        return self._text(key, self.values.get(key))

    def words(self, key: str) -> tuple[str, ...]:
        """One value, or a list of them, as texts."""
        value = self.values.get(key)
        many = value if isinstance(value, list) else [value]
        return tuple(text for each in many if (text := self._text(key, each)))

    def day(self, key: str) -> date | None:
        """A date; a time of day is dropped."""
        value = self.word(key)
        if not value:
            return None
        try:
            return (
                date.fromisoformat(re.split(r"[T ]", value, maxsplit=1)[0]) if "-" in value else date.fromisoformat("")
            )
        except ValueError:
            shown = value[:40]
        raise InputError(f"{key} '{shown}' is not a date", where=str(self.path), hint="write it as 2026-01-31")

    def _text(self, key: str, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InputError(f"{key} is not one value", where=str(self.path), hint=f"write one line: {key}: …")
        text = "" if value in ("~", "null") else value
        if len(text) > MAX_WORD_CHARS:
            raise InputError(f"{key} has more than {MAX_WORD_CHARS} characters", where=str(self.path))
        return text
