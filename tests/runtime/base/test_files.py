from __future__ import annotations

import errno
import io
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.base.files import (
    MAX_ARTICLE_BYTES,
    MAX_LINE_BYTES,
    full_disk_is_an_error,
    need_space,
    new_folder,
    read_lines,
    read_text,
    recover_folder,
    sha256_file,
    write_atomic,
)
from runtime.errors import InputError, MissingError, SpaceError

CHINESE = "标准配送费为4.90欧元，满60欧元免运费。\n"


@pytest.mark.parametrize(
    ("data", "line", "byte", "encoding"),
    [
        (CHINESE.encode("gb18030"), 1, None, "GB18030"),
        (b"first line\n" + CHINESE.encode("gb18030"), 2, None, "GB18030"),
        (CHINESE.encode("utf-16"), 1, None, "UTF-16"),
        (b"\xfe\xff" + CHINESE.encode("utf-16-be"), 1, None, "UTF-16"),
        (b"ok\nok\ncaf\xe9\n", 3, "0xe9", "WINDOWS-1252"),
        ("Rückgabe ist möglich.\n".encode("cp1252"), 1, "0xfc", "WINDOWS-1252"),
    ],
    ids=["GB18030", "GB18030 on line 2", "UTF-16", "UTF-16, big end first", "Latin-1", "decodes as GB18030 too"],
)
def test_a_wrong_encoding_is_refused_with_line_and_cure(
    tmp_path: Path, data: bytes, line: int, byte: str | None, encoding: str
) -> None:
    path = tmp_path / "文章.md"
    path.write_bytes(data)
    for read in (lambda: read_text(path), lambda: list(read_lines(path))):
        with pytest.raises(InputError, match="not UTF-8") as caught:
            read()
        assert caught.value.where == f"{path}:{line}"
        assert f"iconv -f {encoding} " in caught.value.hint
        assert byte is None or byte in caught.value.what


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_refused_though_it_decodes_as_ascii_with_nul(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.md"
    path.write_bytes("plain words\n".encode(encoding))
    for read in (lambda: read_text(path), lambda: list(read_lines(path))):
        with pytest.raises(InputError, match="NUL") as caught:
            read()
        assert caught.value.where == f"{path}:1"


@pytest.mark.parametrize(
    "data", [b"", b"  \n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"], ids=["0 bytes", "blank", "mark", "mark and line"]
)
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "empty"
    path.write_bytes(data)
    with pytest.raises(InputError, match="empty"):
        read_text(path)
    with pytest.raises(InputError, match="empty"):
        list(read_lines(path))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf" + CHINESE.encode())
    assert read_text(path) == CHINESE
    assert list(read_lines(path)) == [(1, CHINESE)]


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dump.md"
    path.write_bytes(b"x" * 2 * 1024 * 1024)
    with pytest.raises(InputError, match="2,048 KiB is more than the 512 KiB"):
        read_text(path, max_bytes=MAX_ARTICLE_BYTES)


def test_an_endless_line_is_refused_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + b"x" * (MAX_LINE_BYTES + 1))
    with pytest.raises(InputError, match="a line of over") as caught:
        list(read_lines(path))
    assert caught.value.where.endswith(":2")


def test_what_is_missing_a_folder_or_forbidden_is_said(tmp_path: Path) -> None:
    for read in (read_text, lambda path: list(read_lines(path))):
        with pytest.raises(MissingError):
            read(tmp_path / "none")
        with pytest.raises(InputError, match="folder"):
            read(tmp_path)
    if os.getuid():
        (tmp_path / "secret").write_text("x")
        (tmp_path / "secret").chmod(0)
        with pytest.raises(InputError, match="permission denied"):
            read_text(tmp_path / "secret")


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\x00")))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("round") / "文.txt"
    write_atomic(path, "x" + text)
    assert path.read_bytes().decode() == "x" + text
    assert read_text(path) == "x" + text


def full_after(count: int, code: int = errno.ENOSPC):  # type: ignore[no-untyped-def]
    """Chunks that end as a disk does that has room for `count` of them."""
    for _ in range(count):
        yield b"x" * 100_000
    raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_file_whole_and_nothing_else(tmp_path: Path, code: int) -> None:
    """F3."""
    path = tmp_path / "sub" / "file"
    write_atomic(path, "old")
    with pytest.raises(SpaceError) as caught:
        write_atomic(path, full_after(3, code))
    assert caught.value.where == str(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_disk_is_really_full(tmp_path: Path) -> None:
    """F3: every write on /dev/full fails with ENOSPC."""
    with pytest.raises(SpaceError), full_disk_is_an_error(tmp_path), Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, SpaceError), (errno.EIO, OSError)])
def test_an_fsync_that_fails_is_neither_tried_again_nor_taken_for_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    """F3, F4."""
    tries = 0

    def fail(_: int) -> None:
        nonlocal tries
        tries += 1
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error):
        write_atomic(tmp_path / "a", "text")
    with pytest.raises(error), new_folder(tmp_path / "folder") as partial:
        (partial / "x").write_text("x")
    assert tries == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_has_no_hash_and_no_text() -> None:
    """F4: the kernel answers with EIO where no memory is mapped."""
    broken = Path("/proc/self/mem")
    for read in (sha256_file, read_text):
        with pytest.raises(OSError, match="Input/output error"):
            read(broken)


def test_any_other_error_of_the_disk_is_not_called_full(tmp_path: Path) -> None:
    """F4."""
    with pytest.raises(OSError, match="Input/output error"):
        write_atomic(tmp_path / "a", full_after(1, errno.EIO))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, interrupt: type[BaseException]) -> None:
    path = tmp_path / "文件夹"
    with new_folder(path) as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "a").write_text("old")
    with pytest.raises(interrupt), new_folder(path) as partial:  # noqa: PT012 - it is the block that is interrupted
        (partial / "a").write_text("new")
        raise interrupt
    assert (path / "sub" / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with new_folder(path) as partial:
        (partial / "b").write_text("new")
    assert [item.name for item in path.iterdir()] == ["b"]


def test_every_file_and_folder_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part of F2: what is not synced may be torn after a power cut, a folder's list of names too."""
    order: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        order.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real_fsync(handle)

    def replace(*names: Path) -> None:
        order.append("rename")
        real_replace(*names)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with new_folder(tmp_path / "made") as partial:
        (partial / "deep" / "deeper").mkdir(parents=True)
        (partial / "deep" / "deeper" / "file").write_text("x")
    at = order.index("rename")
    assert {"deep", "deeper", "file", ".made.partial"} <= set(order[:at])
    assert order[at + 1 :] == [tmp_path.name]


def test_space_is_asked_for_before_the_work(tmp_path: Path) -> None:
    need_space(tmp_path / "not" / "there", 1, "a byte")
    with pytest.raises(SpaceError, match=r"the bundle needs 1000000000\.0 GB"):
        need_space(tmp_path, 10**18, "the bundle")


def test_space_below_a_gigabyte_is_told_in_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_500_000))
    with pytest.raises(SpaceError, match=r"the bundle needs 64\.0 MB, 2\.5 MB are free"):
        need_space(tmp_path, 64_000_000, "the bundle")


def test_a_hash_is_the_files(tmp_path: Path) -> None:
    import hashlib

    data = io.BytesIO(os.urandom(3 << 20)).getvalue()
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "read", [read_text, sha256_file, lambda path: list(read_lines(path))], ids=["text", "hash", "lines"]
)
def test_pipe_socket_and_device_are_refused_without_waiting(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path in (tmp_path / "pipe", tmp_path / "s", Path("/dev/zero")):
            with pytest.raises(InputError, match="not a regular file") as caught:
                read(path)
            assert caught.value.where == str(path)


def test_file_that_hides_its_size_is_read_no_further_than_allowed() -> None:
    with pytest.raises(InputError, match="allowed here"):
        read_text(Path("/proc/self/maps"), max_bytes=10)  # its size is said to be 0


def test_link_is_followed_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("words")
    (tmp_path / "link").symlink_to("a")
    assert read_text(tmp_path / "link") == "words"
    with pytest.raises(InputError, match="a link"):
        read_text(tmp_path / "link", follow=False)


KILLED = """
import os, sys, signal
from pathlib import Path
from runtime.base import files
path, point = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def counted(real):
    def call(*args, **more):
        global calls
        calls += 1
        if calls == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call
for name in ("rename", "replace", "fsync", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
with files.new_folder(path) as partial:
    (partial / "a").write_text("new")
"""


def test_folder_replaced_under_a_kill_is_the_old_or_the_new_one_whole(tmp_path: Path) -> None:
    """Part of F1: a kill before each rename, fsync and deletion of `new_folder`."""
    path, killed, found = tmp_path / "folder", 0, set()
    for point in range(1, 30):
        shutil.rmtree(tmp_path)
        path.mkdir(parents=True)
        (path / "a").write_text("old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(point)], check=False)
        recover_folder(path)
        found.add((path / "a").read_text())
        assert [item.name for item in path.iterdir()] == ["a"]
        with new_folder(path) as partial:  # run again, it converges
            (partial / "b").write_text("newer")
        assert [item.name for item in tmp_path.iterdir()] == ["folder"]
        if done.returncode == 0:
            break
        killed += 1
    assert done.returncode == 0
    assert killed >= 5
    assert found == {"old", "new"}
