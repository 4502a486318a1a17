"""Manuals and pages as articles: Word, PDF, HTML, plain text and Markdown become sections with stable ids.

    DOCX, HTML ─ Markdown (mammoth, markdownify; in a child process with limits)
    PDF        ─ lines with their sizes and tables (pdfplumber; in the child) ─ Markdown
    text       ─ Markdown, its headings told by their form
                                └─▶ `runtime.text.articles.parse_article`

Promises: a document's id comes from its file's name, a section's from its heading, so that both stay the same while the
words do; every table row stays a row; the problems of a folder are named all at once. Knows nothing of training.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.data.importers.articles import write_article
from distill.data.importers.encoding import open_text
from distill.data.importers.office import read_office
from runtime.base.files import MAX_ARTICLE_BYTES, open_regular
from runtime.base.progress import say
from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.text.articles import Article, EmptyArticleError, parse_article

MARKDOWN = (".md", ".markdown", ".mdown", ".mkd")
KINDS: Mapping[str, str] = {
    **dict.fromkeys(MARKDOWN, "markdown"), ".txt": "text", ".html": "html", ".htm": "html", ".xhtml": "html",
    ".docx": "docx", ".pdf": "pdf",
}  # fmt: skip
"""What is read, by the end of a file's name."""
_NOT_READ = {".doc": "save it as .docx", ".odt": "save it as .docx", ".rtf": "save it as .docx", ".pages": "export PDF"}
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_PROBLEMS_NAMED = 20
_HEADING_CHARS = 80
_NUMBERED = re.compile(
    r"(?:\d{1,2}(?:\.\d{1,2}){0,3}[.)、]?|[IVX]{1,5}[.)]|[一二三四五六七八九十]{1,3}、|"
    r"第[一二三四五六七八九十\d]{1,3}[章节条])[ \t]*\S"
)
_SENTENCE_END = tuple(".!?;:,。！？；：，、")
_COMMON_SHARE = 0.5
"""Lines that stand at the same height of so many pages are headers and footers."""


def import_documents(source: Path, out: Path, *, lang: str = "") -> list[Article]:
    """Write the articles of a file or folder, in whatever form, as our own into `out`; returns them."""
    articles = read_documents(source, lang=lang)
    for article in articles:
        write_article(out, article)
    return articles


def read_documents(source: Path, *, lang: str = "", warn: Callable[[str], None] = say) -> list[Article]:
    """The articles of a file, or of all files below a folder that can hold one; `InputError` naming every problem.

    `lang` is used where neither a document nor its script tells. What is left out is told to `warn`.
    """
    if not source.exists():
        raise MissingError("no such file or folder", where=str(source), hint="check the path")
    paths = [source] if source.is_file() else list(_documents(source, warn))
    if not paths:
        known = ", ".join(sorted(KINDS))
        raise InputError("no article found", where=str(source), hint=f"put files there that end in {known}")
    articles: dict[tuple[str, str], tuple[Path, Article]] = {}
    problems: list[EdgedeskError] = []
    for path in paths:
        try:
            article = read_document(path, lang=lang)
            other, _ = articles.setdefault((article.lang, article.id), (path, article))
            if other != path:
                raise InputError(f"article '{article.id}' is in {other} too", where=str(path), hint="change its name")
        except EmptyArticleError as error:
            warn(f"{error}: left out")
        except EdgedeskError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        named = "\n".join(f"  {problem}" for problem in problems[:_PROBLEMS_NAMED])
        what = f"{len(problems)} of {len(paths)} articles cannot be read:\n{named}"
        raise InputError(what, where=str(source), hint=problems[0].hint or "mend these files")
    if not articles:
        raise EmptyArticleError("no article has any text", where=str(source), hint="write at least one sentence")
    return [article for _, article in articles.values()]


def _documents(folder: Path, warn: Callable[[str], None]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder).parts
        if any(part.startswith((".", "~$")) for part in below) or not path.is_file():
            continue
        if path.suffix.lower() in KINDS:
            yield path
        elif hint := _NOT_READ.get(path.suffix.lower()):
            warn(f"{path}: left out; {hint}")


def read_document(path: Path, *, lang: str = "") -> Article:
    """One document as an article; `InputError` for what cannot be read."""
    kind = KINDS.get(path.suffix.lower(), "markdown")
    with open_regular(path) as file:
        size = file.seek(0, 2)
    most = MAX_ARTICLE_BYTES if kind in ("markdown", "text") else MAX_DOCUMENT_BYTES
    if size > most:
        what = f"{size // 1024:,} KiB is more than the {most // 1024:,} KiB allowed here"
        raise InputError(what, where=str(path), hint="split it into smaller files, one subject each")
    if kind in ("markdown", "text"):
        with open_text(path) as text:
            read = text.read()
        return parse_article(read if kind == "markdown" else text_to_markdown(read), path, lang=lang)
    if kind == "pdf":
        markdown = pdf_to_markdown(list(read_office("pdf", path)))
    else:
        markdown = level_headings("".join(read_office(kind, path)))
    if not markdown.strip():
        hint = "a scan has pictures of text: recognise it first" if kind == "pdf" else "write at least one sentence"
        raise EmptyArticleError("no text in it", where=str(path), hint=hint)
    return parse_article(markdown, path, lang=lang)


def level_headings(markdown: str) -> str:
    """Headings as ours are: one title, sections at the level that parts the document, deeper ones within them."""
    lines = markdown.split("\n")
    levels = [len(found[1]) for line in lines if (found := re.match(r"(#{1,6}) \S", line))]
    if not levels:
        return markdown
    titled = levels.count(min(levels)) == 1 and len(levels) > 1 and levels[0] == min(levels)
    rest = levels[1:] if titled else levels
    section = min(rest)
    out, first = [], True
    for line in lines:
        found = re.match(r"(#{1,6}) (?=\S)", line)
        if found:
            level = len(found[1])
            mark = "#" if titled and first else "##" if level <= section else "###"
            line, first = f"{mark} {line[found.end() :]}", False
        out.append(line)
    return "\n".join(out)


def text_to_markdown(text: str) -> str:
    """Plain text with its headings marked: underlined, numbered, in capitals, or short lines that stand alone."""
    lines = re.split(r"\r\n|\n|\r", text)
    out: list[str] = []
    for place, line in enumerate(lines):
        plain = line.strip()
        before = lines[place - 1].strip() if place else ""
        after = lines[place + 1].strip() if place + 1 < len(lines) else ""
        if plain and set(plain) <= {"=", "-", "~"} and before and not set(before) <= {"=", "-", "~"}:
            continue  # the line under a heading
        under = after and set(after) <= {"=", "-", "~"} and len(after) >= 3
        if plain and not before and (under or (not after and _looks_like_heading(plain))):
            out += ["", f"## {plain}", ""]
        else:
            # What Markdown would take for code or a heading is text here.
            out.append(re.sub(r"^(#{1,6}\s|`{3,}|~{3,})", r"\\\1", line.strip() if line.startswith("    ") else line))
    return "\n".join(out)


def _looks_like_heading(line: str) -> bool:
    if len(line) > _HEADING_CHARS or line.endswith(_SENTENCE_END) or line[0] in "-*+•·>|":
        return line.endswith(("?", "？")) and len(line) <= _HEADING_CHARS
    letters = [char for char in line if char.isalpha()]
    return bool(letters) and (bool(_NUMBERED.match(line)) or len(line) <= 60)


def pdf_to_markdown(pages: Sequence[Mapping[str, Any]]) -> str:
    """Pages as Markdown: larger or bold lines are headings, tables keep their rows, headers and footers go."""
    repeated = _repeated(pages)
    sizes: Counter[float] = Counter()
    for page in pages:
        for text, size, _bold, _top in page["lines"]:
            sizes[size] += 0 if _line_key(text) in repeated else len(text)
    if not sizes:
        return _tables_alone(pages)
    body = sizes.most_common(1)[0][0]
    larger = sorted({size for size in sizes if size > body * 1.12}, reverse=True)
    levels = {size: min(place + 1, 3) for place, size in enumerate(larger)}
    out: list[str] = []
    for page in pages:
        things: list[tuple[float, str]] = []
        last_bottom = None
        for text, size, bold, top in page["lines"]:
            text = text.strip()
            if not text or _line_key(text) in repeated:
                continue
            level = levels.get(size, 0)
            if not level and bold and len(text) <= _HEADING_CHARS and not text.endswith((".", "。", ",", "，")):
                level = len(larger[:2]) + 1
            gap = last_bottom is not None and top - last_bottom > 1.9 * size
            break_before = "\n" if gap or level else ""
            things.append((top, f"\n{'#' * min(level, 6)} {text}\n" if level else break_before + text))
            last_bottom = top
        for table, top in zip(page["tables"], page["tops"], strict=False):
            things.append((top, _table(table)))
        out += [thing for _, thing in sorted(things, key=lambda each: each[0])]
    return level_headings("\n".join(out))


def _repeated(pages: Sequence[Mapping[str, Any]]) -> set[str]:
    """Lines near the top or bottom that come again on most pages, page numbers aside."""
    if len(pages) < 3:
        return set()
    seen: Counter[str] = Counter()
    for page in pages:
        edge = 0.09 * page["height"]
        lines = [text for text, _, _, top in page["lines"] if top < edge or top > page["height"] - edge]
        seen.update({_line_key(text) for text in lines})
    return {key for key, count in seen.items() if count > _COMMON_SHARE * len(pages)}


def _line_key(text: str) -> str:
    return re.sub(r"\d+", "0", text.strip())


def _tables_alone(pages: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(_table(table) for page in pages for table in page["tables"])


def _table(rows: Sequence[Sequence[str]]) -> str:
    cells = [[re.sub(r"\s+", " ", cell).strip().replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n" + "\n".join([lines[0], f"|{' --- |' * len(cells[0])}", *lines[1:]]) + "\n"
