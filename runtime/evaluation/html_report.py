"""An evaluation as one self-contained HTML page: no script, no font, no picture from elsewhere.

It compares models side by side, with intervals and significant differences to the first, a plot of every metric
(`runtime.evaluation.plots`), intents with the worst first, and the answers. Promises: whatever a question or an answer
contains is shown as text. Knows only the JSON of `runtime.evaluation.answer_metrics.evaluation`, and what a build adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from runtime.evaluation.answer_metrics import FIGURES, Metric
from runtime.evaluation.plots import plot_metric

SHOWN_INTENTS = 40
SHOWN_ANSWERS = 200
LEAST_FOR_A_RANGE = 5
"""Questions below which an interval says nothing."""
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 74rem; margin: 2rem auto 4rem; padding: 0 1.2rem }
h1 { margin-bottom: .2rem } h2 { margin: 2.4rem 0 .4rem; border-bottom: 2px solid #8886; padding-bottom: .2rem }
p { max-width: 52rem }
table { border-collapse: collapse; margin: .6rem 0 1rem; display: block; overflow-x: auto }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8883; text-align: right; vertical-align: top }
thead th { border-bottom: 2px solid #8886 }
th:first-child, td:first-child, td.text { text-align: left }
td.text { min-width: 24rem; overflow-wrap: anywhere }
small { color: #888; white-space: nowrap; font-weight: normal }
em { font-style: normal; font-size: .8em; padding: 0 .4em; border-radius: .6em; border: 1px solid; white-space: nowrap }
em.better { color: #2c8a4f } em.worse { color: #c0392b }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); gap: 1.2rem 2rem }
figure { margin: 0 } figcaption { font-weight: 600 } figcaption small { display: block; white-space: normal }
svg { width: 100%; height: auto }
svg text { font-family: system-ui, sans-serif !important }
details { margin: .2rem 0 } summary { cursor: pointer }
"""


def render(title: str, evaluation: Mapping[str, Any]) -> str:
    """The page; `evaluation` may also hold `retrieval` by language, and `classifiers` by kind."""
    models = evaluation["models"]
    names = list(models)
    parts = [f"<h1>{_text(title)}: answers to held-out questions</h1>"]
    if names:
        asked = models[names[0]]["questions"]
        about = f"{asked} questions that no model was trained on, asked of {len(names)} models."
        parts += [
            f"<p>{about} Small print: 95 % bootstrap intervals over the questions.</p>",
            "<h2>Side by side</h2>",
            _comparison(evaluation, names),
            _legend(names),
            "<h2>Plots</h2>",
            '<div class="plots">',
            *(_figure(figure, evaluation, names) for figure in FIGURES if _measured(figure, models)),
            "</div>",
        ]
    else:
        parts += ["<p>No question was asked of a model.</p>"]
    if retrieval := evaluation.get("retrieval"):
        parts += ["<h2>Retrieval</h2>", "<p>Whether the section that answers is among the first found.</p>"]
        columns = list(next(iter(retrieval.values())))
        parts += [_table(["language", *columns], [[lang, *row.values()] for lang, row in retrieval.items()])]
    if classifiers := evaluation.get("classifiers"):
        parts += ["<h2>Understanding</h2>", "<p>Intent and emotion classifiers on held-out questions. ECE is the gap"]
        parts += ["between their confidence and their accuracy.</p>", _classifier_table(classifiers)]
    if names:
        parts += [
            "<h2>By intent, worst first</h2>",
            "<p>Mean share of the facts found, and of refusals where nothing answers, by the mean of all models.</p>",
            _intents(evaluation["intents"], names),
            "<h2>Answers, worst first</h2>",
            *_answers(evaluation["answers"], names),
        ]
    return _page(title, parts)


def _measured(figure: Metric, models: Mapping[str, Any]) -> bool:
    return any(row[figure.name] is not None for row in models.values())


def _comparison(evaluation: Mapping[str, Any], names: Sequence[str]) -> str:
    models, spreads = evaluation["models"], evaluation["intervals"]
    rows: list[list[Any]] = []
    for figure in FIGURES:
        if _measured(figure, models):
            cells = [
                _Raw(
                    _with_range(models[name][figure.name], spreads[name][figure.name])
                    + _told(figure, evaluation["differences"].get(name, {}).get(figure.name))
                )
                for name in names
            ]
            rows.append(
                [_Raw(f"<th>{figure.name.replace('_', ' ')} <small>{_text(figure.about)}</small></th>"), *cells]
            )
    return _table(["", *names], rows)


def _told(figure: Metric, difference: Sequence[float] | None) -> str:
    """Whether the questions can tell a model from the first: its paired interval leaves 0 out."""
    if not difference or difference[1] <= 0 <= difference[2]:
        return ""
    word = "better" if (difference[0] > 0) == figure.high else "worse"
    return f' <em class="{word}">{word} by {abs(difference[0]):.3f}</em>'


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    return (
        f"<p>Better and worse: than {_text(names[0])}, on the same questions, where the paired interval of the"
        " difference leaves 0 out. Without a word the questions cannot tell them apart.</p>"
    )


def _classifier_table(classifiers: Mapping[str, Mapping[str, Any]]) -> str:
    keys = ("labels", "examples", "tested", "accuracy", "macro_f1", "ece")
    rows = [[name, *(row.get(key, "–") for key in keys)] for name, row in classifiers.items()]
    return _table(["", *(key.replace("_", " ") for key in keys)], rows)


def _intents(intents: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str]) -> str:
    by_name = {name: {row["intent"]: row for row in intents[name]} for name in names}
    mean = {intent: sum(by_name[name][intent]["right"] for name in names) for intent in by_name[names[0]]}
    rows = []
    for intent in sorted(mean, key=lambda intent: (mean[intent], intent))[:SHOWN_INTENTS]:
        found = [by_name[name][intent] for name in names]
        told = found[0]["questions"] >= LEAST_FOR_A_RANGE
        cells = [
            _Raw(_shaded(row["right"], _with_range(row["right"], row["interval"] if told else None))) for row in found
        ]
        rows.append([intent, found[0]["questions"], *cells])
    return _table(["intent", "questions", *names], rows)


def _shaded(share: float, inner: str) -> str:
    return f'<td style="background: rgb(192 57 43 / {0.45 * (1 - min(max(share, 0), 1)):.2f})">{inner}</td>'


def _answers(answers: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str]) -> list[str]:
    """A fold a question, what each model says in it; the worst first."""
    asked = list(zip(*(answers[name] for name in names), strict=True))
    asked.sort(key=lambda rows: (sum(row["facts"] for row in rows), rows[0]["id"]))
    out = []
    for rows in asked[:SHOWN_ANSWERS]:
        mean = sum(row["facts"] for row in rows) / len(rows)
        said = [
            [
                name,
                _number(row["facts"]),
                _Raw(f'<td class="text">{_text(row["answer"])}</td>'),
                ", ".join(row["unsupported"]),
            ]
            for name, row in zip(names, rows, strict=True)
        ]
        asks = f"{mean:.2f} {_text(rows[0]['question'])} <small>{_text(rows[0]['intent'])}</small>"
        out.append(
            f"<details><summary>{asks}</summary>"
            + _table(["", "facts", "answer", "figures no article has"], said)
            + "</details>"
        )
    return out


def _figure(figure: Metric, evaluation: Mapping[str, Any], names: Sequence[str]) -> str:
    models = evaluation["models"]
    values = {name: models[name][figure.name] for name in names if models[name][figure.name] is not None}
    intervals = {name: evaluation["intervals"][name][figure.name] for name in values}
    better = "more is better" if figure.high else "less is better"
    about = f"{figure.name.replace('_', ' ')} <small>{_text(figure.about)}; {better}</small>"
    return f"<figure><figcaption>{about}</figcaption>{plot_metric(values, intervals, names)}</figure>"


class _Raw(str):
    """Markup of our own, not to be escaped."""

    __slots__ = ()


def _table(head: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(cell: Any) -> str:
    if isinstance(cell, _Raw):
        return cell if cell.startswith(("<td", "<th")) else f"<td>{cell}</td>"
    return f"<td>{_text(cell)}</td>"


def _text(value: Any) -> str:
    """Escaped, and without the characters that turn or hide what stands beside them."""
    return escape("".join(char for char in str(value) if char.isprintable() or char in "\n\t"))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_range(value: float | None, bounds: Sequence[float] | None) -> str:
    spread = "" if bounds is None else f" <small>{bounds[0]:.2f} to {bounds[1]:.2f}</small>"
    return _number(value) + spread


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
