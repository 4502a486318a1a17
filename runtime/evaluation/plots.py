"""Draws a metric of several models, with its intervals, as an SVG that stands inside an HTML page.

Promises: the picture holds no script and fetches nothing; text stays text, set in the reader's own font, and a model's
name is drawn as it is written. The same values give the same picture. matplotlib is loaded when a plot is asked for:
a branch does not have it, and `MissingError` says what to install. Its caches go to a temporary folder, none into the
user's home. Knows nothing of what the metric means.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from types import ModuleType

from runtime.errors import MissingError

_COLOURS = ("#2f6db5", "#c4622d", "#3c8d5a", "#7a4fa3", "#a08420", "#4a8f9c")
_GREY = "#888888"
"""Of text and axes: readable on a light and on a dark page."""
_WIDTH_IN, _ROW_IN, _AXIS_IN = 5.4, 0.24, 0.35
"""Inches: the plot's width, a model's row, the axis below."""
_STYLE = {
    "svg.fonttype": "none",  # text as text: small, searchable, and no font is embedded
    "svg.hashsalt": "edgedesk",  # else the ids in the picture are random
    "text.parse_math": False,  # "$" in a model's name is no formula
    "font.size": 9,
}


def require_plots() -> None:
    """`MissingError` where matplotlib is not installed: said before a long run, not at its end."""
    _matplotlib()


def plot_metric(
    values: Mapping[str, float], intervals: Mapping[str, Sequence[float] | None], names: Sequence[str]
) -> str:
    """`<svg>…</svg>`: a point for each model, its interval [low, high] as a line; from 0 to 1, or past the largest.

    `names` are all models of the page, so that each has the same colour in every plot.
    """
    mpl = _matplotlib()
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE}), warnings.catch_warnings():
        # matplotlib measures text with its own font, which has no Chinese; the reader's browser has.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(_WIDTH_IN, _ROW_IN * len(values) + _AXIS_IN), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        rows = range(len(values))
        for row, (name, value) in zip(rows, values.items(), strict=True):
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            if interval := intervals[name]:
                axes.plot(interval, (row, row), color=colour, linewidth=3, alpha=0.6)
            axes.plot(value, row, marker="o", color=colour)
            axes.annotate(
                f"{value:.3f}", (1, row), (6, 0), ("axes fraction", "data"), "offset points", color=_GREY, va="center"
            )
        axes.set_yticks(list(rows), [_printable(name) for name in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_xlim(0, max(1.0, *(max(value, *(intervals[name] or (0,))) for name, value in values.items())) * 1.02)
        axes.tick_params(colors=_GREY, length=0)
        axes.grid(axis="x", color=_GREY, alpha=0.3)
        axes.spines[:].set_visible(False)
        picture = io.StringIO()
        figure.savefig(
            picture, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = picture.getvalue()
    # An HTML page takes the element alone: no XML declaration, no document type, no namespaces.
    label = escape(", ".join(f"{_printable(name)} {value:.3f}" for name, value in values.items()))
    element = re.sub(r"^<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg \1>", text[text.index("<svg") :].strip())
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


@cache
def _matplotlib() -> ModuleType:
    """Imported with its configuration folder in a place that is deleted again: the list of fonts stays in memory."""
    before = os.environ.get("MPLCONFIGDIR")
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MPLCONFIGDIR"] = folder
            import matplotlib as mpl
            import matplotlib.font_manager
    except ImportError:
        raise MissingError(
            "plots are drawn by matplotlib, which is not installed", hint="pip install 'edgedesk[build]'"
        ) from None
    finally:
        if before is None:
            os.environ.pop("MPLCONFIGDIR", None)
        else:
            os.environ["MPLCONFIGDIR"] = before
    return mpl
