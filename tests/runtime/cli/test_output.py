from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.base.terminal import printable
from runtime.cli.output import from_os_error, out, out_json, talk
from runtime.errors import ExitCode
from tests.support.paths import ROOT

HOSTILE = "\x1b]0;PWNED\x07\x9b31m\u202e退货\r\u2028\x85"
PROGRAM = """
import sys
from runtime.cli.output import out, out_json, run_app, talk, write
def work():
    {work}
run_app(work)
"""


def run(work: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    program = PROGRAM.format(work=work)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, env={**os.environ, **env})


@given(st.text())
def test_no_text_steers_the_terminal(text: str) -> None:
    """S10."""
    shown = printable(HOSTILE + text)
    assert "退货" in shown
    assert len(shown) == len(HOSTILE + text)
    assert not any(char in shown for char in "\x1b\x07\x9b\u202e\r\x00")


@given(st.text())
def test_json_on_stdout_steers_nothing_and_reads_back_as_it_was(text: str) -> None:
    """S10, in what scripts read."""
    import io
    from contextlib import redirect_stdout

    value = {"name": HOSTILE + text.encode("utf-8", "replace").decode()}
    shown = io.StringIO()
    with redirect_stdout(shown):
        out_json(value)
    line = shown.getvalue()
    assert json.loads(line) == value
    assert len(line.splitlines()) == 1
    assert printable(line) == line


def test_every_line_that_a_command_writes_is_escaped(
    capsys: pytest.CaptureFixture[str], count_trials: Callable[[str, int], None]
) -> None:
    """S10: a bundle's name, whichever command prints it."""
    out(HOSTILE)
    talk(HOSTILE)
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "退货" in said.out
    assert "退货" in said.err
    count_trials("S10", 2)


@pytest.mark.parametrize("encoding", ["iso8859-1", "gbk", "ascii"])
def test_character_that_the_terminal_lacks_is_replaced(encoding: str) -> None:
    done = run('out("€4.90 退货"); talk("€"); write("ü"); out_json({"a": "€"})', PYTHONIOENCODING=encoding)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"4.90" in done.stdout


@pytest.mark.parametrize(
    ("number", "code", "what"),
    [
        (errno.EACCES, ExitCode.USAGE, "may not be opened by this user"),
        (errno.EPERM, ExitCode.USAGE, "may not be opened by this user"),
        (errno.ENOSPC, ExitCode.NO_SPACE, "the disk is full"),
        (errno.ENOENT, ExitCode.MISSING, "no such file"),
        (errno.EISDIR, ExitCode.USAGE, "a folder, where a file is needed"),
        (errno.ENOTDIR, ExitCode.USAGE, "a file, where a folder is needed"),
        (errno.EEXIST, ExitCode.USAGE, "there is a file of this name already"),
        (errno.EROFS, ExitCode.USAGE, "the disk may only be read"),
        (errno.ENAMETOOLONG, ExitCode.USAGE, "the file name is too long"),
        (errno.EIO, ExitCode.FAILED, "Input/output error"),
    ],
)
def test_failure_of_the_system_is_a_sentence_and_an_exit_code(number: int, code: ExitCode, what: str) -> None:
    error = from_os_error(OSError(number, os.strerror(number), "/home/branch/x"))
    assert (error.exit_code, str(error)) == (code, f"/home/branch/x: {what}")
    done = run(f'raise OSError({number}, "{os.strerror(number)}", "/home/branch/x")')
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert what.encode() in done.stderr


def test_wrong_place_for_what_is_written_is_said_without_a_word_about_the_disk(tmp_path: Path) -> None:
    """Where `release --to`, `keys init` and `fleet --out` are given a file for a folder or a folder for a file."""
    file, folder = tmp_path / "文件", tmp_path / "folder"
    file.write_text("x")
    folder.mkdir()
    for work, what, where in (
        ("from pathlib import Path; Path({file!r}).mkdir(parents=True, exist_ok=True)", b"a file of this name", file),
        ("from pathlib import Path; list(Path({file!r}).iterdir())", b"a file, where a folder is needed", file),
        (
            "from runtime.base import files; from pathlib import Path; files.write_atomic(Path({folder!r}), 'x')",
            b"a folder, where a file is needed",
            folder,
        ),
    ):
        done = run(work.format(file=str(file), folder=str(folder)))
        assert done.returncode == ExitCode.USAGE, done.stderr
        assert what in done.stderr
        assert str(where).encode() in done.stderr
        assert b"disk" not in done.stderr
    assert list(folder.iterdir()) == []


def test_reader_that_has_left_ends_a_command_quietly() -> None:
    command = f'{shlex.quote(sys.executable)} -c "$PROGRAM" | head -1'
    program = PROGRAM.format(work="[out('x' * 100) for _ in range(10000)]")
    done = subprocess.run(["bash", "-c", command], capture_output=True, env={**os.environ, "PROGRAM": program})
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "ascii", "utf-8"])
def test_json_loses_nothing_in_any_encoding_of_stdout(encoding: str) -> None:
    value = {"answer": "退货 ≤ 30 días 🎁"}
    done = run(f"out_json({value!r})", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout.decode(encoding)) == value
    assert done.stdout.isascii() == (encoding != "utf-8")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_stream_is_no_failure(closed: str) -> None:
    work = "sys.stdin.isatty(), sys.stdout.isatty(), write('a'), out('b'), out_json({}), talk('c'), sys.exit(5)"
    command = f'{shlex.quote(sys.executable)} -c "$PROGRAM" {closed}'
    env = {**os.environ, "PROGRAM": PROGRAM.format(work=work)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=env)
    assert done.returncode == 5, done.stderr
    assert done.stdout == (b"" if " >" in f" {closed}" else b"ab\n{}\n")
    assert done.stderr == (b"" if "2>" in closed else b"c\n")


def test_no_command_prints_past_the_one_output() -> None:
    """Escaping at some callers is escaping forgotten at others."""
    rooms = [ROOT / package / "cli" for package in ("runtime", "distill", "quantize", "tui")]
    paths = [path for room in rooms for path in room.glob("*.py")] + [ROOT / "edgedesk_build.py"]
    assert len(paths) > 25
    for path in paths:
        if path.name != "output.py":
            text = path.read_text(encoding="utf-8")
            assert "typer.echo" not in text, path
            assert not re.search(r"(?<![\w.])print\(", text), path
