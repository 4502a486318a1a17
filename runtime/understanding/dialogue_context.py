"""What earlier turns of a conversation say about its next question.

    is_follow_up        whether a message needs what was said before ("And for a fridge?", "sure, 5266", 那冰箱呢？)
    rewrite_follow_up   that message completed for retrieval: the question it refers to, the product, then itself
    find_entities       order number and product, carried from turn to turn; the newest mention counts
    detect_language     the customer's, kept through turns that show none ("OK", "NL-17?")

Promises: pure, and time grows linearly with the text. Knows nothing of models, articles and journals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from runtime.text.articles import guess_language
from runtime.text.normalize import nfkc
from runtime.text.personal_data import NO_RULES, PersonalRules, spans_in
from runtime.text.quantities import quantities
from runtime.text.tokens import terms

MAX_TERMS = 14
"""A question of more terms than this names its subject itself."""
LOOK_BACK = 20
"""Earlier messages that are considered: who asks for something is then asked for name, number, date and address."""
_OPENING = re.compile(
    r"^(?:and|but|so|also|or|what about|how about|what if|even|then|same for|ok(?:ay)?,? (?:and|but)|what else|why)\b"
    r"|^(?:那|那么|还有|另外|如果|要是|可是|但是|但|为什么|所以)",
)
_POINTING = re.compile(
    r"\b(?:it|its|that|this|they|them|those|these|there|the same|one|ones|he|she)\b"
    r"|它|这个|那个|这款|那款|这件|这样|那样|这些|那些|他们|它们",
)
_ENDING = re.compile(r"呢[？?]?$")
_ASKING = re.compile(
    r"[?？]|\b(?:who|what|when|where|why|which|how|can|can't|cannot|could|may|do|does|did|is there|are there|will|won't"
    r"|would|should|wants?|needs?|like to|looking|please|help|wish|trying|wonder)\b"
    r"|[吗呢]|怎么|什么|多少|多久|哪|几|能|可以|想|要|帮|请|如何|是否|为何"
)
"""Signs of a question or a wish. Of the example shop's hand-written questions 225 of 233 English and 80 of 93 Chinese
have one, of Banking77's 265 of 308."""
_NUMBER = re.compile(r"[\d@]")
_WITH_LETTERS = re.compile(r"\b[a-z]{1,6}-?\d{1,4}[a-z]?\b(?!@)")
"""Names of products ("S7", "H64"), which look like numbers and are what a question is about."""
_TELLING = re.compile(
    r"^(?:(?:yes|yeah|no|sure|ok(?:ay)?)[,.!]|my (?:full |first |last )?name\b)"
    r"|^(?:是的|好的|不是|我叫|我姓|我的名字|姓名)"
)


def is_follow_up(question: str) -> bool:
    """Whether a message cannot be understood without the ones before it: it points at them, or answers what was asked.

    An answer ("sure, it is 5266", 我叫李强) asks for nothing and gives a name or a number; a product is a subject.
    """
    text = _normal(question)
    if len(terms(text)) > MAX_TERMS:
        return False
    if _OPENING.search(text) or _POINTING.search(text) or _ENDING.search(text):
        return True
    if len(terms(text)) <= 1 or not _words(question):
        return True
    return not _ASKING.search(text) and bool(_TELLING.search(text) or _NUMBER.search(_WITH_LETTERS.sub("", text)))


def rewrite_follow_up(question: str, earlier: Sequence[str]) -> str:
    """The question as retrieval should see it: unchanged, or with the messages it refers to, one a line.

    `earlier` are the customer's messages before it, oldest first. It refers to the last of them that asks for something
    and is no follow-up; where there is none, to the first that asks, and else to the longest. The one just before is
    kept too.
    """
    before = [text for text in earlier[-LOOK_BACK:] if text.strip()]
    if not before or not is_follow_up(question):
        return question
    asking = [text for text in before if _ASKING.search(_normal(text))]
    whole = [text for text in asking if not is_follow_up(text)]
    anchor = whole[-1] if whole else asking[0] if asking else max(before, key=lambda text: len(terms(text)))
    parts = list(dict.fromkeys((anchor, before[-1])))
    product = find_entities([*before, question]).get("product")
    if product and not any(product.casefold() in _normal(part) for part in (*parts, question)):
        parts.insert(0, product)
    return "\n".join((*parts, question))


def find_entities(texts: Sequence[str], rules: PersonalRules = NO_RULES) -> dict[str, str]:
    """What the texts, oldest first, name: `order` (a number), `product` (a model code); the newest mention counts.

    `rules` say how the company writes its order numbers.
    """
    found: dict[str, str] = {}
    for text in texts:
        orders = [span.value for span in spans_in(text, rules) if span.kind == "ORDER"]
        if orders:
            found["order"] = orders[-1]
        # An order number reads as a code too. As a set: a text of a thousand orders has a thousand codes.
        taken = {_normal(order) for order in orders} | {code for order in orders for code in _codes(order)}
        if codes := [code for code in _codes(text) if "-" in code and code not in taken]:
            found["product"] = codes[-1]
    return found


def detect_language(question: str, before: str | None) -> str:
    """The customer's language; of a question that shows none (a number, a code, "OK"), that of the turn before."""
    return before if before and not _words(question) else guess_language(question)


def _codes(text: str) -> list[str]:
    return [quantity.text for quantity in quantities(text) if quantity.kind == "code"]


def _words(text: str) -> list[str]:
    """The words that carry meaning: no codes, no numbers, no "OK"."""
    parts = {*re.split(r"[\W\d_]+", " ".join(_codes(text))), "okay", "yes", "thanks"}
    found = re.findall(r"[^\W\d_]+", text)
    return [word for word in found if (len(word) > 2 or not word.isascii()) and word.casefold() not in parts]


def _normal(text: str) -> str:
    return " ".join(nfkc(text).casefold().split())
