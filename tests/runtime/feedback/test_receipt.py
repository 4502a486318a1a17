from __future__ import annotations

import pytest

from runtime.feedback.learning import Correction
from runtime.feedback.receipt import CorrectionOutcome, ImprovementReceipt, answers_right


@pytest.mark.parametrize(
    ("draft", "reply", "answer", "right"),
    [
        ("You have 14 days.", "You have 30 days.", "Most items may be returned within 30 days.", True),
        ("You have 14 days.", "You have 30 days.", "Within 14 days.", False),
        ("You have 14 days.", "You have 30 days.", "Within 14 days, or 30 days with a card.", False),
        ("You have 14 days.", "You have 30 days.", "It costs 30 EUR.", False),
        ("14天内可退。", "30天内可退。", "大多数商品可在三十天内退货。", True),
        ("14天内可退。", "30天内可退。", "可在14天内退货。", False),
        ("Yes, in any shop.", "No, only in the shop you bought it.", "No, only in the shop where you bought it.", True),
        ("Yes, in any shop.", "No, only in the shop you bought it.", "Yes, in any shop.", False),
        ("", "请带上收据到柜台办理。", "请到柜台办理，并带上收据。", True),
        ("", "请带上收据到柜台办理。", "", False),
    ],
)
def test_correction_passes_when_the_answer_says_what_the_agent_said(
    draft: str, reply: str, answer: str, right: bool
) -> None:
    correction = Correction(key="c/1", lang="en", question="?", draft=draft, reply=reply)
    assert answers_right(correction, answer) is right
    assert not answers_right(correction, answer, refused=True)


def test_receipt_names_corrections_by_key_alone() -> None:
    receipt = ImprovementReceipt(
        release="shop 2",
        corrections=(CorrectionOutcome(key="a/1", passes=True), CorrectionOutcome(key="b/2", passes=False)),
    )
    assert receipt.passed == 1
    assert receipt.model_dump() == {
        "release": "shop 2",
        "corrections": ({"key": "a/1", "passes": True}, {"key": "b/2", "passes": False}),
    }
