"""The child process that `office` starts: reads one office file and prints what it finds, one JSON value a line.

xlsx PATH [SHEET]   [number, cell, cell …] for every row of a sheet
docx PATH           the document's HTML
pdf PATH            {"page", "lines": [[text, size, bold, top]], "tables": [[[cell]]], "height"} for every page
"""

from __future__ import annotations

import json
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from distill.data.importers.message_text import hides
from distill.data.importers.office import _BAD, limit_this_process

MAX_COLUMNS = 1000
MAX_PAGES = 5000
_EMPTY_RUN = 10_000
"""Empty rows in a row after which a sheet is over: some claim a million."""


def main(kind: str, path: Path, *options: str) -> int:
    """Print the file; the exit code, with the reason on stderr."""
    warnings.simplefilter("ignore")
    limit_this_process()
    try:
        {"xlsx": _xlsx, "docx": _docx, "html": _html, "pdf": _pdf}[kind](path, *options)
    except _RefusedError as refused:
        sys.stderr.write(f"{refused}\n")
        return _BAD
    except MemoryError:
        sys.stderr.write("MemoryError\n")
        return 1
    except RecursionError:
        sys.stderr.write("its parts are nested too deeply\tsave it anew\n")
        return _BAD
    except BrokenPipeError:
        return 0
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}\n")
        return 1
    return 0


class _RefusedError(Exception):
    """What is wrong, a tab, and what to do."""


def _print(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")


def _xlsx(path: Path, sheet: str = "") -> None:
    import openpyxl

    from distill.data.importers.tables import cell_text

    # The stored results of formulas; none is ever computed here.
    book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    names = book.sheetnames
    if sheet and sheet not in names:
        raise _RefusedError(f"no sheet '{sheet[:40]}'\tit has: {', '.join(names)[:150]}")
    for name in [sheet] if sheet else names:
        page = book[name]
        if not hasattr(page, "iter_rows"):
            continue  # a chart
        page.reset_dimensions()
        printed = empty = width = 0
        for number, row in enumerate(page.iter_rows(values_only=True, max_col=MAX_COLUMNS), start=1):
            cells = [cell_text(cell) for cell in row]
            if not any(cells):
                empty += 1
                if empty > _EMPTY_RUN:
                    break
                continue
            empty = 0
            while cells and not cells[-1]:
                cells.pop()
            printed += 1
            width = max(width, len(cells))
            _print([number, *cells, *[""] * (width - len(cells))])
        if printed:
            return


def _docx(path: Path) -> None:
    import mammoth

    with path.open("rb") as file:
        # Pictures are left out: they would come as base64.
        found = mammoth.convert_to_html(file, convert_image=mammoth.images.img_element(_no_picture))
    _print(_markdown(found.value))


def _html(path: Path) -> None:
    from distill.data.importers.encoding import open_text

    with open_text(path) as file:
        _print(_markdown(file.read()))


def _markdown(html: str) -> str:
    """Markdown of what a page says: its main part where it names one, without menus, forms and scripts."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    page = BeautifulSoup(html, "lxml")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    for name in ("script", "style", "nav", "header", "footer", "form", "aside", "noscript", "template", "img", "svg"):
        for each in page.find_all(name):
            each.decompose()
    for each in page.find_all(_is_hidden):
        if not each.decomposed:
            each.decompose()
    main = page.find("main") or page.find("article") or page.body or page
    text = str(
        MarkdownConverter(
            heading_style="ATX", bullets="-", strip=["a"], escape_asterisks=False, escape_underscores=False,
            table_infer_header=True, escape_misc=False,
        ).convert_soup(main)
    ).strip()  # fmt: skip
    return f"# {title}\n\n{text}" if title and not text.startswith("# ") else text


def _is_hidden(tag: Any) -> bool:
    """Whether a browser shows nothing of a part: notes for colleagues are kept there, as they are in comments."""
    return tag.has_attr("hidden") or hides(str(tag.get("style", "")))


def _no_picture(_image: Any) -> dict[str, str]:
    return {"src": ""}


def _is_outside(boxes: Any, thing: dict[str, Any]) -> bool:
    """Whether a thing on a page is no character of a table."""
    x, y = (thing["x0"] + thing["x1"]) / 2, (thing["top"] + thing["bottom"]) / 2
    inside = any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes)
    return thing["object_type"] != "char" or not inside


def _pdf(path: Path) -> None:
    import pdfplumber
    from pdfminer.pdfdocument import PDFPasswordIncorrect
    from pdfplumber.utils.exceptions import PdfminerException

    try:
        book = pdfplumber.open(path)
    except (PDFPasswordIncorrect, PdfminerException) as error:
        inner = error.args[0] if error.args else error
        if isinstance(inner, PDFPasswordIncorrect):
            raise _RefusedError("protected by a password\tsave it without one") from None
        raise
    with book:
        if len(book.pages) > MAX_PAGES:
            raise _RefusedError(f"{len(book.pages)} pages, at most {MAX_PAGES}\tsplit it up")
        for number, page in enumerate(book.pages, start=1):
            tables = page.find_tables()
            boxes = [table.bbox for table in tables]

            rest = page.filter(partial(_is_outside, boxes))
            lines = []
            for line in rest.extract_text_lines(return_chars=True):
                chars = line["chars"]
                size = max((round(char["size"], 1) for char in chars), default=0.0)
                bold = sum("bold" in char["fontname"].lower() for char in chars) > len(chars) / 2
                lines.append([line["text"], size, bold, round(line["top"], 1)])
            rows = [[[cell or "" for cell in row] for row in table.extract()] for table in tables]
            tops = [round(table.bbox[1], 1) for table in tables]
            _print({"page": number, "lines": lines, "tables": rows, "tops": tops, "height": float(page.height)})
            page.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
