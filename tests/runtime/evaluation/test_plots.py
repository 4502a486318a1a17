from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from runtime.evaluation.plots import plot_metric
from tests.support.paths import ROOT

NAMES = ["teacher", "学生 q4_k_m", "$\\frac{ & <b>\x1b[31m"]


def texts(picture: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(picture.replace("xlink:", "")).iter("text")]


def test_plot_names_every_model_and_states_its_value() -> None:
    values = {name: 0.25 * (place + 1) for place, name in enumerate(NAMES)}
    picture = plot_metric(values, {NAMES[0]: [0.1, 0.4], NAMES[1]: None, NAMES[2]: [0.7, 0.8]}, NAMES)
    written = texts(picture)
    for text in ("teacher", "学生 q4_k_m", "$\\frac{ & <b>[31m", "0.250", "0.500", "0.750"):
        assert text in written
    assert picture == plot_metric(values, {NAMES[0]: [0.1, 0.4], NAMES[1]: None, NAMES[2]: [0.7, 0.8]}, NAMES)


def test_plot_axis_reaches_past_the_largest_value() -> None:
    assert "40" in texts(plot_metric({"a": 37.5}, {"a": [20.0, 44.0]}, ["a"]))


def test_matplotlib_keeps_no_cache_in_the_home_folder(tmp_path: Path) -> None:
    program = "from runtime.evaluation.plots import plot_metric; print(plot_metric({'a': 0.5}, {'a': None}, ['a'])[:4])"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**env, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, list(tmp_path.iterdir())) == ("<svg\n", []), done.stderr
