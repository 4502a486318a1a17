"""An FAQ becomes articles with the same ids in every language, conversations, and questions that nothing learns."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.dataset import gather_articles, make_records
from distill.data.importers.faq import faq_entries, faq_records, first_sentences, import_faq, plain_text
from distill.recipe.recipe import Data, Faq, Recipe
from runtime.base.jsonl import read_rows
from runtime.errors import InputError
from runtime.text.articles import load_articles
from runtime.text.records import Question, Record
from tests.support.paths import SHARED_DATA

PAGE = """
<h2 id="{% translate money anchor.faq %}">{% translate money %}</h2>
<h3 id="{% translate what anchor.faq%}">{% translate what %}</h3>
<p>{% translate whattxt1 %}</p><p><img src="x"></p>
<ul><li>{% translate whatli1 %}</li><li>{% translate whatli2 %}</li></ul>
<h3>{% translate why %}</h3><p>{% translate whytxt1 %}</p>
"""
EN = """en:
  faq:
    money: Money
    what: What is it?
    whattxt1: "It is <a href='x'>money</a> &amp; more. It came in 2009."
    whatli1: one
    whatli2: "<em>two</em>"
    why: Why?
    whytxt1: Because.
"""
ZH = """zh_CN:
  faq:
    money: 货币
    what: 这是什么？
    whattxt1: "这是<b>货币</b>。2009年出现。"
    whatli1: 一
    whatli2: 二
    why: 为什么？
    whytxt1: 因为。
"""


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    folder = tmp_path / "faq"
    folder.mkdir()
    for name, text in (("faq.html", PAGE), ("en.yml", EN), ("zh_CN.yml", ZH)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_an_faq_becomes_articles_with_equal_anchors(faq: Path, tmp_path: Path) -> None:
    articles = import_faq(faq, tmp_path / "out")
    assert set(articles) == {"en", "zh"}
    en, zh = articles["en"][0], articles["zh"][0]
    assert (
        [section.ref for section in en.sections]
        == [section.ref for section in zh.sections]
        == ["faq-money#what", "faq-money#why"]
    )
    assert en.sections[0].text == "It is money & more. It came in 2009.\n- one\n- two"
    assert zh.sections[0].text == "这是货币。2009年出现。\n- 一\n- 二"
    assert (en.sections[0].heading, zh.sections[0].heading) == ("What is it?", "这是什么？")
    for lang, expected in articles.items():
        assert load_articles(tmp_path / "out" / lang) == expected


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_comments_of_an_faq_are_neither_articles_nor_trained(faq: Path, tmp_path: Path, lang: str) -> None:
    """P3: what is commented out is for colleagues."""
    file = faq / ("en.yml" if lang == "en" else "zh_CN.yml")
    text = file.read_text(encoding="utf-8")
    for plain, noted in (("Because.", "Because <!-- margin 40 % -->of it."), ("因为。", "因为<!-- 毛利40% -->它。")):
        text = text.replace(plain, noted)
    file.write_text(text.replace("why: ", "why: <!-- goodwill --> "), encoding="utf-8")
    page = "<!-- <h3>{% translate what %}</h3><p>{% translate whatli1 %}</p> -->" + PAGE
    (faq / "faq.html").write_text(page, encoding="utf-8")
    articles = import_faq(faq, tmp_path / "out")[lang]
    last = articles[0].sections[-1]
    assert (last.heading, last.text) == (("Why?", "Because of it.") if lang == "en" else ("为什么？", "因为它。"))
    assert len(articles[0].sections) == 2
    conversations, questions = faq_records(articles)
    for said in (*map(repr, conversations), *map(repr, questions)):
        assert not any(word in said for word in ("margin", "毛利", "goodwill", "<!--"))


@pytest.mark.parametrize(
    ("file", "text", "error", "message"),
    [
        ("zh_CN.yml", ZH.replace("whatli2", "other"), InputError, "'whatli2' is missing"),
        ("en.yml", "en: [", InputError, r"en\.yml:1: not YAML"),
        ("en.yml", "en: {}", InputError, "no 'faq:'"),
        ("en.yml", "a: &a [x, x]\nb: &b [*a, *a]\nen: [*b, *b]\n", InputError, r"en\.yml:2: not YAML"),
        ("faq.html", "<p>none</p>", InputError, "no question found"),
    ],
)
def test_a_broken_faq_names_file_and_key(faq: Path, file: str, text: str, error: type[Exception], message: str) -> None:
    (faq / file).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        import_faq(faq, faq / "out")


def test_first_sentences_are_whole() -> None:
    assert first_sentences("It has 2.5 GB. " + "Long one " * 50 + ". Third.", "en") == "It has 2.5 GB."
    assert first_sentences("第一句。" + "很长" * 80 + "。", "zh") == "第一句。"
    assert first_sentences("“问？”他说。第二句！", "zh") == "“问？”他说。第二句！"
    assert first_sentences("no stop", "en") == "no stop"
    assert plain_text("a < b <b>c</b>\n d&nbsp;e") == "a < b c d e"


def test_an_faq_s_held_out_questions_are_in_no_record_whatever_the_order_of_its_blocks(
    faq: Path, tmp_path: Path
) -> None:
    """Blocks stand on the page in another order than articles in a folder."""
    blocks = {"zebra": range(7), "apple": range(7, 20)}
    page = "".join(
        f"<h2>{{% translate {block} %}}</h2>"
        + "".join(f"<h3>{{% translate q{n} %}}</h3><p>{{% translate t{n} %}}</p>" for n in numbers)
        for block, numbers in blocks.items()
    )
    texts = "".join(f"    q{n}: Question {n}?\n    t{n}: It is {n}00.\n" for n in range(20))
    (faq / "faq.html").write_text(page)
    (faq / "en.yml").write_text("en:\n  faq:\n    zebra: Zebra\n    apple: Apple\n" + texts)
    (faq / "zh_CN.yml").unlink()
    recipe = Recipe(name="faq", data=Data(house_rules={}, policy={}, faq=Faq(folder=faq)))
    gather_articles(recipe.data, tmp_path / "articles")
    (tmp_path / "records").mkdir()
    make_records(recipe, tmp_path / "articles", tmp_path / "records")
    questions = {row.question for row in read_rows(Question, tmp_path / "records" / "questions" / "en.jsonl")}
    recorded = {
        row.query
        for split in ("train", "valid", "test")
        if (path := tmp_path / "records" / f"{split}.jsonl").stat().st_size
        for row in read_rows(Record, path)
    }
    assert len(questions) == 4
    assert len(recorded) == 16
    assert not questions & recorded
    assert sorted(path.name for path in tmp_path.iterdir() if path != faq) == ["articles", "records"]


def test_held_out_entries_are_not_trained_on(faq: Path, tmp_path: Path) -> None:
    page = "<h2>{% translate money %}</h2>" + "".join(
        f"<h3>{{% translate q{n} %}}</h3><p>{{% translate t{n} %}}</p>" for n in range(10)
    )
    texts = "en:\n  faq:\n    money: Money\n" + "".join(
        f"    q{n}: Question {n}?\n    t{n}: It is {n}00.\n" for n in range(10)
    )
    (faq / "faq.html").write_text(page)
    (faq / "en.yml").write_text(texts)
    (faq / "zh_CN.yml").unlink()
    conversations, questions = faq_records(import_faq(faq, tmp_path / "out")["en"])
    assert [question.question for question in questions] == ["Question 4?", "Question 9?"]
    assert questions[0].facts == (("400",),)
    trained = {conversation.turns[0].content for conversation in conversations}
    assert len(trained) == 8
    assert not trained & {question.question for question in questions}
    assert conversations[0].turns[0].evidence == ("faq-money#q0",)
    assert conversations[0].source == "article"


def test_the_bitcoin_faq_has_46_entries_in_both_languages(tmp_path: Path) -> None:
    folder = SHARED_DATA / "bi_bitcoin_faq"
    if not folder.exists():
        pytest.skip("../shared/data/bi_bitcoin_faq is not there")
    assert len(faq_entries((folder / "faq.html").read_text())) == 46
    articles = import_faq(folder, tmp_path)
    refs = {lang: [s.ref for article in each for s in article.sections] for lang, each in articles.items()}
    assert refs["en"] == refs["zh"]
    assert len(refs["en"]) == 46
    texts = [s.text for each in articles.values() for article in each for s in article.sections]
    assert not any("<" in text and ">" in text for text in texts)
    for lang, each in articles.items():
        assert load_articles(tmp_path / lang) == sorted(each, key=lambda article: article.id)
        conversations, questions = faq_records(each)
        assert (len(conversations), len(questions)) == (37, 9)
