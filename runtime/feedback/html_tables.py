"""HTML pages of tables that need nothing from elsewhere: no script, no font, no picture. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 80rem; margin: 2rem auto 4rem; padding: 0 1.2rem }
h2 { margin: 2.2rem 0 .4rem; border-bottom: 2px solid #8886 }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8883; text-align: right; vertical-align: top }
th:first-child, td:first-child, td.text { text-align: left; overflow-wrap: anywhere }
strong { border: 1px solid; border-radius: .6em; padding: 0 .4em; font-weight: normal; white-space: nowrap }
"""


def html_page(title: str, parts: Iterable[str], *, lang: str) -> str:
    """A whole page around parts that are HTML already."""
    head = (
        f'<!doctype html>\n<html lang="{escape(lang)}">\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
    )
    return head + f"<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"


def html_table(names: Sequence[str], rows: Iterable[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """Rows of cells that are HTML already; columns whose numbers are in `text` are set left, and broken anywhere."""
    head = "".join(f"<th>{html_text(name)}</th>" for name in names)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="text">{cell}</td>' if n in text else f"<td>{cell}</td>" for n, cell in enumerate(row))
        + "</tr>\n"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def html_text(text: str) -> str:
    """Shown as it is written: no markup, and no direction mark that turns the rest of the page around."""
    plain = "".join(" " if not char.isprintable() else char for char in text)
    return f"<bdi>{escape(plain)}</bdi>" if plain.strip() else ""


def html_mark(word: str) -> str:
    """A word in a frame, to be seen at a glance."""
    return f" <strong>{html_text(word)}</strong>"
