from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.text.articles import Article, guess_language, is_han, load_articles, parse_article, slug

PATH = Path("退货.md")


def parse(text: str) -> Article:
    return parse_article(text, PATH)


def test_an_article_is_cut_at_its_headings() -> None:
    article = parse(
        "---\nid: returns\ntitle: Returns\nlang: en\nvalid_from: 2026-01-01\nvalid_until: 2026-12-31\n---\n\n"
        "## How long {#how-long}\n\nThirty days.\n\n### Detail\n\nstays.\n\n## Gifts\n\nWith receipt.\n"
    )
    assert [section.ref for section in article.sections] == ["returns#how-long", "returns#gifts"]
    assert article.sections[0].text == "Thirty days.\n\n### Detail\n\nstays."
    assert article.sections[1].heading == "Gifts"
    assert [article.valid_on(date(y, 12, 31)) for y in (2025, 2026, 2027)] == [False, True, False]


def test_a_chinese_article_without_front_matter_is_read_whole() -> None:
    article = parse("# 退货期限\n\n大多数商品可退。\n\n## 多长时间？\n\n30天内。\n\n## 多长时间？\n\n圣诞更长。\n")
    assert (article.id, article.title, article.lang) == ("退货", "退货期限", "zh")
    assert [section.anchor for section in article.sections] == ["overview", "多长时间", "多长时间-2"]


def test_two_headings_never_share_an_anchor() -> None:
    article = parse("## A {#a-2}\n\nx\n\n## A\n\ny\n\n## A\n\nz\n")
    refs = [section.ref for section in article.sections]
    assert len(refs) == len(set(refs)) == 3


def test_windows_line_ends_and_an_indented_rule_do_no_harm() -> None:
    article = parse("---\r\nid: a\r\ntitle: A\r\n---\r\n\r\n## H {#h}\r\n\r\ntext\r\n")
    assert article.sections[0].text == "text"


def test_a_heading_inside_a_code_block_is_text() -> None:
    article = parse("## Setup {#setup}\n\n```\n## not a heading\n```\n\nend\n")
    assert [section.anchor for section in article.sections] == ["setup"]
    assert "## not a heading" in article.sections[0].text


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("---\nid: a\n## H\n\nx", "not closed", ":1"),
        ("---\nid: [\n---\nx", "not YAML", ":2"),
        ("---\n- a\n- b\n---\nx", "not 'key: value' lines", ":2"),
        ("---\njust words\n---\nx", "not 'key: value' lines", ":2"),
        ("---\ncolour: red\n---\nx", "unknown front matter key 'colour'", ""),
        ("---\naudience: all\n---\nx", "audience 'all'", ""),
        ("---\naudience: [public]\n---\nx", "audience", ""),
        ("---\nid: ../../etc\n---\nx", "id '../../etc'", ""),
        ("---\nid: ..\n---\nx", "id '..'", ""),
        ("---\nvalid_from: soon\n---\nx", "valid_from 'soon' is not a date", ""),
        ("---\nvalid_from: 2026-02-30\n---\nx", "date|not YAML", ""),
        ("---\nvalid_until: 20260131\n---\nx", "valid_until", ""),
        ("---\nlang: Chinese\n---\nx", "lang 'Chinese'", ""),
        ("---\nid: a\n---\n\n## H\n\n## I\n", "no text", ""),
        ("# Title only\n", "no text", ""),
    ],
)
def test_a_malformed_article_is_refused_naming_the_place(text: str, message: str, where: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert str(PATH) in caught.value.where
    assert caught.value.where.endswith(where)


def test_a_time_of_day_is_no_obstacle_to_a_date() -> None:
    article = parse("---\nvalid_from: 2026-01-31 10:00:00\n---\nx")
    assert article.valid_on(date(2026, 1, 31))


@pytest.mark.parametrize("key", ["id", "title", "topic"])
def test_a_number_or_nothing_as_a_value_is_read_as_its_text(key: str) -> None:
    assert str(getattr(parse(f"---\n{key}: 42\n---\nx"), key)) == "42"
    assert getattr(parse(f"---\n{key}:\n---\nx"), key) != "None"


@given(st.text())
def test_any_text_is_an_article_or_an_error(text: str) -> None:
    with suppress(EdgedeskError):
        article = parse(text)
        assert all(section.text.strip() for section in article.sections)
        refs = [section.ref for section in article.sections]
        assert len(refs) == len(set(refs))


@given(st.text())
def test_any_front_matter_is_read_or_refused(text: str) -> None:
    with suppress(EdgedeskError):
        parse(f"---\n{text}\n---\nwords")


def test_a_folder_is_read_in_order_in_both_languages(articles_folder: Path) -> None:
    articles = load_articles(articles_folder)
    assert [(a.lang, a.id) for a in articles] == sorted((a.lang, a.id) for a in articles)
    assert {"en", "zh"} == {article.lang for article in articles}


def test_an_id_used_twice_in_one_language_is_refused_naming_both(tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("---\nid: same\n---\nwords\n")
    with pytest.raises(InputError, match=r"a\.md") as caught:
        load_articles(tmp_path)
    assert "b.md" in caught.value.where


def test_a_folder_without_articles_or_without_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no article"):
        load_articles(tmp_path)
    with pytest.raises(MissingError):
        load_articles(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        ("退货".encode("gb18030"), "not UTF-8"),
        ("退货".encode("utf-16"), "not UTF-8"),
        (b"x" * 2_000_000, "KiB"),
    ],
    ids=["empty", "GB18030", "UTF-16", "2 MB"],
)
def test_one_bad_file_in_a_folder_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "good.md").write_text("words\n")
    (tmp_path / "坏.md").write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_articles(tmp_path)
    assert "坏.md" in caught.value.where


def test_languages_are_told_apart_by_script() -> None:
    assert guess_language("How much is it?") == "en"
    assert guess_language("NL-17多少钱？") == "zh"
    assert guess_language("") == guess_language("123 !?") == "en"
    assert all(is_han(char) for char in "退㐀豈𠀀")
    assert not any(is_han(char) for char in "aé、。１ア")


def test_an_anchor_is_made_of_any_script() -> None:
    assert slug("  How long?! ") == "how-long"
    assert slug("多长时间（天）") == "多长时间-天"
    assert len(slug("x" * 500)) == 60
