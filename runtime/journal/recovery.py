"""Reads the rows of a damaged SQLite file, page by page, without SQLite.

SQLite gives up at the first page it does not understand. Here every page is read by itself: rows are whole in leaf
pages (in a table WITHOUT ROWID in inner pages as well), so a damaged page costs its own rows and no others, even where
the header and the whole upper tree are gone. Pages that were committed to the write-ahead log count in place of those
in the file. Copying rows by SQL, from one good rowid to the next, would be shorter and is not enough: the journal's
tables have no rowids, and a damaged first page takes SQLite's whole schema with it. Promises: reads only; no content
raises. Knows nothing of what rows mean.

Source: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

DEFAULT_PAGE_BYTES = 4096
_MAGIC = b"SQLite format 3\0"
_INNER_INDEX, _LEAF_INDEX, _LEAF_TABLE = 0x02, 0x0A, 0x0D
_MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
"""A row that says it is larger is damaged."""


def recover_rows(path: Path) -> Iterator[Row]:
    """Every row that can still be read, of all tables and indexes, in the order of the pages."""
    data = path.read_bytes()
    size = _page_bytes(data)
    pages = {number + 1: data[start : start + size] for number, start in enumerate(range(0, len(data), size))}
    wal = path.with_name(path.name + "-wal")
    if wal.is_file():
        pages |= _committed(wal.read_bytes(), size)
    for number in sorted(pages):
        yield from _rows(pages, number, size)


def _page_bytes(data: bytes) -> int:
    size = int.from_bytes(data[16:18], "big")
    size = 65536 if size == 1 else size
    whole = data.startswith(_MAGIC) and size >= 512 and size & (size - 1) == 0
    return size if whole else DEFAULT_PAGE_BYTES


def _committed(wal: bytes, size: int) -> dict[int, bytes]:
    """Pages of whole transactions in a write-ahead log: checksums and salts are right up to a commit."""
    if len(wal) < 32 or wal[:3] != b"\x37\x7f\x06" or struct.unpack_from(">I", wal, 8)[0] != size:
        return {}
    order = ">" if wal[3] & 1 else "<"
    state = _checksum(wal[:24], order, (0, 0))
    if state != struct.unpack_from(">II", wal, 24):
        return {}
    done: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for start in range(32, len(wal) - size - 23, size + 24):
        head, page = wal[start : start + 24], wal[start + 24 : start + 24 + size]
        state = _checksum(page, order, _checksum(head[:8], order, state))
        if head[8:16] != wal[16:24] or state != struct.unpack_from(">II", head, 16):
            break
        number, commit = struct.unpack_from(">II", head)
        pending[number] = page
        if commit:
            done |= pending
            pending = {}
    return done


def _checksum(data: bytes, order: str, state: tuple[int, int]) -> tuple[int, int]:
    first, second = state
    numbers = struct.unpack(f"{order}{len(data) // 4}I", data)
    for left, right in zip(numbers[::2], numbers[1::2], strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second


def _rows(pages: dict[int, bytes], number: int, size: int) -> Iterator[Row]:
    page = pages[number]
    at = 100 if number == 1 else 0
    if len(page) < size or page[at] not in (_INNER_INDEX, _LEAF_INDEX, _LEAF_TABLE):
        return
    kind = page[at]
    head = at + (12 if kind == _INNER_INDEX else 8)
    count = int.from_bytes(page[at + 3 : at + 5], "big")
    for index in range(min(count, (size - head) // 2)):
        start = int.from_bytes(page[head + 2 * index : head + 2 * index + 2], "big")
        try:
            yield _record(_payload(pages, page, start, kind, size))
        except (ValueError, IndexError, struct.error):
            continue  # this row is damaged; the next one may not be


def _payload(pages: dict[int, bytes], page: bytes, at: int, kind: int, size: int) -> bytes:
    """A cell's whole record; the part that does not fit into the page lies in a chain of overflow pages."""
    if kind == _INNER_INDEX:
        at += 4
    length, at = _varint(page, at)
    if kind == _LEAF_TABLE:
        _, at = _varint(page, at)
    if not 0 < length <= _MAX_PAYLOAD_BYTES:
        raise ValueError("no such length")
    most = size - 35 if kind == _LEAF_TABLE else (size - 12) * 64 // 255 - 23
    if length <= most:
        return _slice(page, at, length)
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    out = bytearray(_slice(page, at, local))
    (following,) = struct.unpack_from(">I", page, at + local)
    seen: set[int] = set()
    while len(out) < length:
        if following not in pages or following in seen:
            raise ValueError("the chain of pages is broken")
        seen.add(following)
        further = pages[following]
        (following,) = struct.unpack_from(">I", further)
        out += _slice(further, 4, min(size - 4, length - len(out)))
    return bytes(out)


def _record(payload: bytes) -> Row:
    header, at = _varint(payload, 0)
    if not 1 < header <= len(payload):
        raise ValueError("no such header")
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    at = header
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise ValueError("the record does not end where it should")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in (1, 2, 3, 4, 5, 6):
        length = (1, 2, 3, 4, 6, 8)[kind - 1]
        return int.from_bytes(_slice(payload, at, length), "big", signed=True), at + length
    if kind == 7:
        number: float = struct.unpack_from(">d", payload, at)[0]
        return number, at + 8
    if kind < 12:
        raise ValueError("a reserved type")
    length = (kind - 12) // 2
    piece = _slice(payload, at, length)
    return (piece.decode() if kind % 2 else piece), at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _slice(data: bytes, at: int, length: int) -> bytes:
    piece = data[at : at + length]
    if len(piece) != length:
        raise ValueError("cut off")
    return piece
