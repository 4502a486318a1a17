"""Whether an answer states given facts, and whether it is the refusal the model was taught.

A fact is a list of accepted spellings; it is found when one of them stands in the answer, whatever the width, case,
spacing and thousands separators, but never inside a longer number or word. Knows nothing of articles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from runtime.text.normalize import nfkc
from runtime.text.sentences import sentences
from runtime.text.tokens import terms

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3001\u3002"
_HAN_NUMERALS = "零〇一二两三四五六七八九十百千万"
_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‑": "-", "−": "-"})
REFUSAL_SHARE = 0.7
"""Of the terms of two sentences that count as the same refusal: a quantized model swaps a word now and then."""


def facts_found(answer: str, facts: Sequence[Sequence[str]]) -> float:
    """The share (0 to 1) of facts of which any accepted spelling occurs in the answer; 1.0 when there are none."""
    if not facts:
        return 1.0
    text = normalise(answer)
    return sum(any(_occurs(spelling, text) for spelling in spellings) for spellings in facts) / len(facts)


def is_refusal(answer: str, refusal: str) -> bool:
    """Whether the answer opens with the refusal's first sentence, to the letter or nearly."""
    given, taught = sentences(answer), sentences(refusal)
    if not given or not taught:
        return False
    said, meant = terms(given[0]), terms(taught[0])
    if said[: len(meant)] == meant:
        return True
    both = set(said) & set(meant)
    return len(both) >= REFUSAL_SHARE * len(set(said) | set(meant))


def normalise(text: str) -> str:
    """One spelling for what reads the same.

    NFKC, lower case, plain quotes and dashes, 1,000 as 1000, single spaces, none beside Chinese characters or after a
    currency sign.
    """
    # A Chinese comma separates items, it never groups digits; NFKC would make it an ASCII one.
    plain = nfkc(text.replace("，", ", ")).casefold().translate(_SAME)
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
    plain = re.sub(r"\s+", " ", plain).strip()
    plain = re.sub(rf"(?<=[{_HAN}]) | (?=[{_HAN}])", "", plain)
    return re.sub(r"(?<=[€$£¥]) (?=\d)", "", plain)


def _occurs(spelling: str, text: str) -> bool:
    wanted = normalise(spelling)
    if not wanted:
        return False
    first, last = wanted[0], wanted[-1]
    before = after = ""
    if first.isdecimal():
        before = r"(?<!\d)(?<!\d[.,:])"
    elif first.isascii() and first.isalpha():
        before = r"(?<![a-z0-9])"
    elif first in _HAN_NUMERALS:
        before = f"(?<![{_HAN_NUMERALS}])"
    if last.isdecimal():
        after = r"(?!\d)(?![.,:]\d)"
    elif last.isascii() and last.isalpha():
        after = r"(?:s|es)?(?![a-z0-9])"
    elif last in _HAN_NUMERALS:
        after = f"(?![{_HAN_NUMERALS}])"
    return re.search(before + re.escape(wanted) + after, text) is not None
