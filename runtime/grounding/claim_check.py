"""What an answer claims that nothing it may rest on says: quantities, promises, names and addresses.

A promise is a sentence with a word such as "free", "guarantee" or 赔偿 that binds the company; it is supported when a
source uses a word of the same family. A name is a word with a capital inside a sentence, or a Chinese surname with a
title, that no source writes. Promises: pure, and time grows linearly with the answer and with the sources. It marks too
much rather than too little, and proves nothing right. Knows nothing of models and articles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from runtime.grounding.citations import unsupported_quantities
from runtime.text.normalize import nfkc
from runtime.text.sentences import sentences

MAX_NAMES = 200
"""Names and addresses of an answer that are looked up: each is searched for in all sources."""

_PROMISES = {
    "free": r"\bfree(?! to\b)\b|\bno (?:extra )?(?:charge|cost)s?\b|免费|不收费|免运费",
    "refund": r"\brefund\w*|\bmoney back\b|\breimburs\w*|退款|退钱|退还",
    "guarantee": r"\bguarantee\w*|\bwarrant\w*|\bpromise\w*|保证|保修|承诺|质保",
    "compensate": r"\bcompensat\w*|\bvoucher\w*|\bcredit\w*|\bgoodwill\b|赔偿|补偿|赔付|优惠券|代金券",
    "discount": r"\bdiscount\w*|\bcheaper\b|\breduc\w*|\bhalf price\b|折扣|打折|降价|减价|便宜",
    "replace": r"\breplac\w*|\bexchang\w*|\bswap\w*|更换|换货|换新",
    "waive": r"\bwaive\w*|\bexception\b|\bunlimited\b|\bforever\b|\blifetime\b|破例|无限|终身|永久",
}
_FAMILIES = [re.compile(pattern) for pattern in _PROMISES.values()]
_NOT = re.compile(r"\b(?:not|no|never|cannot|without)\b|n't\b|不|没|无法|未")
_NAME = re.compile(r"(?<=[a-z0-9,;] )(?:[A-Z][a-z]+)(?: [A-Z][a-z]+)*")
_TITLED = re.compile(r"[\u4e00-\u9fff]{1,2}(?:先生|女士|小姐)")
# The look-behind lets a mailbox begin at one place of a run of letters: else each is tried, which is quadratic.
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s，。；）)]+|(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.]+[a-z]", re.IGNORECASE)
_EVERYDAY = frozenset(
    re.findall(
        r"\w+",
        "i monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
        "september october november december english chinese internet",
    )
)


def unsupported_claims(answer: str, sources: Iterable[str]) -> list[str]:
    """What no source supports, as written, each once: quantities, then promises (the sentence), names, addresses.

    `sources` are the texts an answer may rest on: sections (`runtime.grounding.citations.source_text`) and what the
    customer said, whose order number or date may be repeated.
    """
    sources = tuple(sources)
    known = _plain("\n".join(sources))
    found = [*unsupported_quantities(answer, sources), *_promises_beyond(known, answer), *_names_beyond(known, answer)]
    return list(dict.fromkeys(found))


def _promises_beyond(known: str, answer: str) -> Iterator[str]:
    new = [family for family in _FAMILIES if not family.search(known)]
    for sentence in sentences(answer):
        text = _plain(sentence)
        if text.endswith(("?", "？")) or _NOT.search(text):
            continue  # a question binds nobody, and what is denied is not promised
        if any(family.search(text) for family in new):
            yield sentence


def _names_beyond(known: str, answer: str) -> Iterator[str]:
    names = dict.fromkeys(match[0] for pattern in (_NAME, _TITLED, _ADDRESS) for match in pattern.finditer(answer))
    for name in islice(names, MAX_NAMES):
        words = [word for word in _plain(name).split() if word not in _EVERYDAY]
        if words and not all(word.rstrip(".") in known for word in words):
            yield name


def _plain(text: str) -> str:
    return nfkc(text).casefold()
