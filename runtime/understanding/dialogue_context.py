"""What a conversation tells about its next question. Pure: the same turns and question always give the same.

    lean        whether a question leans on what was said before ("And for a fridge?", 那冰箱呢？)
    whole       that question made whole for retrieval: what it leans on, the product it is about, then itself
    entities    order number and product, carried from turn to turn; the newest mention counts
    language    the customer's, kept through turns that show none ("OK", "NL-17?")

Knows nothing of models, articles and journals.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from runtime.text.articles import guess_language
from runtime.text.personal_data import spans_in
from runtime.text.quantities import quantities
from runtime.text.tokens import terms

MAX_TERMS = 14
"""A longer question says itself what it is about."""
LOOK_BACK = 6
"""How many earlier questions are looked at."""
_OPENING = re.compile(
    r"^(?:and|but|so|also|or|what about|how about|what if|even|then|same for|ok(?:ay)?,? (?:and|but)|what else|why)\b"
    r"|^(?:那|那么|还有|另外|如果|要是|可是|但是|但|为什么|所以)",
)
_POINTING = re.compile(
    r"\b(?:it|its|that|this|they|them|those|these|there|the same|one|ones|he|she)\b"
    r"|它|这个|那个|这款|那款|这件|这样|那样|这些|那些|他们|它们",
)
_ENDING = re.compile(r"呢[？?]?$")


def is_follow_up(question: str) -> bool:
    """Whether a question cannot be understood by itself."""
    text = _normal(question)
    if len(terms(text)) > MAX_TERMS:
        return False
    if _OPENING.search(text) or _POINTING.search(text) or _ENDING.search(text):
        return True
    return len(terms(text)) <= 1 or not _words(question)


def rewrite_follow_up(question: str, earlier: Sequence[str]) -> str:
    """The question as it is searched for; itself where it stands alone.

    `earlier` are the questions before it, oldest first. A chain of leaning questions hangs on the last one that stood
    by itself, and the one just before is kept too.
    """
    before = [text for text in earlier[-LOOK_BACK:] if text.strip()]
    if not before or not is_follow_up(question):
        return question
    anchor = next((text for text in reversed(before) if not is_follow_up(text)), None)
    parts = list(dict.fromkeys([*([anchor] if anchor else []), before[-1]]))
    product = entities([*before, question]).get("product")
    if product and not any(product.casefold() in _normal(part) for part in (*parts, question)):
        parts.insert(0, product)
    return "\n".join((*parts, question))


def entities(texts: Sequence[str]) -> dict[str, str]:
    """What the texts, oldest first, name: `order` (a number), `product` (a model code); the newest mention counts."""
    found: dict[str, str] = {}
    for text in texts:
        orders = [span.value for span in spans_in(text) if span.kind == "ORDER"]
        if orders:
            found["order"] = orders[-1]
        taken = {_normal(order) for order in orders}
        codes = [figure.text for figure in quantities(text) if figure.kind == "code"]
        if codes := [code for code in codes if "-" in code and not any(code in order for order in taken)]:
            found["product"] = codes[-1]
    return found


def language(question: str, before: str | None) -> str:
    """The customer's language; of a question that shows none (a number, a code, "OK"), that of the turn before."""
    return before if before and not _words(question) else guess_language(question)


def _words(text: str) -> list[str]:
    """The words that say something: no codes, no numbers, no "OK"."""
    codes = " ".join(figure.text for figure in quantities(text) if figure.kind == "code")
    parts = {*re.split(r"[\W\d_]+", codes), "okay", "yes", "thanks"}
    found = re.findall(r"[^\W\d_]+", text)
    return [word for word in found if (len(word) > 2 or not word.isascii()) and word.casefold() not in parts]


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
