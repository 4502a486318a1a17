"""Writes articles in our own form.

Promises: what is written is read back by `runtime.text.articles` with the same ids, anchors and words. Knows nothing of
transcripts and of training.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from runtime.base.files import write_atomic
from runtime.text.articles import Article


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
