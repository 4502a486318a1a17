from __future__ import annotations

from pathlib import Path

import pytest

from quantize.measure.quality_plot import Point, draw, pareto
from runtime.errors import InputError, UsageError

POINTS = [Point("q8_0", 3.0, 0.004), Point("q4_0", 1.0, 0.09), Point("q5_k_m", 3.5, 0.02), Point("q4_k_m", 2.0, 0.05)]


def test_the_pareto_line_joins_files_that_none_beats_in_both() -> None:
    assert [point.name for point in pareto(POINTS)] == ["q4_0", "q4_k_m", "q8_0"]
    assert pareto([Point("a", 1.0, 0.1), Point("b", 1.0, 0.1)]) == [Point("a", 1.0, 0.1)]
    assert pareto([]) == []


def test_a_plot_names_every_file_and_repeats_to_the_byte(tmp_path: Path) -> None:
    draw(POINTS, tmp_path / "a plot.svg", title="商店 demo")
    first = (tmp_path / "a plot.svg").read_text(encoding="utf-8")
    assert first.startswith("<?xml")
    for shown in ("商店 demo", *(point.name for point in POINTS)):
        assert f">{shown}</text>" in first
    draw(POINTS, tmp_path / "a plot.svg", title="商店 demo")
    assert (tmp_path / "a plot.svg").read_text(encoding="utf-8") == first
    draw(POINTS, tmp_path / "a plot.png", title="demo")
    assert (tmp_path / "a plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_drawn_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.pdf"):
        draw(POINTS, tmp_path / "plot.pdf", title="demo")
    with pytest.raises(InputError, match="nothing to draw"):
        draw([], tmp_path / "plot.svg", title="demo")
    assert not list(tmp_path.iterdir())
