"""No function over strangers' text takes time that grows faster than the text.

`FUNCTIONS` is the table: a name, and a function of one text. A function that reads what customers, agents, clients or
articles write belongs into it; every function is tried on every shape of `SHAPES`, and on its own ones in `OWN_SHAPES`.
CPU time of this process is compared between n and 2n characters within one run, so a busy machine changes nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.data.enlarging.article_questions import article_questions
from runtime.errors import InputError
from runtime.journal.search import expression, query_terms
from runtime.perception.attachment_text import MAX_LINE_CHARS
from runtime.perception.entities import offer_entities
from runtime.server.frontend_tasks import recognise_task
from runtime.text.articles import Section, guess_language, parse_article, slug
from runtime.text.folding import fold
from runtime.text.personal_data import PersonalRules
from runtime.text.quantities import quantities
from runtime.text.redaction import Redactor
from runtime.text.sentences import pieces, sentences
from runtime.text.tables import split_items
from runtime.text.tokens import terms

Shape = Callable[[int], str]
MAX_RATIO = 3.0
"""Twice the text in less than thrice the time: linear is 2, quadratic 4."""
MEASURED_S = 0.004
"""Sizes are doubled until a run takes so long; shorter ones measure the clock."""
MAX_CHARS = 30_000
ROUNDS = 6
CLEAR_RATIO = 2.5


def repeat(unit: str) -> Shape:
    return lambda size: unit * (size // len(unit) + 1)


def between(first: str, unit: str, last: str) -> Shape:
    return lambda size: first + unit * (size // len(unit) + 1) + last


def numbered(form: str) -> Shape:
    """Many different values: what a redactor has to remember."""
    return lambda size: "".join(form.format(number) for number in range(size // len(form) + 1))


# fmt: off
UNITS = (
    "a", "a ", "A ", "1", "1 ", "a-", "1-", "1,", "1.", ".", "@", "a@", "a@a.", "a.", "A-", "0", "01",
    "+49 1", "#", "-", "\n", " ", "\t", " \n", "\r", "\u3000", "x\n", "* ", "1. ", "1)\n", "# a\n",
    "## a\n", "```\n", "~~~", "> ", "| a ", "<", "<a", "<!--", "-->", "<b>", "&", "&amp;", "&#", "[", "](",
    "`", "\"", "(", ")", "\\", "a_", "_1", "1:", ":", "的", "。", "，", "路", "路1号", "1号", "省", "市", "在", "王",
    "我叫", "一", "三八", "十", "地址", "密码：", "QQ", "微信a", "DE12 3456 ", "4111 ", "order 1", "my name is A ",
    "my husband A", "password: ", "born on 1 ", "ring 1", "I'm A ", "\u200b", "e\u0301", "\u00a0",
    "\u2011", "１", "ａ＠", "é", "😀", "<NAME_1>", "10:00 ", "12-", "twenty-", "1 day", "€1", "rue A ", "1 A ",
    "A Street ", "1 rue ", "Astraße ", "1栋", "小区1", "a1", "1a", "2026-", "2001:", "1.1.1.", "eur",
)
# fmt: on
SHAPES: dict[str, Shape] = (
    {repr(unit): repeat(unit) for unit in UNITS}
    | {f"x{unit!r}y": between("x", unit, "y") for unit in ("\n", " ", "-", ".", "a", "1", "的", "\t ", "a-", "0-")}
    | {form: numbered(form) for form in ("u{}@x.example ", "my name is A{}b. ", "order {}00000 ", "+49 151 {:07} ")}
)


def redact(text: str) -> str:
    return Redactor("Call +49 341 555 0100.", RULES).redact(text)


RULES = PersonalRules(order_number=(r"[A-Z]{0,4}-?\d{5,12}",), customer_id=("K[0-9]{6}",), names_not_personal=("Shop",))


def article(text: str) -> object:
    try:
        return parse_article(text, Path("a.md"))
    except InputError:
        return None


def questions_of(text: str) -> object:
    return [article_questions(Section("a", "b", "Shop", text[:60], text, lang)) for lang in ("en", "zh")]


def frontend_task(text: str) -> object:
    """A prompt that asks for a title, a customer's text in it: that is where a conversation is looked through."""
    return recognise_task([("user", f"### Task:\nGenerate a title for the chat history.\n{text}")])


def entities(text: str) -> object:
    """Lines come bounded out of a picture, and there may be many."""
    return offer_entities([text[at : at + MAX_LINE_CHARS] for at in range(0, len(text), MAX_LINE_CHARS)])


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "redact": redact,
    "fold": fold,
    "quantities": quantities,
    "sentences": sentences,
    "pieces": lambda text: pieces(text, 20),
    "terms": terms,
    "parse_article": article,
    "slug": slug,
    "guess_language": guess_language,
    "article_questions": questions_of,
    "split_items": split_items,
    "recognise_task": frontend_task,
    "offer_entities": entities,
    "query_terms": query_terms,
    "expression": expression,
}
OWN_SHAPES: dict[str, dict[str, Shape]] = {
    "parse_article": {
        "front matter": lambda size: "---\n" + "title: a\n" * (size // 9) + "---\ntext",
        "open comment": between("a <!-- ", "a", ""),
        "tags that go on": repeat("<b\nx> "),
        "tag in many lines": repeat("<b\nx\n"),
        "scripts": repeat("<script>"),
        "scripts closed": repeat("<script></script ` `` "),
        "lists": repeat("- - - 1. ```\n"),
        "notes": repeat("[//]: # (a)) "),
        "fences": lambda size: "".join("`" * (3 + number % 7) + "\na\n" for number in range(size // 8)),
        "same headings": repeat("## Price\nIt costs 5 EUR.\n"),
    },
}


def seconds(function: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    function(text)
    return time.process_time() - started


def ratio(function: Callable[[str], object], shape: Shape) -> float:
    """Time of 2n characters by that of n: the least time of each, over rounds that take them in turns."""
    size = 1000
    while (once := seconds(function, shape(size))) < MEASURED_S and size < MAX_CHARS:
        size *= 2 if once > MEASURED_S / 8 else 8
    if once < MEASURED_S:
        return 0.0  # MAX_CHARS characters in no measurable time
    found = float("inf")
    for larger in (1, 2, 4):  # what only the clock saw is gone in a larger text; what is quadratic shows more clearly
        short, long = shape(larger * size), shape(2 * larger * size)
        of_short, of_long = [], []
        for _ in range(ROUNDS):
            of_short.append(seconds(function, short))
            of_long.append(seconds(function, long))
            # Each time only falls with more rounds, so a clear answer needs no more of them.
            found = min(of_long) / min(of_short)
            if len(of_short) > 1 and found < CLEAR_RATIO:
                return found
        if found < MAX_RATIO:
            return found
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_is_linear_in_strangers_text(name: str) -> None:
    """Part of S9: finding the form that blocks is left to the shapes."""
    shapes = SHAPES | OWN_SHAPES.get(name, {})
    slow = {shape: round(found, 1) for shape in shapes if (found := ratio(FUNCTIONS[name], shapes[shape])) >= MAX_RATIO}
    assert not slow, f"{name}: {slow}"


def test_the_measure_sees_a_quadratic_function() -> None:
    # A neighbour on the machine can slow the short runs alone, and for seconds: one of many measurements has to see it.
    assert any(ratio(re.compile("a*b").search, repeat("a")) > MAX_RATIO for _ in range(20))
    assert any(ratio(re.compile("a{0,40}b").search, repeat("a")) < MAX_RATIO for _ in range(20))
