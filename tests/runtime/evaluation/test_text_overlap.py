"""Wording compared with a reference: expected scores are worked out by hand, or are the libraries' public ones."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import corpus_bleu, corpus_chrf

from runtime.evaluation.text_overlap import bleu, bleu_counts, chrf, chrf_counts, rouge_l, tokens
from tests.support.paths import ROOT

ANSWERS = ["You have 30 days to return it.", "标准配送费为4.90欧元。", "Pay by card."]
REFERENCES = [
    "You can return it within 30 days.",
    "标准配送费4.90欧元，满60欧元免运费。",
    "You can pay by card or in cash.",
]
TEXT = st.text(alphabet="ab 标准配送€4.9,。-", max_size=30)


def added(counts: object) -> list[float]:
    pairs = zip(ANSWERS, REFERENCES, strict=True)
    return [sum(column) for column in zip(*(counts(a, r) for a, r in pairs), strict=True)]  # type: ignore[operator]


def test_bleu_and_chrf_of_added_counts_are_sacrebleus_scores_of_the_set() -> None:
    assert bleu(added(bleu_counts)) * 100 == pytest.approx(corpus_bleu(ANSWERS, [REFERENCES], tokenize="zh").score)
    assert chrf(added(chrf_counts)) * 100 == pytest.approx(corpus_chrf(ANSWERS, [REFERENCES]).score)


def test_bleu_of_a_small_set_is_what_papineni_2002_counts() -> None:
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 runs of four; no brevity penalty, since lengths are equal.
    assert bleu(bleu_counts("a b c d x", "a b c d e")) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))
    # Every Chinese character is a token: 7 of 8 characters, 6 of 7, 5 of 6, 4 of 5.
    assert bleu(bleu_counts("三十天内可退货吗", "三十天内可退货呢")) == pytest.approx((4 / 8) ** (1 / 4))


def test_a_missing_library_is_named_only_when_a_score_is_asked_for() -> None:
    program = (
        "import sys\n"
        "sys.modules.update({'sacrebleu': None, 'rouge_score': None, 'rouge_score.rouge_scorer': None})\n"
        "from runtime.errors import MissingError\n"
        "from runtime.evaluation import answer_metrics, text_overlap\n"
        "answer_metrics.summary([])\n"
        "for score in (text_overlap.bleu_counts, text_overlap.chrf_counts, text_overlap.rouge_l):\n"
        "    try:\n"
        "        score('a', 'b')\n"
        "    except MissingError as error:\n"
        "        print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.count("pip install 'edgedesk[build]'") == 3, done.stderr


def test_every_chinese_character_is_a_token_and_a_price_stays_whole() -> None:
    assert tokens("标准配送费为4.90欧元。") == [*"标准配送费为", "4.90", *"欧元。"]
    assert tokens("Pay by card, now.") == ["Pay", "by", "card", ",", "now", "."]


def test_rouge_l_does_not_drop_chinese() -> None:
    assert rouge_l("30天内可退", "您可在30天内退货") == pytest.approx(2 * 4 / (5 + 8))
    assert rouge_l("Pay by Card", "pay by card") == 1.0
    assert rouge_l("", "pay") == rouge_l("pay", "") == 0.0


@given(answer=TEXT, reference=TEXT)
def test_scores_stay_between_nought_and_one_and_nothing_beats_the_reference(answer: str, reference: str) -> None:
    for score, counts in ((bleu, bleu_counts), (chrf, chrf_counts)):
        assert 0.0 <= score(counts(answer, reference)) <= 1.0 + 1e-9
    assert 0.0 <= rouge_l(answer, reference) <= rouge_l(reference, reference) + 1e-9
