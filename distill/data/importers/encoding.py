"""Opens a text file in whatever encoding a company's programs wrote it, told from its bytes and verified.

UTF-8 and UTF-16 are known by their marks or by decoding whole. Anything else is proposed by charset-normalizer and then
checked against the whole file, because a wrong guess corrupts in silence: German in Windows-1252 decodes as GB18030
without an error. Promises: constant memory; a file in two encodings is refused, with the line where the second begins.
Knows nothing of what is in the text.
"""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.base.files import open_regular
from runtime.errors import InputError, UsageError

MAX_LINE_CHARS = 16 * 1024 * 1024
"""A longer line is no row of anything: reading stops there, in bounded memory."""
_CHUNK = 1 << 20
_SAMPLE_BYTES = 256 * 1024
"""Bytes of lines beyond ASCII that decide; more make no difference to the guess."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_READ = ("gb18030", "cp1252")
"""Encodings that are read without being named; all others are named in the refusal."""
_CANDIDATES = ["gb18030", "big5", "cp1252", "cp1250", "cp1251", "shift_jis", "euc_kr"]
_SURE_BYTES = 16
_COMMON_HAN = 0.7
"""Share of a text's ideographs that must be of GB2312's first level, the 3,755 common ones, for it to be Chinese."""
_SIGNS = 0.3
"""Share of characters beyond ASCII that may be neither letters nor usual punctuation in Western text."""
_PUNCTUATION = frozenset(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u2013\u2014\u2022\u2026\u20ac\u2122«»°§£©®´·\u00a0\u00ad¡¿€%‰"
)


def tell_encoding(path: Path) -> str:
    """The encoding of a text file; `InputError` naming the likely one where it is none that can be relied on."""
    with open_regular(path) as file:
        head = file.read(_CHUNK)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        if b"\0" in head:
            return _without_mark(head, path)
        file.seek(0)
        if _decodes(file, "utf-8"):
            return "utf-8"
        file.seek(0)
        sample, line, valid, surely_valid = _lines_beyond_ascii(file)
    found = _proposed(sample)
    if valid := surely_valid if found == "gb18030" else valid:
        raise InputError(
            f"two encodings in one file: line {valid} is UTF-8, line {line} is not",
            where=f"{path}:{line}",
            hint="export it once more in one encoding, best UTF-8",
        )
    if found in _READ and _is_plausible(sample, found):
        with open_regular(path) as file:
            if _decodes(file, found):
                return found
    raise InputError(
        f"not UTF-8{f'; it looks like {found}' if found else ''}",
        where=f"{path}:{line}",
        hint=f'if that is right: encoding = "{found}" (recipe), --encoding {found}; or save it as UTF-8'
        if found
        else "save it as UTF-8 in the program that wrote it",
    )


def check_encoding(name: str) -> str:
    """The encoding's own name; `UsageError` for one that Python does not know as text."""
    try:
        info = codecs.lookup(name)
        "".encode(name)
    except (LookupError, ValueError):
        raise UsageError(f"no encoding '{name}'", where="encoding", hint="utf-8, utf-16, gb18030, cp1252 …") from None
    return info.name


@contextmanager
def open_text(path: Path, encoding: str = "") -> Iterator[io.TextIOWrapper]:
    """The file as text, line ends as they are; `encoding` goes before what its bytes tell."""
    name = check_encoding(encoding) if encoding else tell_encoding(path)
    with open_regular(path) as file:
        reader = io.TextIOWrapper(file, encoding=name, newline="")
        try:
            yield reader
        except UnicodeDecodeError as error:
            raise InputError(
                f"not {name} throughout",
                where=str(path),
                hint=f"byte {error.start} of a block: 0x{error.object[error.start]:02x}",
            ) from None
        finally:
            reader.detach()


def text_lines(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """Lines with their ends; `InputError` for a NUL, or a line longer than `MAX_LINE_CHARS`."""
    number = 0
    while line := text.readline(MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARS:
            raise InputError(
                f"a line of over {MAX_LINE_CHARS // 1024**2} MiB", where=f"{path}:{number}", hint="one row a line"
            )
        if "\0" in line:
            raise InputError("a NUL byte in it; is this a text file?", where=f"{path}:{number}", hint="export it again")
        yield line


def _decodes(file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _lines_beyond_ascii(file: BinaryIO) -> tuple[bytes, int, int, int]:
    """Lines with bytes beyond ASCII; the first that is not UTF-8, the first that is, and the first that surely is.

    A line of two or three ideographs in GB18030 may be UTF-8 by chance; one of `_SURE_BYTES` beyond ASCII is not.
    """
    sample, first, valid, sure, number = bytearray(), 0, 0, 0, 0
    while line := file.readline(_CHUNK):
        number += 1
        if line.isascii():
            continue
        if len(sample) < _SAMPLE_BYTES:
            sample += line
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            first = first or number
        else:
            valid = valid or number
            if not sure and len(line) - len(line.decode("ascii", "ignore")) >= _SURE_BYTES:
                sure = number
        if first and sure:
            break
    return bytes(sample[:_SAMPLE_BYTES]), first, valid, sure


def _proposed(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    if _is_plausible(sample, "gb18030"):
        return "gb18030"
    best = from_bytes(sample, cp_isolation=_CANDIDATES, threshold=0.5).best()
    if best is not None and best.encoding != "gb18030":
        # Of the Western code pages it takes whichever comes first where only common letters are used.
        return "cp1252" if best.encoding == "cp1250" and _is_plausible(sample, "cp1252") else best.encoding
    return "cp1252" if _is_plausible(sample, "cp1252") else ""


def _is_plausible(sample: bytes, encoding: str) -> bool:
    """Whether the bytes, read so, are text as people write it."""
    text = _decoded(sample, encoding)
    beyond = [char for char in text if ord(char) > 0x7F]
    if not beyond:
        return False
    if encoding == "gb18030":
        han = [char for char in beyond if unicodedata.category(char) == "Lo"]
        return bool(han) and sum(map(_is_common_han, han)) >= _COMMON_HAN * len(han)
    signs = sum(1 for char in beyond if not char.isalpha() and char not in _PUNCTUATION)
    return signs <= _SIGNS * len(beyond)


def _decoded(sample: bytes, encoding: str) -> str:
    """The sample, which may end in the middle of a character; empty where it is not of that encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return ""


def _is_common_han(char: str) -> bool:
    try:
        lead = char.encode("gb2312")[0]
    except UnicodeEncodeError:
        return False
    return 0xB0 <= lead <= 0xD7


def _without_mark(head: bytes, path: Path) -> str:
    """UTF-16 without a mark, told by the side on which ASCII has its zeros; `InputError` for anything else with NUL."""
    zeros = [head[place::2].count(0) / max(1, len(head[place::2])) for place in (0, 1)]
    for name, zero_side in (("utf-16-le", 1), ("utf-16-be", 0)):
        text = _decoded(head[: len(head) // 2 * 2], name)
        letters = sum(char.isprintable() or char in "\r\n\t" for char in text)
        if zeros[zero_side] > zeros[1 - zero_side] and text and "\0" not in text and letters >= 0.95 * len(text):
            return name
    raise InputError("not a text file: NUL bytes in it", where=str(path), hint="export it as CSV, JSONL or XLSX")
