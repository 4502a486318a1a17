"""Receipts and labels are read in both languages, in a process that takes its memory with it."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from benchmarks._receipt_pictures import ORDER_NUMBER, SANS_SC, degrade, draw, encoded, make_label, make_receipt
from runtime.errors import InputError, MissingError
from runtime.perception import picture_reader
from runtime.perception.attachment import attach
from runtime.perception.attachment_text import MAX_CHARS, MAX_LINES
from runtime.perception.bounded_child import ChildLimits
from runtime.perception.perceive import perceive
from runtime.perception.picture_reader import read_picture
from runtime.text.personal_data import PersonalRules

RULES = PersonalRules(order_number=(ORDER_NUMBER,))


def test_picture_of_an_english_receipt_is_read_with_its_fields_where_they_stand() -> None:
    slip = make_receipt(random.Random(1), "en")
    read = perceive(attach(encoded(draw(slip, SANS_SC)), "receipt.png"), RULES)
    assert read.text.split() == slip.text.split()
    assert {(one.kind, one.value) for one in read.entities} >= {
        (kind, value) for kind, values in slip.fields.items() for value in values
    }
    tops = [line.box.top for line in read.lines if line.box]
    assert tops == sorted(tops)
    assert len(tops) == len(read.lines)
    assert not read.cut


def test_picture_of_a_chinese_label_on_its_side_is_turned_and_read() -> None:
    slip = make_label(random.Random(3), "zh")
    page = degrade(draw(slip, SANS_SC), random.Random(5)).rotate(90, expand=True)
    read = perceive(attach(encoded(page, "JPEG"), "标签.jpg"), RULES)
    assert {(one.kind, one.value) for one in read.entities} >= {
        (kind, value) for kind, values in slip.fields.items() for value in values
    }
    assert slip.rows[1][0] in read.text


def test_picture_full_of_text_is_read_within_bounds() -> None:
    page = Image.new("RGB", (1000, 1000), "white")
    line = draw(make_receipt(random.Random(1), "zh"), SANS_SC, 12)
    for x in range(0, 1000, 320):
        for y in range(0, 1000, 110):
            page.paste(line.crop((30, 36, 350, 136)), (x, y))
    read = read_picture(attach(encoded(page)), RULES)
    assert len(read.lines) <= MAX_LINES
    assert len(read.text) <= MAX_CHARS
    assert "北光电器" in read.text


def test_picture_without_text_is_said_to_have_none() -> None:
    with pytest.raises(InputError, match="no text was found") as caught:
        perceive(attach(encoded(Image.new("RGB", (300, 200), "white")), "wall.png"), RULES)
    assert "better light" in caught.value.hint


def test_picture_bomb_ends_in_its_process_and_is_one_sentence() -> None:
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG", optimize=True)
    assert len(out.getvalue()) < 20_000
    with pytest.raises(InputError, match=r"bomb\.png: 9,000 × 9,000 pixels are more than"):
        read_picture(attach(out.getvalue(), "bomb.png"), RULES)


def test_picture_that_needs_more_than_the_bound_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def tight(**limits: float) -> ChildLimits:
        return ChildLimits(wall_s=60, memory_mib=120, threads=int(limits["threads"]))

    monkeypatch.setattr(picture_reader, "ChildLimits", tight)
    out = io.BytesIO()
    Image.new("RGB", (6000, 7000), "white").save(out, "PNG")
    with pytest.raises(InputError, match=r"large\.png: (reading it needs too much memory|it cannot be read)"):
        read_picture(attach(out.getvalue(), "large.png"), RULES)


def test_recording_is_not_taken_for_a_picture() -> None:
    with pytest.raises(InputError, match="a recording, not a picture"):
        perceive(attach(b"fLaC\0", "question.flac"), RULES)


def test_branch_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.perception.bounded_child.find_spec", lambda _: None)
    with pytest.raises(MissingError, match="reading pictures needs the extra 'perception'") as caught:
        perceive(attach(b"\x89PNG\r\n\x1a\n", "receipt.png"), RULES)
    assert "pip install 'edgedesk[perception]'" in caught.value.hint
