"""Files made to hurt end in one clear sentence, in bounded memory: the reader runs in a process that has no more."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.child_process import child_environment
from tests.support.documents import pdf_bytes

MIB = 1024 * 1024
MEMORY = 1500 * MIB
"""Address space of the reading process; the interpreter with its libraries takes a third of it."""
READ = """
import sys
from pathlib import Path
from distill.data.importers.documents import read_document
from distill.data.importers.transcripts import read_transcripts
from distill.recipe.transcript_settings import Transcripts
from runtime.errors import EdgedeskError, InputError
path = Path(sys.argv[1])
try:
    if path.suffix in (".docx", ".pdf", ".html"):
        read_document(path)
    else:
        for each in read_transcripts(Transcripts(path=path)):
            if isinstance(each, InputError):
                print("refused:", each.what)
except EdgedeskError as error:
    print("refused:", error.what)
"""


def ten_megabytes_in_one_line(path: Path) -> None:
    path.write_bytes(b"conversation,role,content\na,user," + b"x" * (10 * MIB) + b"\n")


def one_line_of_forty_megabytes(path: Path) -> None:
    path.write_bytes(b"conversation,role,content\na,user," + b"x" * (40 * MIB) + b"\n")


def open_quote(path: Path) -> None:
    path.write_bytes(b'conversation,role,content\na,user,"' + b"x,y\n" * (6 * MIB))


def two_gigabytes_of_nothing(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"conversation,role,content\na,user,Hello\n")
        file.truncate(2 * 1024 * MIB)


def endless_nesting(path: Path) -> None:
    path.write_text("[" * 2_000_000)


def nesting_in_a_line(path: Path) -> None:
    path.write_text('{"conversation": "a", "role": "user", "content": ' + "[" * 100_000 + "]" * 100_000 + "}\n")


def bomb_in_a_workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            for _ in range(200):
                part.write(bytes(MIB))


def bomb_that_lies(path: Path) -> None:
    """A part that unpacks to more than its header says."""
    bomb_in_a_workbook(path)
    data = bytearray(path.read_bytes())
    size = (200 * MIB).to_bytes(4, "little")
    while (place := data.find(size)) >= 0:
        data[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)


def million_objects(path: Path) -> None:
    pages = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"]
    path.write_bytes(pdf_bytes([*pages, *[b"<<>>"] * 1_000_000]))


def pages_in_a_circle(path: Path) -> None:
    path.write_bytes(
        pdf_bytes([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] >>"])
    )


def nested_html(path: Path) -> None:
    path.write_text("<div>" * 200_000 + "text")


def formulas(path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["conversation", "role", "content"])
    book.active.append(["a", "user", '=HYPERLINK("http://evil.example","click")'])
    book.save(path)


@pytest.mark.parametrize(
    ("make", "ending", "said"),
    [
        (ten_megabytes_in_one_line, ".csv", "characters, at most"),
        (one_line_of_forty_megabytes, ".csv", "a line of over 16 MiB"),
        (open_quote, ".csv", "a quote that is opened here is not closed"),
        (two_gigabytes_of_nothing, ".csv", "NUL"),
        (endless_nesting, ".json", "nested more than|not JSON|a line of over"),
        (nesting_in_a_line, ".jsonl", "not a JSON object|nested more than"),
        (bomb_in_a_workbook, ".xlsx", "unpacks to 200 MiB"),
        (bomb_that_lies, ".xlsx", "damaged|reading it"),
        (million_objects, ".pdf", "objects, at most"),
        (pages_in_a_circle, ".pdf", "damaged|no text|reading it"),
        (nested_html, ".html", "nested too deeply|no text|damaged"),
        (formulas, ".xlsx", "empty"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_hostile_file_ends_in_a_clear_error_within_bounded_memory(
    make: Callable[[Path], None], ending: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / f"hostile{ending}"
    make(path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ, str(path)],
        capture_output=True,
        text=True,
        env=child_environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("refused:"), done.stdout[:200]
    assert any(part in done.stdout for part in said.split("|")), done.stdout[:300]
    assert json.dumps(done.stdout).count("xxxxxxxx") == 0
