"""Question-answer pairs out of articles: each reply quotes its section, and no question comes twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.enlarging.article_questions import (
    ArticlePair,
    article_conversations,
    article_questions,
    is_borne_out,
    question_key,
    questions_of_articles,
)
from distill.data.importers.faq import import_faq
from runtime.text.articles import Section, load_articles, parse_article
from tests.support.paths import SHARED_DATA, SHOP


def section(text: str, *, heading: str = "Delivery", lang: str = "en", title: str = "Our shop") -> Section:
    return Section("shop", "delivery", title, heading, text, lang)


def pairs(text: str, *, heading: str = "Delivery", lang: str = "en") -> dict[str, str]:
    return {pair.question: pair.reply for pair in article_questions(section(text, heading=heading, lang=lang))}


def squeezed(text: str) -> str:
    return re.sub(r"[\s|-]", "", text)  # a reply of several list items has them without their marks


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("You can return a lamp within 30 days.", "Until when can I return a lamp?"),
        ("You can pay your order in cash or by card.", "Can I pay my order in cash or?"),
        ("You must bring your receipt.", "Do I have to bring my receipt?"),
        ("Standard delivery costs €4.90 per order.", "How much does standard delivery cost?"),
        ("The repair takes 25 minutes.", "How long does the repair take?"),
        ("If you are late, we keep your place for 10 minutes.", "What happens if I am late?"),
        ("To reset your PIN, open the settings.", "How do I reset my PIN?"),
        ("We do not install gas cookers.", "Do you install gas cookers?"),
        ("Refunds are paid within 14 days.", "When are refunds paid?"),
        ("The set includes a hose and two filters.", "What does the set include?"),
        ("There are four HDMI ports.", "Are there four HDMI ports?"),
        ("一次通话25分钟。", "一次通话多久？"),
        ("头枕另加35欧元。", "头枕另加多少钱？"),
        ("如果您迟到，我们为您保留10分钟。", "如果我迟到怎么办？"),
        ("我们不安装燃气灶。", "你们安装燃气灶吗？"),
        ("您可以在门店换货。", "我可以在门店换货吗？"),
        ("如需更换地址，请登录账户。", "怎么更换地址？"),
        ("优惠期到3月5日结束。", "优惠期到哪一天结束？"),
        ("每次最多收3件。", "每次最多收几件？"),
        ("保修范围包括零件和人工。", "保修范围包括什么？"),
    ],
)
def test_sentence_is_asked_for_as_a_customer_asks_and_quoted_in_reply(sentence: str, question: str) -> None:
    lang = "en" if sentence.isascii() or "€" in sentence else "zh"
    found = pairs(sentence, lang=lang)
    if question == "Can I pay my order in cash or?":  # a question that is cut off is not asked
        assert question not in found
        return
    assert found.get(question) == sentence, found


@pytest.mark.parametrize(
    ("heading", "lang", "question"),
    [
        ("How long is a voucher valid?", "en", "How long is a voucher valid?"),
        ("What the installation includes", "en", "Can you tell me what the installation includes?"),
        ("Change your address", "en", "How do I change my address?"),
        ("Deposit", "en", "What do I need to know about deposit?"),
        ("怎么退货", "zh", "怎么退货？"),
        ("配送费用", "zh", "配送费用有什么要注意的？"),
    ],
)
def test_heading_is_asked_for_and_the_section_s_beginning_replies(heading: str, lang: str, question: str) -> None:
    text = "It is so. It stays so." if lang == "en" else "就是这样。一直这样。"
    assert pairs(text, heading=heading, lang=lang)[question] == text


def test_table_is_asked_for_row_by_row() -> None:
    """Part of A3: a row is found, not its table."""
    table = "| Size | Price | Weight |\n|---|---|---|\n| small | €4 | 1 kg |\n| large | €9 | 3 kg |"
    assert pairs(table)["What is the price for large?"] == "Size: large; Price: €9; Weight: 3 kg"
    han = "| 尺寸 | 价格 |\n|---|---|\n| 大号 | 9欧元 |"
    assert pairs(han, lang="zh")["大号的价格是多少？"] == "尺寸: 大号; 价格: 9欧元"


def test_code_and_comments_of_a_section_are_never_quoted() -> None:
    article = parse_article(
        "# Box\n\n## Use\n\nYou can open the box.\n\n    rm -rf box\n\n```sh\nYou can run it.\n```\n", Path("box.md")
    )
    said = " ".join(pair.reply for each in article.sections for pair in article_questions(each))
    assert "open the box" in said
    assert "rm -rf" not in said
    assert "run it" not in said


def quoted(pair: ArticlePair) -> bool:
    """Whether every part of a reply stands in its section; a row is compared cell by cell."""
    text = squeezed(pair.section.text)
    if squeezed(pair.reply) in text:
        return True
    parts = [part for line in pair.reply.split("; ") for part in line.split(": ")]
    return all(squeezed(part) in text for part in parts)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_shop_s_articles_give_pairs_that_quote_them_and_are_borne_out(lang: str) -> None:
    articles = load_articles(SHOP / lang / "articles")[::3]
    found = questions_of_articles(articles)
    public = {each.ref for article in articles for each in article.sections if each.audience == "public"}
    assert {pair.section.ref for pair in found} == public
    assert len(found) > 3 * len(public)
    assert [pair.question for pair in found if not quoted(pair)] == []
    assert all(is_borne_out(pair.reply, pair.section) for pair in found)
    keys = [question_key(pair.question) for pair in found]
    assert len(keys) == len(set(keys))
    assert questions_of_articles(articles) == found


def test_public_faq_gives_pairs_in_both_languages(tmp_path: Path) -> None:
    folder = SHARED_DATA / "bi_bitcoin_faq"
    if not folder.is_dir():
        pytest.skip("the public data set bi_bitcoin_faq is not here")
    import_faq(folder, tmp_path)
    articles = load_articles(tmp_path)
    for lang in ("en", "zh"):
        found = questions_of_articles([article for article in articles if article.lang == lang])
        assert len({pair.section.ref for pair in found}) == 46
        assert [pair.question for pair in found if not quoted(pair)] == []


def test_question_of_two_sections_names_its_article() -> None:
    texts = ["# Lamps\n\n## Price\n\nIf you are late, we wait.", "# Desks\n\n## Cost\n\nIf you are late, we go."]
    articles = [parse_article(text, Path(f"{number}.md")) for number, text in enumerate(texts)]
    asked = [pair.question for pair in questions_of_articles(articles)]
    assert {"About Lamps: What happens if I am late?", "About Desks: What happens if I am late?"} <= set(asked)


def test_internal_section_is_never_asked_about() -> None:
    text = "---\naudience: internal\n---\n# Goodwill\n\n## Limit\n\nYou can give a customer €80.\n"
    assert questions_of_articles([parse_article(text, Path("goodwill.md"))]) == []


def test_conversations_of_one_section_share_the_name_before_the_tilde() -> None:
    articles = [
        parse_article("# Lamps\n\n## Price {#price}\n\nA lamp costs €9. You can pay the lamp later.", Path("l.md"))
    ]
    found = list(article_conversations(articles, languages=["en"]))
    assert len(found) > 2
    assert {each.conversation.split("~")[0] for each in found} == {"l#price-en"}
    assert len({each.conversation for each in found}) == len(found)
    assert all(each.source == "article" and each.turns[0].evidence == ("l#price",) for each in found)
    assert list(article_conversations(articles, languages=["zh"])) == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["en", "zh"]))
def test_any_text_gives_pairs_without_a_crash(text: str, lang: str) -> None:
    for pair in article_questions(section(text, heading=text[:40], lang=lang)):
        assert pair.question.strip()
        assert pair.reply.strip()
