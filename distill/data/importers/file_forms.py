"""What form a file of transcripts has, by its first bytes and then its name.

Promises: a form that is not read is named, with what to do. Opens nothing but the first bytes.
"""

from __future__ import annotations

from pathlib import Path

from runtime.base.files import open_regular
from runtime.errors import InputError

_HEAD = 4096
_NOT_READ = (
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls, .doc)", "save it as .xlsx, or as CSV in UTF-8"),
    (b"%PDF", "a PDF", "transcripts are read from CSV, JSON, JSONL, XLSX or Parquet"),
    (b"\x1f\x8b", "a gzip archive", "unpack it: gunzip FILE"),
    (b"BZh", "a bzip2 archive", "unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ", "an xz archive", "unpack it: unxz FILE"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"SQLite format 3", "an SQLite database", "export its table as CSV"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"{\\rtf", "a rich text file", "export the conversations as CSV or JSON"),
)
_BY_NAME = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".xlsx": "xlsx", ".xlsm": "xlsx", ".parquet": "parquet",
    ".pq": "parquet", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip


def tell_form(path: Path) -> str:
    """csv, tsv, json, jsonl, xlsx or parquet; `InputError` naming a form that is not read."""
    with open_regular(path) as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise InputError("the file is empty", where=str(path), hint="put something into it, or leave it out")
    for mark, what, hint in _NOT_READ:
        if head.startswith(mark):
            raise InputError(f"this is {what}, which is not read as transcripts", where=str(path), hint=hint)
    if head.startswith(b"PAR1"):
        return "parquet"
    named = _BY_NAME.get(path.suffix.lower(), "")
    if head.startswith(b"PK\x03\x04"):
        return _packed(path, named)
    if named in ("xlsx", "parquet"):
        raise InputError(f"its name says {named}, its bytes do not", where=str(path), hint="export it again")
    start = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if start[:1] == b"<":
        raise InputError("this is XML or HTML, which is not read as transcripts", where=str(path), hint="CSV or JSON")
    if named in ("json", "jsonl") or (start[:1] in (b"{", b"[") and named != "tsv"):
        return named if named in ("json", "jsonl") else "jsonl"
    return named or "csv"


def _packed(path: Path, named: str) -> str:
    import zipfile

    from distill.data.importers.office import check_packed

    check_packed(path)
    with zipfile.ZipFile(path) as archive:
        parts = archive.namelist()
    if "xl/workbook.xml" in parts:
        return "xlsx"
    kinds = {
        "word/document.xml": "a Word document",
        "content.xml": "an OpenDocument file",
        "ppt/presentation.xml": "slides",
    }
    what = next((kind for part, kind in kinds.items() if part in parts), "a zip archive")
    hint = "save it as .xlsx or CSV" if what != "a zip archive" else "unpack it, and name the files in it"
    if named == "xlsx":
        what = "a workbook without sheets (or .xlsb)"
    raise InputError(f"this is {what}, which is not read as transcripts", where=str(path), hint=hint)
