"""An evaluation as one HTML page that stands alone: no script, no font, no picture from elsewhere.

Tables with intervals, a plot of every figure (inline SVG), intents worst first, and the answers themselves. Promises:
whatever a question or an answer contains is shown as text. Knows only the JSON of `runtime.answer_figures.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from runtime.answer_figures import FIGURES

SHOWN_INTENTS = 30
SHOWN_ANSWERS = 200
_COLOURS = ("#2f6db5", "#c4622d", "#3c8d5a", "#7a4fa3", "#a08420", "#4a8f9c")
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 66rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .6rem 0 1.6rem; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8886; text-align: right; vertical-align: top }
th:first-child, td:first-child, td.text { text-align: left }
td.text { max-width: 30rem; overflow-wrap: anywhere }
small { color: #888; white-space: nowrap }
svg { max-width: 100%; height: auto; margin: .2rem 0 1.2rem }
svg text { font: 13px system-ui, sans-serif; fill: currentColor }
"""
_WIDTH, _LEFT, _ROW = 720, 190, 24
"""Pixels of a plot: its width, what the names take, the height of a model's row."""


def render(title: str, evaluation: Mapping[str, Any]) -> str:
    """The page; `evaluation` may also hold `retrieval` by language."""
    models = evaluation["models"]
    names = list(models)
    parts = [f"<h1>{_text(title)}: answers to held-out questions</h1>"]
    if retrieval := evaluation.get("retrieval"):
        columns = list(next(iter(retrieval.values())))
        parts += [
            "<h2>Retrieval</h2>",
            _table(["language", *columns], [[lang, *row.values()] for lang, row in retrieval.items()]),
        ]
    if not names:
        return _page(title, [*parts, "<p>No question was asked of a model.</p>"])
    parts += [
        "<h2>Side by side</h2>",
        "<p>With 95% bootstrap intervals over the questions.</p>",
        _comparison(evaluation),
    ]
    if evaluation["differences"]:
        parts += [f"<h2>Difference to {_text(names[0])}</h2>", _differences(evaluation["differences"])]
    parts += ["<h2>Plots</h2>"]
    for figure in FIGURES:
        values = {name: models[name][figure.name] for name in names if models[name][figure.name] is not None}
        if values:
            spread = {name: evaluation["intervals"][name][figure.name] for name in values}
            better = "more is better" if figure.high else "less is better"
            parts += [
                f"<h3>{figure.name.replace('_', ' ')} <small>{_text(figure.about)}; {better}</small></h3>",
                _plot(values, spread, names),
            ]
    for name in names:
        rows = evaluation["intents"][name]
        parts += [
            f"<h2>{_text(name)}: by intent, worst first</h2>",
            _table(
                ["intent", "questions", "right", "interval"],
                [
                    [r["intent"], r["questions"], _number(r["right"]), _range(r["interval"])]
                    for r in rows[:SHOWN_INTENTS]
                ],
            ),
        ]
    parts += ["<h2>Answers</h2>", *(_answers(name, evaluation["answers"][name]) for name in names)]
    return _page(title, parts)


def _comparison(evaluation: Mapping[str, Any]) -> str:
    models, spreads = evaluation["models"], evaluation["intervals"]
    rows: list[list[Any]] = [["questions", *(row["questions"] for row in models.values())]]
    for figure in FIGURES:
        if any(row[figure.name] is not None for row in models.values()):
            cells = [_Raw(_with_range(row[figure.name], spreads[name][figure.name])) for name, row in models.items()]
            rows.append([figure.name.replace("_", " "), *cells])
    return _table(["", *models], rows)


def _differences(differences: Mapping[str, Any]) -> str:
    rows = []
    for figure in FIGURES:
        if any(row[figure.name] for row in differences.values()):
            cells = [
                _Raw(f"{row[figure.name][0]:+.3f} <small>{_range(row[figure.name][1:])}</small>")
                if row[figure.name]
                else "–"
                for row in differences.values()
            ]
            rows.append([figure.name.replace("_", " "), *cells])
    return _table(["", *differences], rows)


def _answers(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    worst = sorted(rows, key=lambda row: (row["facts"], row["id"]))
    cells = [
        [
            _number(row["facts"]),
            _Raw(f'<td class="text">{_text(row["question"])}</td>'),
            _Raw(f'<td class="text">{_text(row["answer"])}</td>'),
            ", ".join(row["unsupported"]),
        ]
        for row in worst[:SHOWN_ANSWERS]
    ]
    return (
        f"<details><summary>{_text(name)}: answers, worst first</summary>"
        + _table(["facts", "question", "answer", "figures no article has"], cells)
        + "</details>"
    )


def _plot(values: Mapping[str, float], spread: Mapping[str, Sequence[float] | None], names: Sequence[str]) -> str:
    """One bar a model, with its interval as a line; the axis ends at 1, or past the largest value."""
    most = max(1.0, *(max(value, *(spread[name] or (0,))) for name, value in values.items()))
    scale = (_WIDTH - _LEFT - 60) / most
    height = _ROW * len(values) + 6
    label = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    out = [f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" aria-label="{_text(label)}">']
    for place, (name, value) in enumerate(values.items()):
        top = _ROW * place + 4
        colour = _COLOURS[names.index(name) % len(_COLOURS)]
        out += [
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{_text(name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{value * scale:.1f}" height="{_ROW - 8}" fill="{colour}"/>',
        ]
        end = value
        if bounds := spread[name]:
            low, high = bounds
            end = max(value, high)
            middle = top + (_ROW - 8) / 2
            out.append(
                f'<line x1="{_LEFT + low * scale:.1f}" x2="{_LEFT + high * scale:.1f}" y1="{middle}" y2="{middle}"'
                ' stroke="currentColor" stroke-width="2"/>'
            )
        out.append(f'<text x="{_LEFT + end * scale + 6:.1f}" y="{top + 13}">{value:.3g}</text>')
    return "".join([*out, "</svg>"])


class _Raw(str):
    """Markup of our own, not to be escaped."""

    __slots__ = ()


def _table(head: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(cell: Any) -> str:
    if isinstance(cell, _Raw):
        return cell if cell.startswith("<td") else f"<td>{cell}</td>"
    return f"<td>{_text(cell)}</td>"


def _text(value: Any) -> str:
    """Escaped, and without the characters that turn or hide what stands beside them."""
    return escape("".join(char for char in str(value) if char.isprintable() or char in "\n\t"))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _range(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _with_range(value: float | None, bounds: Sequence[float] | None) -> str:
    return f"{_number(value)} <small>{_range(bounds)}</small>"


def _page(title: str, parts: Iterable[str]) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
