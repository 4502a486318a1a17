"""How much of a reference reply's wording an answer has: BLEU, chrF and ROUGE-L, in Latin script and Chinese.

Each is the function of counts that add up over answers, so that a set of answers has one score and resampling it is
cheap. BLEU cuts text as sacreBLEU's `zh` does (every Chinese character a token) and smooths as its default does; chrF
is sacreBLEU's default (six characters, beta 2, no white space); ROUGE-L takes BLEU's tokens, lower-cased. Wording is
no measure of truth: facts found and groundedness come first. Knows nothing of models.

Papineni et al. 2002; Popović 2015 (W15-3049); Lin 2004 (W04-1013); Post 2018 (1804.08771).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

Counts = tuple[float, ...]

BLEU_ORDER = 4
CHRF_ORDER = 6
CHRF_BETA = 2.0
_HAN = re.compile(
    # The second range is none of Chinese, but sacreBLEU takes it along: dashes, quotes, currency signs.
    r"([\u2e80-\u303f\u2001-\u2a6d\u3100-\u312f\u31a0-\u31ef\u3200-\u4db5\u4e00-\u9fbb\uf900-\ufad9"
    r"\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef])"
)
_PUNCTUATION = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def tokens(text: str) -> list[str]:
    """Words, numbers and punctuation marks; every Chinese character alone."""
    line = _HAN.sub(r" \1 ", text.strip())
    for pattern, spaced in _PUNCTUATION:
        line = pattern.sub(spaced, line)
    return line.split()


def bleu_counts(answer: str, reference: str) -> Counts:
    """(answer's length, reference's length, then matches and n-grams of each order), in tokens."""
    said, meant = tokens(answer), tokens(reference)
    out: list[float] = [len(said), len(meant)]
    for order in range(1, BLEU_ORDER + 1):
        have, want = _ngrams(said, order), _ngrams(meant, order)
        out += [(have & want).total(), have.total()]
    return tuple(out)


def bleu(counts: Sequence[float]) -> float:
    """BLEU-4 with exponential smoothing, 0 to 1, of counts added up over answers."""
    said, meant, *orders = counts
    if not said:
        return 0.0
    logs, smooth = 0.0, 1.0
    for matches, total in zip(orders[::2], orders[1::2], strict=True):
        if not total:
            return 0.0
        if not matches:
            smooth *= 2
        logs += math.log(matches / total if matches else 1 / (smooth * total))
    return min(1.0, math.exp(1 - meant / said)) * math.exp(logs / BLEU_ORDER)


def chrf_counts(answer: str, reference: str) -> Counts:
    """For each order of character n-grams: those of the answer, of the reference, and in both."""
    said, meant = "".join(answer.split()), "".join(reference.split())
    out: list[float] = []
    for order in range(1, CHRF_ORDER + 1):
        have, want = _ngrams(said, order), _ngrams(meant, order)
        out += [have.total() if want else 0, want.total(), (have & want).total()]
    return tuple(out)


def chrf(counts: Sequence[float]) -> float:
    """chrF2, 0 to 1, of counts added up over answers."""
    rows = list(zip(counts[0::3], counts[1::3], counts[2::3], strict=True))
    kept = [(both / said, both / meant) for said, meant, both in rows if said and meant]
    if not kept:
        return 0.0
    precision, recall = (sum(column) / len(kept) for column in zip(*kept, strict=True))
    weight = CHRF_BETA**2
    below = weight * precision + recall
    return (1 + weight) * precision * recall / below if below else 0.0


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of tokens, 0 to 1."""
    said, meant = tokens(answer.casefold()), tokens(reference.casefold())
    if not said or not meant:
        return 0.0
    row = [0] * (len(meant) + 1)
    for token in said:
        before = 0
        for place, other in enumerate(meant, start=1):
            above = row[place]
            row[place] = before + 1 if token == other else max(above, row[place - 1])
            before = above
    return 2 * row[-1] / (len(said) + len(meant))


def _ngrams(items: Sequence[str], order: int) -> Counter[object]:
    return Counter(tuple(items[start : start + order]) for start in range(len(items) - order + 1))
