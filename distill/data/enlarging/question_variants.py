"""Other ways to type a question: slips of the fingers, colloquial forms, synonyms, in English and Chinese.

Promises: figures, codes, placeholders and names in capitals stay as they are, so an answer to the question answers its
variants; a variant differs from the question and from the other variants by more than signs; the same question and seed
give the same variants. Knows nothing of records.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable

from distill.data.cleaning.duplicates import text_key
from runtime.text.quantities import quantities

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    char: (row[place - 1 : place] if place else "") + row[place + 1 : place + 2]
    for row in _KEYS
    for place, char in enumerate(row)
}
_WORD = re.compile(r"(?<![\w<{#@/.-])[a-z]{4,}(?![\w>}#@/-])")
"""A plain word: no part of a code, a placeholder, an address or a name."""
_ENGLISH_COLLOQUIAL = (
    (r"\bdo not\b", "dont"), (r"\bdon't\b", "dont"), (r"\bcannot\b|\bcan't\b", "cant"), (r"\bplease\b", "pls"),
    (r"\byou\b", "u"), (r"\byour\b", "ur"), (r"\bbecause\b", "cuz"), (r"\bI am\b", "im"), (r"\bI have\b", "ive"),
    (r"\bWhat is\b", "whats"), (r"\bgoing to\b", "gonna"), (r"\bwant to\b", "wanna"), (r"\bCan you tell me\b", "can u tell me"),
    (r"\bHow much does (.{3,60}) cost\?", r"whats the price of \1"), (r"\bDo I have to\b", "do i really need to"),
)  # fmt: skip
_ENGLISH_FRAMES = (
    "hey, {}",
    "hi there, {}",
    "{} thx",
    "quick question: {}",
    "sorry to bother, {}",
    "{} asap pls",
    "hello? {}",
)
_ENGLISH_SYNONYMS = (
    ("delivery", "shipping"), ("deliver", "ship"), ("parcel", "package"), ("return", "send back"), ("refund", "money back"),
    ("purchase", "order"), ("receipt", "bill"), ("broken", "not working"), ("branch", "store"), ("appointment", "slot"),
    ("cancel", "call off"), ("free of charge", "for free"), ("repair", "fix"), ("item", "product"), ("price", "cost"),
)  # fmt: skip
_HAN_COLLOQUIAL = (
    ("怎么办", "咋办"), ("怎么", "咋"), ("什么", "啥"), ("为什么", "为啥"), ("多少钱", "几块钱"), ("可以", "能"), ("是否", "是不是"),
    ("需要", "要"), ("没有", "没"), ("请问", ""), ("有什么要注意的", "要注意啥"), ("如何", "咋"), ("多久", "多长时间"),
)  # fmt: skip
_HAN_FRAMES = ("亲，{}", "你好，{}", "那个，{}", "{}急", "问一下{}", "在吗？{}", "{}谢谢", "麻烦问下，{}")
_HAN_SYNONYMS = (
    ("退货", "退东西"), ("配送", "送货"), ("快递", "包裹"), ("门店", "店里"), ("价格", "价钱"), ("费用", "收费"), ("购买", "买"),
    ("维修", "修"), ("安装", "装"), ("发票", "开票"), ("取消", "不要了"), ("退款", "退钱"), ("客服", "你们"), ("更换", "换"),
)  # fmt: skip
_HAN_SLIPS = (
    ("账", "帐"), ("订单", "定单"), ("的", "得"), ("在", "再"), ("吗", "嘛"), ("退", "推"), ("哪", "那"), ("做", "作"), ("货", "或"),
    ("发票", "发飘"), ("快递", "快第"), ("保修", "包修"), ("登录", "登陆"), ("装", "庄"), ("修", "休"),
)  # fmt: skip


def question_variants(question: str, lang: str, count: int, *, seed: int = 7) -> list[str]:
    """At most `count` other ways to type the question; fewer where its words allow no more."""
    digest = hashlib.sha256(f"{seed}:{lang}:{question}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8]))  # noqa: S311 - variety, no secrets
    makers: list[Callable[[str, random.Random], str]]
    makers = [_han_slip, _han_talk, _han_synonym] if lang == "zh" else [_english_slip, _english_talk, _english_synonym]
    figures = _figures(question)
    seen = {text_key(question)}
    found: list[str] = []
    for turn in range(6 * count):
        text = makers[turn % len(makers)](question, rng)
        if turn >= len(makers) and rng.random() < 0.4:  # two at once, as people do
            text = makers[(turn + 1) % len(makers)](text, rng)
        if len(found) < count and text_key(text) not in seen and _figures(text) == figures:
            seen.add(text_key(text))
            found.append(text.strip())
    return found


def _figures(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((figure.kind, figure.value) for figure in quantities(text) if any(map(str.isdigit, figure.text)))


def _english_slip(text: str, rng: random.Random) -> str:
    """Two letters change places, one is lost, doubled, or its neighbour on the keyboard."""
    words = [match.span() for match in _WORD.finditer(text)]
    if not words:
        return text
    start, end = rng.choice(words)
    place = rng.randrange(start + 1, end - 1)
    char = text[place]
    slips = (
        text[:place] + text[place + 1] + char + text[place + 2 :],
        text[:place] + text[place + 1 :],
        text[:place] + char + text[place:],
        text[:place] + rng.choice(_NEIGHBOURS[char] or char) + text[place + 1 :],
    )
    return rng.choice(slips)


def _english_talk(text: str, rng: random.Random) -> str:
    out = text
    for pattern, short in _ENGLISH_COLLOQUIAL:
        if rng.random() < 0.7:
            out = re.sub(pattern, short, out, flags=re.IGNORECASE)
    if rng.random() < 0.6:
        first = out.split(" ", 1)[0]
        out = out[0].lower() + out[1:] if first[1:].islower() or len(first) == 1 else out
        out = out.rstrip("?.!")
    if rng.random() < 0.6 or out == text:
        out = rng.choice(_ENGLISH_FRAMES).format(out)
    return out


def _english_synonym(text: str, rng: random.Random) -> str:
    fits = [pair for pair in _ENGLISH_SYNONYMS if re.search(rf"\b{pair[0]}\b", text)]
    if not fits:
        return text
    word, other = rng.choice(fits)
    return re.sub(rf"\b{word}\b", other, text)


def _han_slip(text: str, rng: random.Random) -> str:
    """A character of the same sound in place of another: what a pinyin keyboard offers first."""
    fits = [pair for pair in _HAN_SLIPS if pair[0] in text]
    if not fits:
        return text.rstrip("？。")
    right, wrong = rng.choice(fits)
    return text.replace(right, wrong, 1)


def _han_talk(text: str, rng: random.Random) -> str:
    out = text
    for word, short in _HAN_COLLOQUIAL:
        if rng.random() < 0.6:
            out = out.replace(word, short)
    if rng.random() < 0.5:
        out = out.rstrip("？。")
    if rng.random() < 0.6 or out == text:
        out = rng.choice(_HAN_FRAMES).format(out)
    return out


def _han_synonym(text: str, rng: random.Random) -> str:
    fits = [pair for pair in _HAN_SYNONYMS if pair[0] in text]
    if not fits:
        return text
    word, other = rng.choice(fits)
    return text.replace(word, other, 1)
