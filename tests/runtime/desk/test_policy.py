"""What a policy decides, and which policies are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.desk.policy import Decision, Policy, decide, matching_rule, read_policy
from runtime.errors import InputError
from tests.support.paths import SHOP

RULES = Policy.model_validate(
    {"hand_off": {"legal": ["court", "律师"], "person": ["real person"]}, "retrieval": {"min_similarity": 0.5}}
)


@pytest.mark.parametrize(
    ("question", "lang", "similarities", "decision"),
    [
        ("See you in COURT.", "en", None, Decision("hand_off", "legal")),
        ("我要找律师", "zh", [0.9], Decision("hand_off", "legal")),
        ("ｒｅａｌ　person please", "en", None, Decision("hand_off", "person")),
        ("Is delivery by courtesy car?", "en", None, Decision("retrieve")),
        ("How much?", "en", [], Decision("refuse", "no_article")),
        ("How much?", "en", [0.49, 0.2], Decision("refuse", "no_article")),
        ("How much?", "en", [0.2, 0.5], Decision("generate")),
        ("多少钱？", "zh", [0.5], Decision("quote")),
    ],
)
def test_the_same_rules_decide_the_same(
    question: str, lang: str, similarities: list[float] | None, decision: Decision
) -> None:
    assert decide(RULES, question=question, lang=lang, languages=("en",), similarities=similarities) == decision


FIXED = Policy.model_validate(
    {
        "hand_off": {"legal": ["court", "律师"]},
        "answer": [
            {"id": "gift", "text": "Yes.", "phrases": ["gift wrap", "礼品包装"]},
            {"id": "wifi", "text": "NL-GUEST", "questions": ["Is there Wi-Fi?", "有无线网吗？"]},
        ],
        "curated": {"min_similarity": 0.9},
        "retrieval": {"min_similarity": 0.5},
    }
)


@pytest.mark.parametrize(
    ("question", "lang", "similarities", "curated", "decision"),
    [
        ("Do you GIFT  wrap?", "en", None, None, Decision("fixed", "gift")),
        ("能礼品包装吗", "zh", None, None, Decision("fixed", "gift")),
        ("Gift wrap or I see you in court", "en", None, None, Decision("hand_off", "legal")),
        ("Wi-Fi?", "en", None, ("wifi", 0.99), Decision("retrieve")),
        ("Wi-Fi?", "en", [0.1], ("wifi", 0.9), Decision("fixed", "wifi")),
        ("Wi-Fi?", "en", [0.1], ("wifi", 0.89), Decision("refuse", "no_article")),
        ("有无线网吗", "zh", [], ("wifi", 0.95), Decision("fixed", "wifi")),
        ("律师", "zh", [0.9], ("wifi", 0.95), Decision("hand_off", "legal")),
        ("Wi-Fi?", "en", [0.6], ("wifi", 0.1), Decision("generate")),
        ("无线网", "zh", [0.6], ("wifi", 0.1), Decision("quote")),
    ],
)
def test_a_fixed_answer_stands_behind_the_rules_and_before_everything_else(
    question: str, lang: str, similarities: list[float] | None, curated: tuple[str, float] | None, decision: Decision
) -> None:
    made = decide(FIXED, question=question, lang=lang, languages=("en",), similarities=similarities, curated=curated)
    assert made == decision


@settings(deadline=None)
@given(st.text())
def test_no_question_breaks_a_rule(question: str) -> None:
    assert matching_rule(RULES, question + " 律师") == "legal"


def test_the_example_shops_policies_can_be_read() -> None:
    shop = SHOP
    for lang, question in (("en", "Let me talk to a real person"), ("zh", "我要转人工")):
        policy = read_policy(shop / lang / "policy.toml")
        assert matching_rule(policy, question) == "asks_for_person"
        assert policy.refusal.text


@pytest.mark.parametrize(
    "text",
    [
        "[refusal",
        "[refusal]\ntxt = 'x'",
        "[hand_off]\nlegal = ['']",
        "[retrieval]\nmin_similarity = 3",
        "[tone.angry]\nphrases = []\nsay = 'x'",
        "[tone.angry]\nphrases = ['　']\nsay = 'x'",
        "[[answer]]\nid = 'a'\ntext = 'x'",
        "[[answer]]\nid = 'a'\ntext = 'x'\nphrases = ['y']\n[[answer]]\nid = 'a'\ntext = 'x'\nphrases = ['z']",
        "[journal]\nkeep_days = -1",
    ],
)
def test_a_policy_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_policy(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("wrong", "answerable", "action"),
    [(0.05, 0.049, "refuse"), (0.05, 0.05, "generate"), (0.05, None, "generate"), (0.0, 0.0, "generate")],
)
def test_question_below_the_allowed_share_of_wrong_refusals_is_refused_after_every_rule(
    wrong: float, answerable: float | None, action: str
) -> None:
    policy = Policy.model_validate({"answerable": {"wrong_refusals": wrong}, "hand_off": {"legal": ["court"]}})

    def decided(question: str, similarities: list[float] | None) -> Decision:
        return decide(
            policy, question=question, lang="en", languages=("en",), similarities=similarities, answerable=answerable
        )

    assert decided("How much?", [0.5]).action == action
    assert decided("How much?", None) == Decision("retrieve")
    assert decided("To court?", [0.5]) == Decision("hand_off", "legal")


@pytest.mark.parametrize(
    ("answerable", "unfamiliar", "action"),
    [
        (0.04, False, "refuse"),
        (0.06, False, "generate"),
        (0.06, True, "refuse"),
        (0.14, True, "refuse"),
        (0.16, True, "generate"),
        (None, True, "generate"),
    ],
)
def test_question_of_no_known_kind_counts_towards_the_hand_off_and_does_not_decide_it(
    answerable: float | None, unfamiliar: bool, action: str
) -> None:
    made = decide(
        RULES, question="How much?", lang="en", languages=("en",), similarities=[0.9], answerable=answerable,
        unfamiliar=unfamiliar,
    )  # fmt: skip
    assert made.action == action
    assert made.reason == ("no_article" if action == "refuse" else None)


def test_articles_that_disagree_go_to_a_person_unless_the_policy_only_marks_them() -> None:
    def made(policy: Policy, similarity: float = 0.9) -> Decision:
        return decide(
            policy, question="How long?", lang="en", languages=("en",), similarities=[similarity], disputed=True
        )

    assert made(RULES) == Decision("hand_off", "articles_disagree")
    assert made(RULES, 0.1) == Decision("refuse", "no_article")
    marked = Policy.model_validate({"retrieval": {"disputed": "mark"}})
    assert made(marked) == Decision("generate")
