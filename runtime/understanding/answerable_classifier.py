"""Whether a question is of the kind that the company's articles answer, before anything is shown as an answer.

    heads/answerable.npz    weights [d]; languages [l], means [l, d], scales [l, d], levels [l, q]; sections [s];
                            of a language that counts them: known_LANG [n, d], answers_LANG [n, a], share_LANG.
                            Read without pickle, written by distill/classifiers/answerable_training.py

A direction in the encoder's space (d its width): from questions that nobody could answer to those that an article
answered, both standardised within their language. Where held-out questions bear it out, how surely a question belongs
to one of the sections that answered earlier ones is added. A question's level is the share (0 to 1) of answerable
questions, held out of the training, that look less answerable than it; so whoever refuses below a level of .05 refuses
one in twenty answerable questions. Promises: the level depends on the question and its language alone; a damaged file
is an `IntegrityError`. It knows topics and not facts: a question about a known product whose one fact is missing
passes. What a section answers that came after the training it does not know either, so it names the sections it knew
(`knew`). Knows nothing of how it was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import IntegrityError
from runtime.text.articles import Section

FILE = "answerable.npz"
SHARPNESS = 20.0
"""Of the kernel; the intent classifier's is chosen between 10 and 40, and told no other questions apart better."""


@dataclass(frozen=True)
class KnownQuestions:
    """Kernel regression from questions to the sections that answered them, e^(sharpness × (cosine - 1))."""

    vectors: NDArray[np.float32]
    """Unit vectors [n, d] of questions that a section answered."""
    answers: NDArray[np.float32]
    """What each says for each section, [n, a]: the regression's dual weights."""
    share: float = 1.0
    """How much a question's belonging counts beside its place along the direction."""

    def belonging(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """How surely each of some questions [m, d] is one of the likeliest section, [m]: about 1 for a known one."""
        near = np.exp(SHARPNESS * (vectors @ self.vectors.T - 1))
        return np.asarray((near @ self.answers).max(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class LanguageScale:
    """What is usual in one language: mean and scale [d] of questions, rising scores [q] of held-out answerable ones."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    levels: NDArray[np.float32]
    known: KnownQuestions | None = None
    """None where belonging tells nothing more."""


@dataclass(frozen=True)
class AnswerableClassifier:
    """One bundle's."""

    weights: NDArray[np.float32]
    languages: Mapping[str, LanguageScale]
    sections: frozenset[int] | None = None
    """Digests of the sections that the company had when it was trained; None = its bundle is older than they are."""

    def knew(self, section: Section) -> bool:
        """Whether this very section was there when it was trained, so that its questions can be judged."""
        return self.sections is None or section_digest(section) in self.sections

    def score(self, vector: NDArray[np.float32], lang: str) -> float:
        """How far a question's unit vector [d] lies on the side of answered ones; larger is more answerable."""
        usual = self.languages[lang]
        score = float((vector - usual.mean) / usual.scale @ self.weights / len(self.weights))
        if usual.known is None:
            return score
        return score + usual.known.share * float(usual.known.belonging(vector[None])[0])

    def level(self, vector: NDArray[np.float32], lang: str) -> float | None:
        """The share of answerable questions that look less answerable; None for a language it does not know."""
        if lang not in self.languages:
            return None
        levels = self.languages[lang].levels
        return float(np.interp(self.score(vector, lang), levels, np.linspace(0, 1, len(levels))))


def section_digest(section: Section) -> int:
    """64 bits of a section's language, heading and text."""
    words = "\n".join((section.lang, section.heading, section.text))
    return int.from_bytes(sha256(words.encode()).digest()[:8])


def read_answerable(path: Path) -> AnswerableClassifier:
    """Read a file; `IntegrityError` when it is damaged."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            weights, means, scales, levels = (
                file[name].astype(np.float32) for name in ("weights", "means", "scales", "levels")
            )
            names = [str(name) for name in file["languages"]]
            # A branch may get new code before a new bundle.
            digests = file["sections"].astype(np.uint64) if "sections" in file else None
            sections = None if digests is None else frozenset(map(int, digests))
            known = {name: _read_known(file, name, len(weights)) for name in names}
        if not (
            means.shape == scales.shape == (len(names), len(weights)) and levels.ndim == 2 and len(levels) == len(names)
        ):
            raise ValueError(f"shapes {weights.shape}, {means.shape}, {scales.shape}, {levels.shape}")
    except Exception as error:  # numpy's, zipfile's and zlib's errors share no base class
        raise IntegrityError("not a classifier", where=str(path), hint="install the bundle again") from error
    rows = zip(names, means, scales, levels, known.values(), strict=True)
    languages = {name: LanguageScale(*row) for name, *row in rows}
    return AnswerableClassifier(weights, languages, sections)


def _read_known(file: Mapping[str, NDArray[np.float32]], lang: str, width: int) -> KnownQuestions | None:
    if f"known_{lang}" not in file:
        return None
    vectors, answers, share = (file[f"{name}_{lang}"].astype(np.float32) for name in ("known", "answers", "share"))
    if vectors.ndim != 2 or vectors.shape[1] != width or answers.ndim != 2 or len(answers) != len(vectors):
        raise ValueError(f"shapes {vectors.shape}, {answers.shape}")
    return KnownQuestions(vectors, answers, float(share))


def write_answerable(classifier: AnswerableClassifier, path: Path) -> None:
    """Write the file that `read_answerable` reads."""
    scales = list(classifier.languages.values())
    arrays = {
        "weights": classifier.weights,
        "languages": np.array(list(classifier.languages)),
        "means": np.stack([one.mean for one in scales]),
        "scales": np.stack([one.scale for one in scales]),
        "levels": np.stack([one.levels for one in scales]),
    }
    for lang, scale in classifier.languages.items():
        if scale.known is not None:
            # Half precision: the vectors come from an INT8 encoder, and the file goes to every branch.
            arrays[f"known_{lang}"] = scale.known.vectors.astype(np.float16)
            arrays[f"answers_{lang}"] = scale.known.answers.astype(np.float16)
            arrays[f"share_{lang}"] = np.array(scale.known.share, dtype=np.float32)
    if classifier.sections is not None:
        arrays["sections"] = np.array(sorted(classifier.sections), dtype=np.uint64)
    np.savez(path, allow_pickle=False, **arrays)
