"""What is told of models on the hub agrees with itself: sizes with names, families with students."""

from __future__ import annotations

import re

import pytest

from distill.models.known_bases import KnownBase, known_bases
from quantize.formats.checkpoint import read_shape
from runtime.errors import ModelError


def buildable() -> list[KnownBase]:
    found = []
    for base in known_bases():
        try:
            read_shape(base.config)
        except ModelError:
            continue
        found.append(base)
    return found


@pytest.mark.parametrize("base", buildable(), ids=lambda base: base.name)
def test_known_base_has_the_parameters_that_its_name_says(base: KnownBase) -> None:
    said = float(re.search(r"(\d+(?:\.\d+)?)[Bb]\b", base.name)[1])  # type: ignore[index]
    billions = read_shape(base.config).parameters / 1e9
    # "2b" is a name for 2.53 billion; no other is off by a fifth.
    assert billions == pytest.approx(said, rel=0.3 if "granite" in base.name else 0.25)
    assert billions < 5 if base.use == "student" else 5 < billions < 15


def test_known_teachers_each_have_a_student_of_their_vocabulary() -> None:
    students = {base.vocabulary for base in buildable() if base.use == "student"}
    teachers = [base for base in known_bases() if base.use == "teacher"]
    assert teachers
    assert {base.vocabulary for base in teachers} <= students


def test_known_base_whose_positions_are_stretched_or_windowed_composes_no_articles() -> None:
    plain = buildable()[0]
    assert plain.composes
    for change in (
        {"rope_scaling": {"type": "longrope"}},
        {"rope_scaling": {"rope_type": "yarn"}},
        {"use_sliding_window": True},
    ):
        assert not plain.model_copy(update={"config": plain.config | change}).composes
