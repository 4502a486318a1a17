"""The file of the classifier of answerable questions, as older and newer builds write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.text.articles import Section
from runtime.understanding.answerable_classifier import (
    FILE,
    AnswerableClassifier,
    LanguageScale,
    read_answerable,
    section_digest,
    write_answerable,
)

OLD = Section("returns", "cost", "Returns", "Cost", "A return costs €4.90.", "en")
NEW = Section("returns", "cost", "Returns", "Cost", "A return costs €5.90.", "en")


@pytest.mark.parametrize(
    ("sections", "knew_new"),
    [(frozenset({section_digest(OLD)}), False), (None, True)],
    ids=["names its sections", "of an older bundle, which names none"],
)
def test_file_of_an_older_bundle_is_read_and_judges_every_section(
    sections: frozenset[int] | None, knew_new: bool, tmp_path: Path
) -> None:
    row = np.ones(4, dtype=np.float32)
    scale = LanguageScale(row * 0, row, np.linspace(0, 1, 5).astype(np.float32))
    write_answerable(AnswerableClassifier(row, {"en": scale, "zh": scale}, sections), tmp_path / FILE)
    with np.load(tmp_path / FILE, allow_pickle=False) as file:
        assert ("sections" in file) == (sections is not None)
    read = read_answerable(tmp_path / FILE)
    assert read.sections == sections
    assert read.knew(OLD)
    assert read.knew(NEW) == knew_new
    assert read.level(row, "zh") == 1.0
