from __future__ import annotations

import pytest

from runtime.desk.intent_and_emotion import confident_labels, understand_question
from runtime.desk.policy import ConfidentLabels, Decision, Policy, decide
from runtime.events import Understood
from runtime.understanding.linear_classifier import Guess

RULES = Policy.model_validate(
    {
        "hand_off": {"legal": ["lawyer", "律师"]},
        "tone": {"angry": {"phrases": ["ridiculous", "太过分"], "say": "I am sorry."}, "confused": {"say": "Slowly."}},
        "intent": {"high": 0.9, "medium": 0.6, "hand_off": ["fraud"]},
        "emotion": {"high": 0.7, "medium": 0.4, "hand_off": ["desperate"]},
        "answer": [{"id": "party", "text": "We rent no tents.", "intents": ["rent_tent"]}],
    }
)


@pytest.mark.parametrize(
    ("question", "intent", "emotion", "said"),
    [
        ("How long?", None, None, Understood()),
        (
            "How long?",
            Guess("returns", 0.91),
            Guess("calm", 0.55),
            Understood(
                intent="returns", intent_confidence="high", emotion="calm", emotion_confidence="low",
                reasons=("intent returns 0.91", "emotion calm 0.55"),
            ),
        ),
        (
            "太过分了，我要找律师",
            Guess("returns", 0.3),
            Guess("calm", 0.99),
            Understood(
                intent="returns", intent_confidence="low", emotion="angry", emotion_confidence="high", rule="legal",
                reasons=("hand_off.legal", "intent returns 0.30", "tone.angry"),
            ),
        ),
        (
            "Hm",
            Guess("returns", 0.6),
            Guess("confused", 0.39),
            Understood(
                intent="returns", intent_confidence="medium", emotion="confused", emotion_confidence="low",
                reasons=("intent returns 0.60", "emotion confused 0.39"),
            ),
        ),
    ],
)  # fmt: skip
def test_phrases_are_certain_and_guesses_are_put_in_words(
    question: str, intent: Guess | None, emotion: Guess | None, said: Understood
) -> None:
    assert understand_question(RULES, question, intent, emotion) == said


@pytest.mark.parametrize(
    ("question", "guessed", "decision"),
    [
        ("Somebody used my card", ConfidentLabels("fraud"), Decision("hand_off", "fraud")),
        ("I cannot go on", ConfidentLabels("returns", "desperate"), Decision("hand_off", "desperate")),
        ("Do you rent tents?", ConfidentLabels("rent_tent"), Decision("fixed", "party")),
        ("你们出租帐篷吗？", ConfidentLabels("rent_tent", "calm"), Decision("fixed", "party")),
        ("My lawyer rents tents", ConfidentLabels("rent_tent"), Decision("hand_off", "legal")),
        ("How long?", ConfidentLabels("returns", "calm"), Decision("retrieve")),
        ("How long?", ConfidentLabels(), Decision("retrieve")),
    ],
)
def test_what_is_certain_decides_behind_the_phrases_and_before_the_search(
    question: str, guessed: ConfidentLabels, decision: Decision
) -> None:
    made = decide(RULES, question=question, lang="en", languages=("en",), similarities=None, confident=guessed)
    assert made == decision


def test_only_high_confidence_is_certain() -> None:
    said = understand_question(RULES, "How long?", Guess("fraud", 0.89), Guess("angry", 0.7))
    assert confident_labels(said) == ConfidentLabels(None, "angry")


@pytest.mark.parametrize(
    "text",
    [
        {"intent": {"high": 0.4, "medium": 0.6}},
        {"emotion": {"high": 1.2}},
        {"canned": [{"id": "a", "title": "A", "text": "x"}, {"id": "a", "title": "B", "text": "y"}]},
        {"canned": [{"id": "a b", "title": "A", "text": "x"}]},
        {"answer": [{"id": "a", "text": "x"}]},
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(text: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Policy.model_validate(text)


@pytest.mark.parametrize("question", ["The machine leaks.", "洗衣机漏水了"])
def test_calm_is_never_certain_since_sober_words_prove_nothing(question: str) -> None:
    said = understand_question(RULES, question, None, Guess("calm", 1.0))
    assert (said.emotion, said.emotion_confidence) == ("calm", "low")
    assert confident_labels(said).emotion is None


def test_intent_of_a_question_unlike_all_known_ones_is_low_and_says_so() -> None:
    def said(familiar: float | None) -> Understood:
        return understand_question(RULES, "How long?", Guess("fraud", 0.99), familiar=familiar)

    share = RULES.intent.unfamiliar
    assert said(share / 2).unfamiliar
    assert said(share / 2).intent_confidence == "low"
    assert confident_labels(said(share / 2)).intent is None
    assert said(share / 2).reasons == ("intent fraud 0.99", "unfamiliar 0.010")
    for usual in (share, 0.9, None):
        assert not said(usual).unfamiliar
        assert said(usual).intent_confidence == "high"
    off = RULES.model_copy(update={"intent": RULES.intent.model_copy(update={"unfamiliar": 0.0})})
    assert not understand_question(off, "How long?", Guess("fraud", 0.99), familiar=0.0).unfamiliar
