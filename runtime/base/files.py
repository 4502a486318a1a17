"""Reading what strangers wrote and writing what must not be half-written.

Promises: a text file is size-checked before it is read, must be UTF-8 without NUL, and errors name file and line; a
written file or folder appears whole under its name or not at all, and is on disk when the call returns. Knows no
format.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.errors import InputError, MissingError, SpaceError

MAX_ARTICLE_BYTES = 512 * 1024
"""An article beyond this is a dump, not an article; a branch would never find the sentence in it."""
MAX_LINE_BYTES = 1024 * 1024
"""A row beyond this is a broken file (a missing newline), not a conversation."""
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Policies, templates, YAML sources: anything read whole into memory."""


def read_text(path: Path, *, max_bytes: int = MAX_TEXT_BYTES, allow_empty: bool = False, follow: bool = True) -> str:
    """A whole UTF-8 text file without its byte-order mark; `InputError` when empty, too large or not UTF-8.

    With `follow=False` a link is refused: strangers' folders must not choose which files are read.
    """
    data = _read_bytes(path, max_bytes, follow=follow)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"not UTF-8 (byte 0x{data[error.start]:02x})",
            where=f"{path}:{line}",
            hint=_to_utf8(path, data),
        ) from None
    if "\0" in text:
        raise _nul(path, text.count("\n", 0, text.index("\0")) + 1)
    if not text.strip() and not allow_empty:
        raise InputError("the file is empty", where=str(path), hint="put something into it, or leave it out")
    return text


def _to_utf8(path: Path, data: bytes) -> str:
    """How to convert a file, from the bytes of it that were read."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "UTF-16"
    else:
        encoding = "GB18030" if _is_chinese(data) else "WINDOWS-1252"
    return f"convert it, for example: iconv -f {encoding} -t UTF-8 '{path}'"


def _is_chinese(data: bytes) -> bool:
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    # "Rückgabe" in Windows-1252 decodes as GB18030 too, with a rare character for "üc". So a common one must be there.
    return any("\u4e00" <= char <= "\u9fff" for char in text.encode("gb2312", "ignore").decode("gb2312"))


def _nul(path: Path, line: int) -> InputError:
    """UTF-16 without a mark decodes as UTF-8 full of NUL; so does the head of most binary files."""
    return InputError(
        "contains a NUL byte; is this a text file?",
        where=f"{path}:{line}",
        hint=f"if it is UTF-16: iconv -f UTF-16 -t UTF-8 '{path}'",
    )


def _read_bytes(path: Path, max_bytes: int, *, follow: bool) -> bytes:
    with open_regular(path, follow=follow) as file:
        data = file.read(max_bytes + 1)  # the file may grow, or say that it is empty as those in /proc do
        if len(data) > max_bytes:
            size = max(os.fstat(file.fileno()).st_size, len(data))
            raise InputError(
                f"{size / 1024:,.0f} KiB is more than the {max_bytes // 1024:,} KiB allowed here",
                where=str(path),
                hint="split it into smaller files, one subject each",
            )
    return data


def expand_user(path: Path) -> Path:
    """`~` and `~name` as the home they stand for; a name that nobody here has stays as it is, and is found missing."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


@contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """A regular file opened for reading; `MissingError` or `InputError` when there is none or it may not be read.

    Pipes, sockets and devices are refused without waiting for them. `follow=False` refuses links, in the same call that
    opens, so that nobody can put one there in between.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError("no such file", where=str(path), hint="check the path") from None
    except PermissionError:
        raise InputError("permission denied", where=str(path), hint="check its permissions") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            what = "symbolic links in a loop" if follow else "a link, which is not followed here"
            raise InputError(what, where=str(path), hint="copy the file") from None
        if error.errno == errno.ENAMETOOLONG:
            raise MissingError("the file name is too long", where=str(path)[:80], hint="check the path") from None
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, or a device without a driver
            raise InputError("not a regular file", where=str(path), hint="give the path of a file") from None
        raise
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = "a folder, where a file is needed" if stat.S_ISDIR(kind) else "not a regular file"
        raise InputError(what, where=str(path), hint="give the path of a file")
    with os.fdopen(handle, "rb") as file:
        yield file


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Non-blank lines of a UTF-8 file with their numbers, in constant memory; raises like `read_text`."""
    empty = True
    with open_regular(path) as file:
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"{path}:{number}"
            if len(raw) > MAX_LINE_BYTES:
                raise InputError(f"a line of over {MAX_LINE_BYTES // 1024} KiB", where=where, hint="one row a line")
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"not UTF-8 (byte 0x{raw[error.start]:02x})",
                    where=where,
                    hint=_to_utf8(path, raw),
                ) from None
            if "\0" in line:
                raise _nul(path, number)
            if line.strip():
                empty = False
                yield number, line
    if empty:
        raise InputError("the file is empty", where=str(path), hint="put something into it, or leave it out")


def write_atomic(path: Path, chunks: Iterable[bytes | memoryview] | str, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all: temporary neighbour, fsync, rename, fsync of the folder."""
    with full_disk_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in [chunks.encode()] if isinstance(chunks, str) else chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def open_below(root: Path, name: str) -> BinaryIO:
    """Open a regular file below `root` for reading; `OSError` where the file or a folder on the way is a link.

    Each part is opened from the one before, never by its whole path: what is a link, or is made one meanwhile, leads
    nowhere. A pipe or a device is refused, and does not make the call wait. `root` itself may be a link.
    """
    *folders, last = name.split("/")
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            os.close(handle)
            handle = below
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return os.fdopen(file, "rb")


def private_folder(folder: Path) -> Path:
    """Make a folder that nobody but its owner may look into, or make it one, whatever the umask; returns it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def fsync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_folder(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A temporary neighbour that becomes `path` when the block ends well, and vanishes when it does not (Ctrl-C too).

    An older folder of that name is replaced at the last moment: it is renamed aside, and deleted only when the new one
    is in its place. After a kill between the two renames, `recover_folder` or the next `new_folder` puts it back.
    With `private` nobody but its owner may look into it, from the first byte on and whatever the umask.
    """
    with full_disk_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(path)
        partial, aside = path.parent / f".{path.name}.partial", _aside(path)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700 if private else 0o777)
        if private:
            partial.chmod(0o700)
        try:
            yield partial
            for file in partial.rglob("*"):
                if private and not file.is_symlink():
                    file.chmod(0o700 if file.is_dir() else 0o600)
                if file.is_dir():
                    fsync_folder(file)
                elif file.is_file():
                    _fsync_file(file)
            fsync_folder(partial)
            if path.exists():
                path.rename(aside)
            os.replace(partial, path)
        except BaseException:
            recover_folder(path)
            shutil.rmtree(partial, ignore_errors=True)
            raise
        # Only once the new name is on disk may the old folder go.
        fsync_folder(path.parent)
        shutil.rmtree(aside, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Put back a folder that an interrupted `new_folder` had renamed aside; delete it where the new one is in place."""
    aside = _aside(path)
    if not aside.exists():
        return
    if path.exists():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.rename(path)
        fsync_folder(path.parent)


def _aside(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary neighbour for a library that wants a path; becomes `path` when the block ends well, else vanishes."""
    with full_disk_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".{path.name}.{os.getpid()}.partial"
        try:
            yield partial
            _fsync_file(partial)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def _fsync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def full_disk_is_an_error(path: Path) -> Iterator[None]:
    """Turn ENOSPC, EDQUOT and EFBIG into a `SpaceError` that names the place; everything else passes."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SpaceError(
                "the disk is full; nothing was left half-written", where=str(path), hint="free space and run it again"
            ) from error
        raise


def need_space(folder: Path, need_bytes: int, what: str) -> None:
    """`SpaceError` before the work starts, when `folder`'s disk has less than `need_bytes` left."""
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < need_bytes:
        raise SpaceError(
            f"{what} needs {_size(need_bytes)}, {_size(free)} are free",
            where=str(there),
            hint="free space, or choose another folder",
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces; raises like `read_text` for what is no regular file."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
