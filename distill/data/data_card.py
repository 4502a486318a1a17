"""The data card: what records are made of, as Markdown and as one HTML page with plots.

Shows counts, reasons, places and hashes, and no text of a customer's. Promises: everything shown is in the report; the
page loads nothing from elsewhere. Knows nothing of how records are made.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.base.files import write_atomic

MARKDOWN, PAGE = "card.md", "card.html"
_MOST_ROWS = 40
_PLOTTED = (
    ("by_split", "Records by split"),
    ("by_lang", "Records by language"),
    ("by_source", "Records by source"),
    ("by_intent", "Records by intent"),
    ("by_emotion", "Records by emotion"),
    ("by_label", "Labelled questions without a reply"),
    ("redactions", "Values replaced by placeholders"),
)
_LENGTHS = (("query", "Characters of questions"), ("response", "Characters of replies"))
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left}
td.n{text-align:right}figure{display:inline-block;margin:.5rem}svg{max-width:28rem;height:auto}code{font-size:.85em}
"""


def write_card(folder: Path, report: Mapping[str, Any], title: str) -> None:
    """Write card.md and card.html into a folder of records, from its report."""
    write_atomic(folder / MARKDOWN, card_markdown(report, title))
    write_atomic(folder / PAGE, card_page(report, title))


def card_tables(report: Mapping[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """Title → rows, the first being the header; empty tables are left out."""
    stages = [
        ("rows of conversations read", report["conversations"]),
        ("rows refused", report["refused_count"]),
        ("questions", report["read"]),
        ("without a reply", report["without_reply"]),
        ("exact duplicates", report["duplicates"]),
        ("dropped by a step", sum(report["dropped"].values())),
        ("other ways to ask, made for small intents", report["made"]),
        ("kept", report["kept"]),
        ("labelled questions without a reply", report["labelled"]),
        ("not answerable from the articles", report["not_answerable"]),
        ("held-out records compared with training", report["compared_for_leaks"]),
    ]
    tables: dict[str, list[tuple[str, ...]]] = {
        "Stages": [("stage", "count"), *((name, f"{count:,}") for name, count in stages)]
    }
    files = report.get("files") or []
    if files:
        keys = ("form", "rows", "used_rows", "skipped_rows", "refused_rows", "conversations")
        tables["Files"] = [
            ("file", *keys, "SHA-256"),
            *((Path(row["file"]).name, *(str(row[key]) for key in keys), row["sha256"][:16]) for row in files),
        ]
        skipped = [(Path(row["file"]).name, reason, str(n)) for row in files for reason, n in row["skipped"].items()]
        tables["Left out on purpose"] = [("file", "reason", "messages"), *skipped]
    for key, name in (("refused_reasons", "Refused"), ("dropped", "Dropped")):
        tables[name] = [("reason", "count"), *((reason, f"{count:,}") for reason, count in report[key].items())]
    for key, name in _PLOTTED:
        ordered = sorted(report[key].items(), key=lambda each: -each[1])
        tables[name] = [(key.removeprefix("by_"), "count"), *((each, f"{count:,}") for each, count in ordered)]
    for key, name in _LENGTHS:
        tables[name] = [("under", "count"), *((bound, f"{n:,}") for bound, n in report["characters"][key].items())]
    return {name: rows for name, rows in tables.items() if len(rows) > 1}


def card_markdown(report: Mapping[str, Any], title: str) -> str:
    """The card as Markdown."""
    parts = [f"# {_cell(title)}", ""]
    for name, rows in card_tables(report).items():
        parts += [f"## {name}", "", _line(rows[0]), f"|{' --- |' * len(rows[0])}"]
        parts += [*map(_line, rows[1 : _MOST_ROWS + 1]), ""]
        if len(rows) > _MOST_ROWS + 1:
            parts[-1:] = ["", f"… and {len(rows) - _MOST_ROWS - 1} more.", ""]
    return "\n".join(parts)


def card_page(report: Mapping[str, Any], title: str) -> str:
    """The card as one page; plots are drawings in it."""
    shown = html.escape(title)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>{shown}</title><style>{_STYLE}</style><h1>{shown}</h1>",
    ]
    for key, name in _PLOTTED:
        counts = dict(sorted(report[key].items(), key=lambda each: -each[1])[:12])
        parts += [f"<figure>{_bars(counts, name)}</figure>"] if counts else []
    for key, name in _LENGTHS:
        parts.append(f"<figure>{_bars(report['characters'][key], name)}</figure>")
    for name, rows in card_tables(report).items():
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
        parts.append(f"<h2>{html.escape(name)}</h2><table><tr>{head}</tr>{body}</table>")
    return "\n".join([*parts, "</html>", ""])


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _bars(counts: Mapping[str, int], title: str) -> str:
    """Horizontal bars as SVG: drawn here, since a plotting library takes longer to load than records to make."""
    most = max(counts.values(), default=0) or 1
    height = 30 + 20 * len(counts)
    bars = []
    for place, (name, count) in enumerate(counts.items()):
        top = 26 + 20 * place
        bars.append(
            f'<text x="150" y="{top + 12}" text-anchor="end">{html.escape(name[:24])}</text>'
            f'<rect x="156" y="{top}" width="{200 * count / most:.1f}" height="15" fill="#4477aa"/>'
            f'<text x="{162 + 200 * count / most:.1f}" y="{top + 12}">{count:,}</text>'
        )
    return (
        f'<svg viewBox="0 0 440 {height}" width="440" role="img" font-size="12" font-family="sans-serif">'
        f'<text x="0" y="15" font-weight="bold">{html.escape(title)}</text>{"".join(bars)}</svg>'
    )
