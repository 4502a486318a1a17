"""What the desk asks besides the model: intent, emotion, dictation, answerable; whatever a bundle carries of them.

    heads/    intent.npz, emotion.npz, dictation.npz, answerable.npz; each may be missing

Knows nothing of what the desk does with their verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.retrieval.embedder import Embedder
from runtime.understanding.answerable_classifier import FILE as ANSWERABLE
from runtime.understanding.answerable_classifier import AnswerableClassifier, read_answerable
from runtime.understanding.dictation_classifier import DictationClassifier
from runtime.understanding.linear_classifier import FOLDER, LinearClassifier, load_classifiers


def _no_boundary() -> DictationClassifier:
    def never() -> Embedder:
        raise AssertionError("without a boundary nothing is embedded")

    return DictationClassifier(None, never)


@dataclass(frozen=True)
class DeskClassifiers:
    """The classifiers of one bundle; without arguments, of a bundle that carries none."""

    kinds: Mapping[str, LinearClassifier] = field(default_factory=dict)
    """`intent`, `emotion`."""
    dictation: DictationClassifier = field(default_factory=_no_boundary)
    answerable: AnswerableClassifier | None = None

    @classmethod
    def of_bundle(cls, root: Path, embedder: Embedder) -> DeskClassifiers:
        """Those in a bundle's folder `root`; `IntegrityError` when a file is damaged."""
        return cls.open(root / FOLDER, embedder)

    @classmethod
    def open(cls, folder: Path, embedder: Embedder) -> DeskClassifiers:
        """Those in a folder of classifiers; `IntegrityError` when a file is damaged."""
        answerable = folder / ANSWERABLE
        return cls(
            load_classifiers(folder),
            DictationClassifier.open(folder, embedder),
            read_answerable(answerable) if answerable.is_file() else None,
        )

    @property
    def embed_question(self) -> bool:
        """Whether any of them needs the question's vector."""
        return bool(self.kinds) or self.answerable is not None
