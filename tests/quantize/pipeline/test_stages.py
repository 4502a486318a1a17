from __future__ import annotations

from pathlib import Path

from quantize.pipeline.stages import Calibration


def test_a_file_is_checked_on_texts_that_it_was_not_rounded_by() -> None:
    texts = [[n, n + 1, n + 2, n + 3] for n in range(17)]
    known, _, checked = Calibration(Path("checkpoint"), [*texts, [5]]).halves()
    assert [list(sample.tokens) for sample in checked] == [texts[0], texts[8], texts[16]]
    assert {sample.reply for sample in checked} == {2}
    assert not {tuple(text) for text in known} & {sample.tokens for sample in checked}
    assert len(known) == 14


def test_replies_are_checked_and_rounded_by_where_they_begin() -> None:
    texts, starts = [[n, n + 1, n + 2, n + 3] for n in range(9)], [1, 2, 3, 1, 2, 3, 1, 2, 3]
    known, begun, checked = Calibration(Path("checkpoint"), texts, starts).halves()
    assert [sample.reply for sample in checked] == [1, 3]
    assert list(zip(known, begun, strict=True)) == list(zip(texts[1:8], starts[1:8], strict=True))


def test_a_single_text_serves_for_both() -> None:
    known, _, checked = Calibration(Path("checkpoint"), [[1, 2, 3]]).halves()
    assert known == [[1, 2, 3]]
    assert [sample.tokens for sample in checked] == [(1, 2, 3)]
