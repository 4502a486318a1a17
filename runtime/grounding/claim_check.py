"""What an answer claims that nothing it may rest on says: figures, promises, names and addresses.

A promise is a sentence with a word such as "free", "guarantee" or 赔偿 that binds the company; it is supported when a
section uses a word of the same family. A name is a word with a capital inside a sentence, or a Chinese surname with a
title, that no section writes. All is read off the texts alone, so it marks too much rather than too little, and proves
nothing right. Knows nothing of models.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from runtime.grounding.citations import unsupported
from runtime.text.articles import Section
from runtime.text.sentences import sentences

_PROMISES = {
    "free": r"\bfree(?! to\b)\b|\bno (?:extra )?(?:charge|cost)s?\b|免费|不收费|免运费",
    "refund": r"\brefund\w*|\bmoney back\b|\breimburs\w*|退款|退钱|退还",
    "guarantee": r"\bguarantee\w*|\bwarrant\w*|\bpromise\w*|保证|保修|承诺|质保",
    "compensate": r"\bcompensat\w*|\bvoucher\w*|\bcredit\w*|\bgoodwill\b|赔偿|补偿|赔付|优惠券|代金券",
    "discount": r"\bdiscount\w*|\bcheaper\b|\breduc\w*|\bhalf price\b|折扣|打折|降价|减价|便宜",
    "replace": r"\breplac\w*|\bexchang\w*|\bswap\w*|更换|换货|换新",
    "waive": r"\bwaive\w*|\bexception\b|\bunlimited\b|\bforever\b|\blifetime\b|破例|无限|终身|永久",
}
_FAMILIES = {name: re.compile(pattern) for name, pattern in _PROMISES.items()}
_NOT = re.compile(r"\b(?:not|no|never|cannot|without)\b|n't\b|不|没|无法|未")
_NAME = re.compile(r"(?<=[a-z0-9,;] )(?:[A-Z][a-z]+)(?: [A-Z][a-z]+)*")
_TITLED = re.compile(r"[\u4e00-\u9fff]{1,2}(?:先生|女士|小姐)")
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s，。；）)]+|[\w.+-]+@[\w-]+\.[\w.]+[a-z]", re.IGNORECASE)
_EVERYDAY = frozenset(
    re.findall(
        r"\w+",
        "i monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
        "september october november december english chinese internet",
    )
)


def unsupported_claims(answer: str, sections: Sequence[Section]) -> list[str]:
    """What no section supports, as written, each once: figures, then promises (the sentence), names, addresses."""
    known = _plain("\n".join(f"{section.title}\n{section.heading}\n{section.text}" for section in sections))
    found = [*unsupported(answer, sections), *_promised(answer, known), *_named(answer, known)]
    return list(dict.fromkeys(found))


def _promised(answer: str, known: str) -> Iterator[str]:
    for sentence in sentences(answer):
        text = _plain(sentence)
        if text.endswith(("?", "？")) or _NOT.search(text):
            continue  # a question binds nobody, and what is denied is not promised
        if any(family.search(text) and not family.search(known) for family in _FAMILIES.values()):
            yield sentence


def _named(answer: str, known: str) -> Iterator[str]:
    for pattern in (_NAME, _TITLED, _ADDRESS):
        for match in pattern.finditer(answer):
            words = [word for word in _plain(match[0]).split() if word not in _EVERYDAY]
            if words and not all(word.rstrip(".") in known for word in words):
                yield match[0]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
