"""Contradictions: a reply with another figure than its article goes; two articles that disagree are reported."""

from __future__ import annotations

import pickle
from datetime import date
from pathlib import Path

import pytest

from distill.data.cleaning.contradictions import article_conflicts, reply_step
from distill.data.steps import Dropped
from runtime.text.articles import Article, load_articles, parse_article
from runtime.text.records import Record
from tests.support.paths import SHOP

TODAY = date(2026, 6, 1)
ARTICLES = {
    "en": "# Returns\n\n## Window {#window}\n\n"
    "You can return an item within 30 days of delivery. The return label costs €4.",
    "zh": "# 退货\n\n## 期限 {#window}\n\n您可以在收货后30天内退回商品。退货运费由您承担，费用为4欧元。",
}
EXPIRED = {
    "en": "---\nvalid_until: 2025-12-31\n---\n# Sale\n\n## Gift wrapping {#wrap}\n\n"
    "Gift wrapping a parcel costs €2 in every branch.",
    "zh": "---\nvalid_until: 2025-12-31\n---\n# 促销\n\n## 礼品包装 {#wrap}\n\n所有门店的礼品包装服务每件收费2欧元。",
}


def articles(lang: str) -> list[Article]:
    return [parse_article(ARTICLES[lang], Path("returns.md")), parse_article(EXPIRED[lang], Path("sale.md"))]


def record(reply: str, lang: str) -> Record:
    return Record(
        id="r1", conversation="c", turn=1, lang=lang, query="?", response=reply, source="transcript", split="train"
    )


@pytest.mark.parametrize(
    ("lang", "reply", "reason"),
    [
        ("en", "Sure! You can return an item within 14 days of delivery.", "an article contradicts the reply"),
        ("en", "The return label costs €6.", "an article contradicts the reply"),
        ("zh", "可以的，您可以在收货后14天内退回商品。", "an article contradicts the reply"),
        ("en", "Gift wrapping a parcel costs €2 in every branch.", "the reply quotes an expired article"),
        ("zh", "所有门店的礼品包装服务每件收费2欧元。", "the reply quotes an expired article"),
    ],
)
def test_reply_that_an_article_contradicts_or_that_quotes_an_expired_one_is_dropped(
    lang: str, reply: str, reason: str
) -> None:
    dropped = pickle.loads(pickle.dumps(reply_step(articles(lang), TODAY))).run(record(reply, lang))
    assert isinstance(dropped, Dropped)
    assert dropped.reason == reason
    assert "#w" in dropped.detail


@pytest.mark.parametrize(
    ("lang", "reply"),
    [
        ("en", "You can return an item within 30 days of delivery."),
        ("en", "You can return an item within thirty days of delivery."),
        ("en", "Your parcel arrives in 3 days."),
        ("en", "I have refunded €14 to your card."),
        ("zh", "您可以在收货后30天内退回商品。"),
        ("zh", "您的包裹三天后送达。"),
    ],
)
def test_reply_that_articles_bear_out_or_say_nothing_of_stays(lang: str, reply: str) -> None:
    kept = record(reply, lang)
    assert reply_step(articles(lang), TODAY).run(kept) is kept


def test_reply_that_a_current_article_repeats_from_an_expired_one_stays() -> None:
    again = parse_article(EXPIRED["en"].replace("2025", "2027"), Path("sale-again.md"))
    kept = record("Gift wrapping a parcel costs €2 in every branch.", "en")
    assert reply_step([*articles("en"), again], TODAY).run(kept) is kept


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_two_articles_that_disagree_on_a_number_are_reported_with_both_sentences(lang: str) -> None:
    text = ARTICLES[lang].replace("30", "14")
    other = parse_article(text.replace("Returns", "Orders").replace("退货", "订单", 1), Path("orders.md"))
    found = article_conflicts([*articles(lang), other], TODAY)
    assert [(each.one.where, each.other.where) for each in found] == [("orders#window", "returns#window")]
    assert "30" in str(found[0])
    assert "14" in str(found[0])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_shop_s_articles_agree_with_each_other(lang: str) -> None:
    assert article_conflicts(load_articles(SHOP / lang / "articles"), TODAY) == []
