"""Manuals and pages become sections with stable ids, whatever they were written in; what cannot be read is named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from distill.data.importers.documents import read_document, read_documents, text_to_markdown
from runtime.errors import InputError
from tests.support.documents import write_docx, write_pdf

HTML = """<html><head><title>Our shop</title><script>track()</script></head><body><nav>Home | Cart</nav><main>
<h1>Our shop</h1><h2>Returns</h2><p>30 days &amp; free.</p>
<table><tr><th>Model</th><th>Price</th></tr><tr><td>K1</td><td>12</td></tr><tr><td>K2</td><td>15</td></tr></table>
<h2>Delivery</h2><ul><li>5 euros</li></ul></main><footer>© 2026</footer></body></html>"""


def sections(path: Path) -> list[tuple[str, str]]:
    return [(section.anchor, section.text) for section in read_document(path).sections]


def test_html_page_becomes_sections_without_its_navigation(tmp_path: Path) -> None:
    (tmp_path / "shop.html").write_text(HTML, encoding="utf-8")
    (returns, table), (delivery, text) = sections(tmp_path / "shop.html")
    assert (returns, delivery) == ("returns", "delivery")
    assert table.startswith("30 days & free.")
    assert "| K1 | 12 |\n| K2 | 15 |" in table
    assert text == "- 5 euros"


@pytest.mark.parametrize(("shown", "kept"), [("It costs 5 euros", "margin 40 %"), ("价格5欧元", "毛利40%")])
def test_html_page_keeps_its_comments_and_hidden_parts_to_itself(shown: str, kept: str, tmp_path: Path) -> None:
    """P3: notes for colleagues, however they are kept from a browser's window."""
    hidden = (
        f"<!-- {kept} -->", f"<p hidden>{kept}</p>", f"<div style='Display : none'><p>{kept}</p></div>",
        f'<span style="visibility:hidden">{kept}</span>', f"<template>{kept}</template>", f"<![CDATA[ {kept} ]]>",
    )  # fmt: skip
    page = f"<main><h1>Prices</h1><h2>One{hidden[0]}</h2><p>{shown}{''.join(hidden)}.</p></main>"
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    ((anchor, text),) = sections(tmp_path / "a.html")
    assert (anchor, " ".join(text.split())) == ("one", f"{shown} .")  # a block ended the paragraph


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_word_document_becomes_sections_with_its_tables_row_by_row(lang: str, tmp_path: Path) -> None:
    words = {"en": ("Warranty manual", "Period", "Two years."), "zh": ("保修手册", "保修期限", "保修两年。")}[lang]
    rows = [("Model", "Years"), ("K1", "2"), ("K2", "3")]
    write_docx(tmp_path / "manual.docx", [(words[0], 1), (words[1], 2), (words[2], 0)], rows)
    article = read_document(tmp_path / "manual.docx")
    assert (article.id, article.title, article.lang) == ("manual", words[0], lang)
    ((heading, text),) = [(section.heading, section.text) for section in article.sections]
    assert heading == words[1]
    assert text.startswith(words[2])
    assert "| K1 | 2 |\n| K2 | 3 |" in text


def test_pdf_becomes_sections_by_its_type_with_tables_and_without_page_heads(tmp_path: Path) -> None:
    pages = []
    for number, (heading, sentence) in enumerate(
        [("Returns", "You have 30 days."), ("Delivery", "It costs 4.90 euros."), ("Hours", "We open at 9.")], start=1
    ):
        lines = [("Shop Ltd manual", 8, 815), (heading, 14, 770), (sentence, 10, 745), (f"Page {number}", 8, 20)]
        pages.append(lines)
    write_pdf(tmp_path / "manual.pdf", pages, table=[("Model", "Years"), ("K1", "2")])
    found = sections(tmp_path / "manual.pdf")
    assert [anchor for anchor, _ in found] == ["returns", "delivery", "hours"]
    assert found[0][1].startswith("You have 30 days.")
    assert "| K1 | 2 |" in found[0][1]
    assert found[1][1] == "It costs 4.90 euros."


def test_plain_text_has_its_headings_told_by_their_form() -> None:
    text = "OPENING HOURS\n\nWe open at 9.\n\n1. Returns\n\n30 days.\nBring it.\n\nDelivery\n--------\n\n5 euros.\n"
    assert [line for line in text_to_markdown(text).split("\n") if line.startswith("#")] == [
        "## OPENING HOURS", "## 1. Returns", "## Delivery",
    ]  # fmt: skip
    chinese = "一、退货\n\n30天内可以退货。\n\n第二章 送货\n\n运费5欧元。\n"
    assert text_to_markdown(chinese).count("## ") == 2


def test_section_ids_stay_while_the_words_change(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(HTML, encoding="utf-8")
    before = [anchor for anchor, _ in sections(tmp_path / "a.html")]
    (tmp_path / "a.html").write_text(HTML.replace("30 days", "14 days"), encoding="utf-8")
    assert [anchor for anchor, _ in sections(tmp_path / "a.html")] == before


def test_all_problems_of_a_folder_are_named_at_once_and_what_is_not_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("# A\n\nText.\n")
    (tmp_path / "empty.md").write_text("# B\n")
    (tmp_path / "bad.docx").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "bad.pdf").write_bytes(b"no PDF at all")
    (tmp_path / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0")
    said: list[str] = []
    with pytest.raises(InputError, match="2 of 4 articles") as error:
        read_documents(tmp_path, warn=said.append)
    assert "bad.docx" in error.value.what
    assert "bad.pdf" in error.value.what
    assert any("old.doc" in line and ".docx" in line for line in said)
    assert any("empty.md" in line for line in said)


def test_word_file_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as part:
        for _ in range(100):
            part.write(bytes(1 << 20))
    with pytest.raises(InputError, match="unpacks to 100 MiB"):
        read_document(path)
