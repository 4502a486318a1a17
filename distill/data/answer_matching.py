"""Which of a case's answers fits a question: the one that shares its words, or gives the kind of thing it asks for.

A case's answers say different things about one section; paired at random they would teach a model to miss the point.
Words that all answers share decide nothing. English is compared by word beginnings, Chinese by character pairs.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

SAME_SHARE = 0.35
"""Answers that share so much of their words say the same thing in other words."""

_CUES = (
    (
        r"how much|\bcosts?\b|\bprices?\b|\bcharge|\bfees?\b|\bpay\b|expens|discount|多少钱|价格|费用|收费|要钱|贵",
        r"€|\bfree\b|no charge|%|欧元|免费|不收",
    ),
    (
        r"how long|\bwhen\b|\buntil\b|deadline|how soon|how fast|what time|多久|什么时候|几天|期限|几点|最晚|多快",
        r"\b(?:days?|weeks?|months?|years?|hours?|minutes?|January|December|March|August)\b|\d:\d\d|天|月|小时|年|周|分钟",
    ),
    (r"how (?:many|big|wide|heavy|tall|high|deep|far|loud)|\bsize|measure|多少|几个|多大|多重|多高|多宽|尺寸", r"\d"),
)
"""What a question asks for, and what then must be in its answer."""


def match_answer(ask: str, answers: Sequence[str], rng: random.Random) -> str:
    """Choose the answer that fits best; among equals the first, or any of them where they say the same thing."""
    scores = _scores(ask, answers)
    best = [answer for answer, score in zip(answers, scores, strict=True) if score > max(scores) - 1e-9]
    first = _terms(best[0])
    same = [answer for answer in best if len(first & _terms(answer)) >= SAME_SHARE * len(first | _terms(answer))]
    return rng.choice(same)


def _scores(ask: str, answers: Sequence[str]) -> list[float]:
    terms = [_terms(answer) for answer in answers]
    asked = _terms(ask)
    holders = Counter(term for each in terms for term in each)
    wanted = [fit for cue, fit in _CUES if re.search(cue, ask, re.IGNORECASE)]
    return [
        sum(1 / holders[term] for term in sorted(asked & each) if holders[term] < len(answers))
        + sum(re.search(fit, answer, re.IGNORECASE) is not None for fit in wanted)
        for answer, each in zip(answers, terms, strict=True)
    ]


def _terms(text: str) -> set[str]:
    text = text.lower()
    pairs = {run[i : i + 2] for run in re.findall(r"[\u4e00-\u9fff]+", text) for i in range(len(run) - 1)}
    return pairs | {word[:5] for word in re.findall(r"[a-z0-9]{3,}", text)}
