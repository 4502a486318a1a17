"""Markdown from elsewhere reads back as the same articles."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.importers.articles import render_article
from distill.data.importers.documents import import_documents
from runtime.errors import InputError, MissingError
from runtime.text.articles import load_articles, parse_article
from tests.support.paths import SHARED_DATA, SHOP


def test_a_policy_page_becomes_an_article(tmp_path: Path) -> None:
    wiki = SHARED_DATA / "en_taubench" / "retail" / "wiki.md"
    if not wiki.exists():
        pytest.skip("../shared/data/en_taubench is not there")
    (article,) = import_documents(wiki, tmp_path)
    assert (article.id, article.title, article.lang) == ("wiki", "Retail agent policy", "en")
    assert "return-delivered-order" in {section.anchor for section in article.sections}
    assert load_articles(tmp_path) == [article]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_rendering_an_article_and_reading_it_back_gives_the_same_article(lang: str) -> None:
    for article in load_articles(SHOP / lang / "articles"):
        assert parse_article(render_article(article), Path(f"{article.id}.md")) == article


def test_an_article_of_two_megabytes_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    big = tmp_path / "big.md"
    big.write_text("# Big\n\n" + "word " * 400_000)
    with pytest.raises(InputError, match="more than"):
        import_documents(big, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(MissingError):
        import_documents(tmp_path / "none", tmp_path / "out")
