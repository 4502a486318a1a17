from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from runtime.retrieval.embedder import Embedder
from runtime.understanding.dictation_classifier import DictationClassifier, LinearBoundary

BOUNDARY = LinearBoundary(np.zeros(1, np.float32), np.ones(1, np.float32), np.ones(1, np.float32), 0.0, 0.5)


class Lengths:
    """An encoder whose only number is how long a sentence is; `meanwhile` is done while it computes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.meanwhile: list[list[str]] = []
        self.classifier: DictationClassifier | None = None

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        if self.meanwhile and self.classifier:
            self.classifier.dictated(self.meanwhile.pop())
        return np.array([[float(len(text) > 3)] for text in texts], dtype=np.float32)


def classifier(encoder: Lengths, remember: int) -> DictationClassifier:
    encoder.classifier = DictationClassifier(BOUNDARY, lambda: cast("Embedder", encoder), remember=remember)
    return encoder.classifier


def test_dictation_classifier_answers_for_more_sentences_than_it_remembers() -> None:
    encoder = Lengths()
    made = classifier(encoder, remember=2)
    sentences = ["long one", "ab", "长的一句话", "短", "another"]
    assert made.dictated(sentences) == [True, False, True, False, True]
    assert made.dictated(sentences) == [True, False, True, False, True]


def test_dictation_classifier_keeps_its_verdicts_while_others_fill_its_memory() -> None:
    """A question that pushes all sentences of another one out of memory, in the middle of it."""
    encoder = Lengths()
    made = classifier(encoder, remember=2)
    made.dictated(["long one", "ab"])
    encoder.meanwhile = [["x", "y", "z", "long too"]]
    assert made.dictated(["long one", "ab", "new sentence"]) == [True, False, True]


def test_dictation_classifier_embeds_a_remembered_sentence_once() -> None:
    encoder = Lengths()
    made = classifier(encoder, remember=10)
    for _ in range(3):
        made.dictated(["long one", "ab", "ab"])
    assert encoder.asked == ["long one", "ab"]
