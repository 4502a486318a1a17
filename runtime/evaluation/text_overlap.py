"""How much of a reference reply's wording an answer has: BLEU, chrF and ROUGE-L, in English and Chinese.

BLEU and chrF are sacreBLEU's (Post 2018, 1804.08771) with its tokenizer `zh`, which makes every Chinese character a
token, and its defaults otherwise. ROUGE-L is rouge-score's F1 on the same tokens in lower case; its own tokenizer drops
Chinese. BLEU and chrF are functions of counts that add up over answers, so that a set of answers has one score and
resampling it is cheap. Wording is no measure of truth: facts found and groundedness come first.

Promises: the libraries, which a branch does not have, are loaded when a score is asked for and not before;
`MissingError` says what to install. Knows nothing of models.

Papineni et al. 2002; Popović 2015 (W15-3049); Lin 2004 (W04-1013).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from runtime.errors import MissingError

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU, CHRF

Counts = tuple[float, ...]

BLEU_COUNTS = 10
"""Lengths of answer and reference in tokens, then matches and n-grams of the orders 1 to 4."""
CHRF_COUNTS = 18
"""Of the character n-grams of orders 1 to 6: the answer's, the reference's, and those in both."""


def require_text_metrics() -> None:
    """`MissingError` where the libraries are not installed: said before a long run, not at its end."""
    _bleu()
    _rouge()


def bleu_counts(answer: str, reference: str) -> Counts:
    """What the answer adds to the set's BLEU, [`BLEU_COUNTS`]."""
    return tuple(_statistics(_bleu(), answer, reference))


def bleu(counts: Sequence[float]) -> float:
    """BLEU-4 with exponential smoothing, 0 to 1, of counts added up over answers."""
    return _score(_bleu(), counts)


def chrf_counts(answer: str, reference: str) -> Counts:
    """What the answer adds to the set's chrF, [`CHRF_COUNTS`]."""
    return tuple(_statistics(_chrf(), answer, reference))


def chrf(counts: Sequence[float]) -> float:
    """chrF2, 0 to 1, of counts added up over answers."""
    return _score(_chrf(), counts)


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of tokens, 0 to 1."""
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def tokens(text: str) -> list[str]:
    """Words, numbers and punctuation marks; every Chinese character alone."""
    return str(_bleu().tokenizer(text)).split()


# sacreBLEU's own significance tests resample through these two methods; they are not in its public interface, so its
# version is bounded in pyproject.toml and tests/runtime/evaluation/test_text_overlap.py compares with `corpus_score`.
def _statistics(metric: BLEU | CHRF, answer: str, reference: str) -> list[float]:
    return [float(count) for count in metric._extract_corpus_statistics([answer], [[reference]])[0]]


def _score(metric: BLEU | CHRF, counts: Sequence[float]) -> float:
    return float(metric._compute_score_from_stats(list(counts)).score) / 100


@cache
def _bleu() -> BLEU:
    return _sacrebleu().BLEU(tokenize="zh")


@cache
def _chrf() -> CHRF:
    return _sacrebleu().CHRF()


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics  # not at the top: a branch has no build extra
    except ImportError:
        raise _missing("sacrebleu") from None
    return metrics


@cache
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer  # not at the top: a branch has no build extra
    except ImportError:
        raise _missing("rouge-score") from None
    return RougeScorer(["rougeL"], tokenizer=_LowerCaseTokens())


class _LowerCaseTokens:
    """The tokenizer handed to rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        return tokens(text.casefold())


def _missing(package: str) -> MissingError:
    return MissingError(
        f"answers are compared with reference replies by {package}, which is not installed",
        hint="pip install 'edgedesk[build]', or leave `reference` out of the questions",
    )
