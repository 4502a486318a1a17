"""What a question is about and how its writer feels, from the policy's phrases and the bundle's classifiers. Pure.

A phrase of the policy is certain and comes first; the classifiers' probabilities become high, medium or low by the
policy's thresholds. An intent is at best low where the question is unlike all known ones, whatever its probability:
probabilities tell labels apart and know nothing of what is none of them. `calm` is low as well: it says that no words
of another emotion were found, and a customer whose machine leaks may describe it in sober words. Knows nothing of
vectors and models.
"""

from __future__ import annotations

from runtime.desk.policy import ConfidentLabels, Policy, Thresholds, matching_rule, matching_tone
from runtime.events import Confidence, Understood
from runtime.understanding.linear_classifier import Guess

CALM = "calm"
"""The label of a question without any sign of emotion."""


def understand_question(
    policy: Policy,
    question: str,
    intent: Guess | None = None,
    emotion: Guess | None = None,
    familiar: float | None = None,
) -> Understood:
    """Intent, emotion and the rule that a question meets, with reasons a person can read.

    `familiar`: the share of questions of known kinds that are less familiar than this one, None where nobody knows.
    """
    unfamiliar = familiar is not None and familiar < policy.intent.unfamiliar
    reasons = []
    if rule := matching_rule(policy, question):
        reasons.append(f"hand_off.{rule}")
    if intent:
        reasons.append(f"intent {intent.label} {intent.probability:.2f}")
    if unfamiliar:
        reasons.append(f"unfamiliar {familiar:.3f}")
    if tone := matching_tone(policy, question):
        reasons.append(f"tone.{tone}")
        feels: tuple[str | None, Confidence | None] = (tone, "high")
    elif emotion:
        reasons.append(f"emotion {emotion.label} {emotion.probability:.2f}")
        feels = (emotion.label, "low" if emotion.label == CALM else confidence(policy.emotion, emotion))
    else:
        feels = (None, None)
    return Understood(
        intent=intent.label if intent else None,
        intent_confidence=("low" if unfamiliar else confidence(policy.intent, intent)) if intent else None,
        emotion=feels[0],
        emotion_confidence=feels[1],
        unfamiliar=unfamiliar,
        rule=rule,
        reasons=tuple(reasons),
    )


def confident_labels(understood: Understood) -> ConfidentLabels:
    """The labels of high confidence, for `runtime.desk.policy.decide`."""
    return ConfidentLabels(
        understood.intent if understood.intent_confidence == "high" else None,
        understood.emotion if understood.emotion_confidence == "high" else None,
    )


def confidence(bounds: Thresholds, guess: Guess) -> Confidence:
    """A probability in one of three words."""
    if guess.probability >= bounds.high:
        return "high"
    return "medium" if guess.probability >= bounds.medium else "low"
