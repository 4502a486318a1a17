"""A picture of measured files: how far each strays from f32 against how long it makes an agent wait.

The line joins the files that no other one beats in both (the Pareto line). Drawn by matplotlib, as SVG or PNG by the
name's ending. Knows nothing of how files were measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runtime.base.files import new_file
from runtime.errors import InputError, UsageError

ENDINGS = (".svg", ".png")


class Point(NamedTuple):
    """One file."""

    name: str
    wait_s: float
    kl: float


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that none beats in both wait and KL, the soonest first (pure); of two equal ones the first."""
    out: list[Point] = []
    for point in sorted(points, key=lambda one: (one.wait_s, one.kl)):
        if not out or point.kl < out[-1].kl:
            out.append(point)
    return out


def check_ending(out: Path) -> None:
    """`UsageError` for a name that is no picture's."""
    if out.suffix not in ENDINGS:
        raise UsageError(
            f"no picture of the kind '{out.suffix}'", where=str(out), hint=f"a name that ends in {' or '.join(ENDINGS)}"
        )


def draw(points: Sequence[Point], out: Path, *, title: str) -> None:
    """Write the picture; `UsageError` for another ending, `InputError` without a file that was timed."""
    check_ending(out)
    if not points:
        raise InputError("no file was timed, so there is nothing to draw", where=str(out), hint="measure speeds, too")
    # Not at the top: it takes half a second, and other commands need none of it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    line = pareto(points)
    axes.plot([one.wait_s for one in line], [one.kl for one in line], color="tab:blue", label="none is better in both")
    axes.scatter([one.wait_s for one in points], [one.kl for one in points], color="black", zorder=3)
    for point in points:
        axes.annotate(point.name, (point.wait_s, point.kl), xytext=(5, 4), textcoords="offset points")
    axes.set_xlabel("seconds to the first word")
    axes.set_ylabel("KL to f32, nats a token")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.legend(loc="upper right")
    # Text stays text, which a browser sets in a font that has it. Without date and salt the same figures repeat a file.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "edgedesk"}
    with new_file(out) as partial, mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(partial, format=out.suffix[1:], metadata={"Date": None} if out.suffix == ".svg" else None)
