"""Reads office files of strangers in a child process with limits on memory and processor time.

    XLSX  rows, by openpyxl      DOCX, HTML  Markdown, by mammoth and markdownify      PDF  text, by pdfplumber

A workbook of a few kilobytes may unpack to gigabytes, and a PDF may hold a million objects: the system stops the parser
then, and the caller gets one sentence. The child prints one JSON value a line. Promises: nothing is written to
disk; no macro, formula, link or external entity is followed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.base.child_process import child_environment, module_command
from runtime.base.files import open_regular
from runtime.errors import InputError

MAX_MEMORY_BYTES = 1536 * 1024 * 1024
MAX_CPU_S = 600
MAX_UNPACKED_BYTES = 2 * 1024**3
"""What the parts of a workbook or document may say that they unpack to."""
MAX_RATIO = 500
"""How much larger than packed a part of over 64 MiB may be; text packs to a tenth, a bomb to a thousandth."""
MAX_PDF_OBJECTS = 300_000
MAX_LINE_BYTES = 32 * 1024 * 1024
_BAD = 3
_LAST_WORDS = 2000


def read_office(kind: str, path: Path, *options: str) -> Iterator[Any]:
    """What the child prints, value by value; `InputError` with its reason where it stops.

    `kind`: xlsx (rows of text, each with its number in front), docx and html (one string of Markdown), pdf (see
    `office_readers`).
    """
    with open_regular(path):  # missing, or a folder: said before a child is started
        pass
    if kind in ("xlsx", "docx"):
        check_packed(path)
    elif kind == "pdf":
        check_objects(path)
    with subprocess.Popen(
        module_command("distill.data.importers.office_readers", kind, str(path.resolve()), *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=child_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            while line := child.stdout.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise InputError("a row of over 32 MiB", where=str(path), hint="split it up")
                yield json.loads(line)
            words = child.stderr.read(1 << 16).decode("utf-8", "replace")[-_LAST_WORDS:]
            if child.wait() != 0:
                raise _stopped(path, child.returncode, words)
        finally:
            child.kill()


def check_packed(path: Path) -> None:
    """`InputError` for an archive that is damaged, encrypted, or would unpack to more than it should."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise InputError("damaged, or not what its name says", where=str(path), hint=str(error)[:200]) from None
    if any(part.flag_bits & 1 for part in parts):
        raise InputError("protected by a password", where=str(path), hint="save it without one")
    total = sum(part.file_size for part in parts)
    bomb = any(part.file_size > 1 << 26 and part.file_size > MAX_RATIO * max(1, part.compress_size) for part in parts)
    if bomb or total > MAX_UNPACKED_BYTES or len(parts) > 20_000:
        raise InputError(
            f"unpacks to {total / 1024**2:,.0f} MiB in {len(parts)} parts, which no document needs",
            where=str(path),
            hint="save it anew, or export the rows as CSV",
        )


def check_objects(path: Path) -> None:
    """`InputError` for a PDF of more objects than a document has: its reader takes minutes to list them."""
    count, left = 0, b""
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            count += (left + chunk).count(b" obj")
            left = chunk[-3:]
    if count > MAX_PDF_OBJECTS:
        raise InputError(
            f"{count:,} objects, at most {MAX_PDF_OBJECTS:,}", where=str(path), hint="print it to a new PDF"
        )


def limit_this_process() -> None:
    """What the child does first."""
    for kind, most in ((resource.RLIMIT_AS, MAX_MEMORY_BYTES), (resource.RLIMIT_CPU, MAX_CPU_S)):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)  # a limit is never raised
        resource.setrlimit(kind, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(2000)


def _stopped(path: Path, code: int, words: str) -> InputError:
    said = words.strip().splitlines()[-1:] or [""]
    if code == _BAD:
        what, _, hint = said[0].partition("\t")
        return InputError(what, where=str(path), hint=hint)
    if code == -24 or code == -9:
        return InputError(
            f"reading it took over {MAX_CPU_S} s or more memory than it may", where=str(path), hint="split it up"
        )
    if "MemoryError" in words or "Cannot allocate" in words or "bad_alloc" in words or code < 0:
        return InputError(
            f"reading it needs over {MAX_MEMORY_BYTES // 1024**2} MiB",
            where=str(path),
            hint="split it into smaller files",
        )
    return InputError("damaged, or not what its name says", where=str(path), hint=said[0][:200])
