"""Brings other people's Markdown into our own form.

Promises: what is written is read back by `runtime.text.articles` with the same ids, anchors and words. Knows nothing of
transcripts and of training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from runtime.base.files import MAX_ARTICLE_BYTES, read_text, write_atomic
from runtime.base.progress import say
from runtime.errors import MissingError
from runtime.text.articles import Article, load_articles, parse_article


def import_markdown(source: Path, out: Path, *, lang: str = "") -> list[Article]:
    """Write a Markdown file, or all of a folder, as our articles into `out`; returns them.

    A file without front matter gets one: its id is the file's name, its title its `# ` heading.
    """
    articles = read_markdown(source, lang=lang)
    for article in articles:
        write_article(out, article)
    return articles


def read_markdown(source: Path, *, lang: str = "", warn: Callable[[str], None] = say) -> list[Article]:
    """The articles of a Markdown file, or of all of a folder; what is left out is told to `warn`."""
    if not source.exists():
        raise MissingError("no such file or folder", where=str(source), hint="check the path")
    if source.is_dir():
        return load_articles(source, warn=warn)
    return [parse_article(read_text(source, max_bytes=MAX_ARTICLE_BYTES), source, lang=lang)]


def write_article(out: Path, article: Article) -> Path:
    """Write one article as `<id>.md`; returns where."""
    path = out / f"{article.id}.md"
    write_atomic(path, render_article(article))
    return path


def render_article(article: Article) -> str:
    """Write an article as Markdown that `parse_article` reads back as the same article."""
    front = {
        "id": article.id,
        "title": article.title,
        "lang": article.lang,
        "topic": article.topic or None,
        "audience": article.audience,
        "product": list(article.product),
        "branch": list(article.branch),
        "valid_from": article.valid_from,
        "valid_until": article.valid_until,
    }
    head = yaml.safe_dump({key: value for key, value in front.items() if value}, allow_unicode=True, sort_keys=False)
    sections = "\n".join(f"## {each.heading} {{#{each.anchor}}}\n\n{each.text}\n" for each in article.sections)
    return f"---\n{head}---\n\n{sections}"
