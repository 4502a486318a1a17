"""What a question is about and how its writer feels, from the policy's phrases and the bundle's classifiers. Pure.

A phrase of the policy is certain and comes first; the classifiers' probabilities become high, medium or low by the
policy's thresholds. Knows nothing of vectors and models.
"""

from __future__ import annotations

from runtime.desk.policy import ConfidentLabels, Policy, Thresholds, matching_rule, matching_tone
from runtime.events import Confidence, Understood
from runtime.understanding.linear_classifier import Guess


def understand_question(
    policy: Policy, question: str, intent: Guess | None = None, emotion: Guess | None = None
) -> Understood:
    """Intent, emotion and the rule that a question meets, with reasons a person can read."""
    reasons = []
    if rule := matching_rule(policy, question):
        reasons.append(f"hand_off.{rule}")
    if intent:
        reasons.append(f"intent {intent.label} {intent.probability:.2f}")
    if tone := matching_tone(policy, question):
        reasons.append(f"tone.{tone}")
        feels: tuple[str | None, Confidence | None] = (tone, "high")
    elif emotion:
        reasons.append(f"emotion {emotion.label} {emotion.probability:.2f}")
        feels = (emotion.label, confidence(policy.emotion, emotion))
    else:
        feels = (None, None)
    return Understood(
        intent=intent.label if intent else None,
        intent_confidence=confidence(policy.intent, intent) if intent else None,
        emotion=feels[0],
        emotion_confidence=feels[1],
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
