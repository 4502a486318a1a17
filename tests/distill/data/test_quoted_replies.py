"""Replies in the articles' own words: what is quoted, in which order, and what is left as it was written."""

from __future__ import annotations

import pytest

from distill.data.quoted_replies import MOST_CHARS, quote_replies, quote_reply
from runtime.text.articles import Section
from runtime.text.records import Record

EN = Section(
    "fees", "cost", "Delivery", "Cost",
    "Standard delivery costs €4.90 an order. It is free from €60. Express costs €9.90. Parcels come by noon.", "en",
)  # fmt: skip
ZH = Section(
    "fees", "cost", "配送", "运费", "标准配送每单4.90欧元。满60欧元免运费。加急每单9.90欧元。包裹中午前送达。", "zh"
)
SECTIONS = {"en": {EN.ref: EN}, "zh": {ZH.ref: ZH}}


def record(lang: str, reply: str, *evidence: str) -> Record:
    return Record(
        id="1", conversation="c", turn=1, lang=lang, query="?", response=reply, evidence=evidence, source="simulated",
        split="train",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lang", "reply", "quote"),
    [
        (
            "en",
            "Express costs €9.90, standard delivery €4.90 an order.",
            "Standard delivery costs €4.90 an order. It is free from €60. Express costs €9.90.",
        ),
        ("zh", "加急每单9.90欧元，标准配送4.90欧元。", "标准配送每单4.90欧元。满60欧元免运费。加急每单9.90欧元。"),
    ],
)
def test_reply_becomes_the_sentences_that_say_it_in_the_articles_order(lang: str, reply: str, quote: str) -> None:
    made = quote_reply(record(lang, reply, "fees#cost"), SECTIONS[lang])
    assert made.response == quote
    assert made.model_copy(update={"response": reply}) == record(lang, reply, "fees#cost")


@pytest.mark.parametrize(
    ("lang", "reply"),
    [("en", "You're welcome. Anything else?"), ("zh", "不客气，还有什么可以帮您？")],
)
def test_reply_that_no_sentence_says_stays_as_it_was_written(lang: str, reply: str) -> None:
    rows = [record(lang, reply, "fees#cost"), record(lang, reply), record(lang, reply, "gone#one")]
    assert quote_replies(rows, SECTIONS[lang]) == rows


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_quoted_reply_ends_within_an_answer_and_holds_one_sentence_at_least(lang: str) -> None:
    end = {"en": ".", "zh": "。"}[lang]
    word = {"en": "word ", "zh": "词语"}[lang]
    long = [f"{word * 60}{name}{end}" for name in ("A1", "B2", "C3", "D4")]
    section = Section("long", "one", "Long", "One", (" " if lang == "en" else "").join(long), lang)
    made = quote_reply(record(lang, long[1], "long#one"), {section.ref: section}).response
    assert "B2" in made
    assert len(made) <= max(MOST_CHARS[lang], len(long[1]))


@pytest.mark.parametrize(
    ("lang", "text", "reply", "quote"),
    [
        (
            "en",
            "We take back:\n- fridges\n- ovens\n\nThe crew needs ten minutes.",
            "We take back fridges and ovens",
            "We take back: fridges; ovens; The crew",
        ),
        ("zh", "| 型号 | 费用 |\n|---|---|\n| A4 | 3欧元 |", "型号A4的费用为3欧元", "型号: A4; 费用: 3欧元."),
    ],
)
def test_list_item_is_quoted_with_its_lead_and_row_with_its_head(lang: str, text: str, reply: str, quote: str) -> None:
    section = Section("list", "all", "List", "All", text, lang)
    assert quote_reply(record(lang, reply, section.ref), {section.ref: section}).response.startswith(quote)
