"""Reads a GGUF's header with a bound on every count, so that no header takes more than a second or 50 MB.

Promises: an entry that is malformed, too large or there twice is a `ModelError` that names it; nothing is read for a
count before it has been compared with its bound. Knows nothing of what entries mean to a model (`gguf_check.py`).

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from runtime.errors import ModelError

Scalar = int | float | bool | str
Array = npt.NDArray[np.generic]

MAX_HEADER_BYTES = 32 * 1024 * 1024
"""Larger vocabularies than any published (262,144 tokens, 514,906 merges) take 20 MiB."""
MAX_ENTRIES = 4096
MAX_TENSORS = 32768
MAX_TOKENS = 400_000
MAX_STRINGS = 1_500_000
"""Strings of all arrays together: tokens, and the merges of byte-pair encoding."""
MAX_KEY_BYTES = 256
MAX_TOKEN_BYTES = 4096
MAX_TEXT_BYTES = 4 * 1024 * 1024
"""A chat template or a licence text."""
STRING, ARRAY = 8, 9
_SCALARS = {
    0: ("<B", np.uint8),
    1: ("<b", np.int8),
    2: ("<H", np.uint16),
    3: ("<h", np.int16),
    4: ("<I", np.uint32),
    5: ("<i", np.int32),
    6: ("<f", np.float32),
    7: ("<B", np.uint8),
    10: ("<Q", np.uint64),
    11: ("<q", np.int64),
    12: ("<d", np.float64),
}
"""Of each value type: how struct reads one, and numpy many. 7 is a bool: one byte, 0 or 1."""
BOOL, U32, I32, F32 = 7, 4, 5, 6

BYTE_TOKENS = frozenset(b"<0x%02X>" % byte for byte in range(256))
_NAME = re.compile(rb"[A-Za-z0-9_.\-]+")
_BATCH = 8192
"""Tokens looked at together: a call for each would take most of the second."""
_HINT = "build or copy the model file again"


class GgufHeaderReader:
    """One pass over a header; every read is bounded by the file's size and `MAX_HEADER_BYTES`."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self.size = path, size
        self.require(size >= 24, "not a GGUF file")
        self._limit = min(size, MAX_HEADER_BYTES)
        # Mapped, not read: only pages that are looked at take memory, and a short header of a large file costs little.
        self.data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self.at = 0
        self._strings = 0
        self.types: dict[str, int] = {}
        self.scalars: dict[str, Scalar] = {}
        self.arrays: dict[str, Array] = {}
        self.lengths: dict[str, int] = {}
        """Of every array, those of strings included: how many elements."""
        self.byte_tokens: set[bytes] = set()
        self.token_hashes: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.byte_like: npt.NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def refuse(self, what: str, hint: str = _HINT) -> NoReturn:
        """Say what is wrong with this file."""
        raise ModelError(what, where=str(self._path), hint=hint)

    def require(self, holds: bool, what: str) -> None:
        """Refuse the file unless that holds."""
        if not holds:
            self.refuse(what)

    # Reading

    def need(self, count: int) -> None:
        """Refuse to read `count` bytes more where the file, or what a header may have, ends before."""
        if self.at + count > self._limit:
            cut = self._limit == self.size
            self.refuse("the header ends in the middle" if cut else "the header is larger than any model's")

    def number(self, form: str) -> int | float:
        """The next number, by its struct format."""
        self.need(struct.calcsize(form))
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value  # type: ignore[no-any-return]

    def count(self, limit: int, what: str) -> int:
        """The next count, 64 bits wide, compared with its bound."""
        value = int(self.number("<Q"))
        self.require(value <= limit, f"{what}: {value:,} are more than any model has ({limit:,})")
        return value

    def text(self, limit: int, what: str) -> bytes:
        """The next string, of `limit` bytes at most."""
        length = self.count(limit, f"{what} length in bytes")
        self.need(length)
        self.at += length
        return self.data[self.at - length : self.at]

    def entry(self) -> None:
        """The next entry, kept by its name in `types` and in `scalars`, `arrays` or `lengths`."""
        key_bytes = self.text(MAX_KEY_BYTES, "an entry's name")
        self.require(_NAME.fullmatch(key_bytes) is not None, f"an entry is called {key_bytes!r}")
        key = key_bytes.decode("ascii")
        self.require(key not in self.types, f"'{key}' is there twice")
        kind = int(self.number("<I"))
        self.types[key] = kind
        if kind == STRING:
            text = self.text(MAX_TEXT_BYTES, f"'{key}'")
            try:
                self.scalars[key] = text.decode("utf-8")
            except UnicodeDecodeError:
                self.refuse(f"'{key}' is not UTF-8")
        elif kind == ARRAY:
            self._array(key)
        elif kind in _SCALARS:
            value = self.number(_SCALARS[kind][0])
            self.require(math.isfinite(value), f"'{key}' is {value}")
            self.require(kind != BOOL or value in (0, 1), f"'{key}' is neither true nor false")
            self.scalars[key] = bool(value) if kind == BOOL else value
        else:
            self.refuse(f"'{key}' has the unknown type {kind}")

    def _array(self, key: str) -> None:
        kind = int(self.number("<I"))
        self.types[key] = ARRAY * 100 + kind
        if kind == STRING:
            self._string_array(key)
            return
        if kind not in _SCALARS:
            self.refuse(f"'{key}' is a list of the unknown type {kind}")
        dtype = np.dtype(_SCALARS[kind][1]).newbyteorder("<")
        count = self.count(self._limit // dtype.itemsize, f"'{key}'")
        self.need(count * dtype.itemsize)
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        self.require(
            kind != BOOL or not values.size or int(values.max()) <= 1, f"'{key}' holds more than true or false"
        )
        if values.dtype.kind == "f":
            self.require(bool(np.isfinite(values).all()), f"'{key}' holds what is no number")
        self.lengths[key] = count
        # Only small ones and the vocabulary's are looked at again, as copies: a view would hold the whole file.
        if count <= MAX_TOKENS:
            self.arrays[key] = values.copy()

    def _string_array(self, key: str) -> None:
        """Pass over a list of strings; of the tokens, also what the vocabulary must keep."""
        is_tokens = key == "tokenizer.ggml.tokens"
        count = self.count(MAX_TOKENS if is_tokens else MAX_STRINGS, f"'{key}'")
        self._strings += count
        self.require(self._strings <= MAX_STRINGS, f"{self._strings:,} strings are more than any model has")
        self.need(8 * count)  # each takes its length at least
        self.lengths[key] = count
        limit = MAX_TOKEN_BYTES if is_tokens or key == "tokenizer.ggml.merges" else MAX_TEXT_BYTES
        if is_tokens:
            self.token_hashes = np.empty(count, dtype=np.int64)
            self.byte_like = np.zeros(count, dtype=np.bool_)
        unpack = struct.Struct("<Q").unpack_from
        data, at, end = self.data, self.at, self._limit
        for first in range(0, count, _BATCH):
            batch = []
            for _ in range(min(_BATCH, count - first)):
                if at + 8 > end:
                    self.need(self._limit)
                (length,) = unpack(data, at)
                if length > limit:
                    self.refuse(f"'{key}' holds a string of {length:,} bytes")
                at += 8
                if at + length > end:
                    self.need(self._limit)
                if is_tokens:
                    batch.append(data[at : at + length])
                at += length
            if is_tokens:
                self._tokens(first, batch)
        self.at = at

    def _tokens(self, first: int, batch: list[bytes]) -> None:
        """Tokens from number `first` on: none empty, all UTF-8; keeps their hashes and which are byte tokens."""
        try:
            joined = b"\n".join([b"", *batch])
            joined.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"a token behind number {first} is not UTF-8")
        # llama.cpp names empty tokens [EMPTY_7] and then counts tokens by name.
        self.require(all(batch) and b"\n[EMPTY_" not in joined, f"a token behind number {first} is empty")
        # Hashes instead of the strings: 8 bytes a token. Python keys them anew in each process, so nobody can make two
        # tokens collide, and by chance two of 400,000 do so in one of 200 million files.
        self.token_hashes[first : first + len(batch)] = list(map(hash, batch))
        if found := BYTE_TOKENS.intersection(batch):
            self.byte_tokens |= found
            self.byte_like[first : first + len(batch)] = [token in found for token in batch]
