"""A picture or a recording that comes with a question: bytes with a bound, and what their beginning says they are.

Promises: nothing is decoded here; no more than the bound is read, also from a file that grows; a file's name and ending
decide nothing. A decoder is later opened for the one format found here, so a file that is two things at once is only
what it begins with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtime.base.files import expand_user, open_regular
from runtime.base.terminal import printable
from runtime.errors import InputError

AttachmentKind = Literal["picture", "recording"]
MAX_BYTES: dict[AttachmentKind, int] = {"picture": 16 << 20, "recording": 32 << 20}
"""Photographs of phones take 2 to 8 MB; ten minutes of speech at 16 kHz take 19 MB."""
MOST_BYTES = max(MAX_BYTES.values())
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})
_SHOWN_NAME_CHARS = 80


@dataclass(frozen=True)
class Attachment:
    """What a person attached; `name` is for messages only."""

    kind: AttachmentKind
    format: str
    """`png`, `jpeg`, `webp`, `heic`, `pdf`; `wav`, `flac`, `ogg`, `mp3`."""
    data: bytes = field(repr=False)
    name: str


def attach(data: bytes, name: str = "") -> Attachment:
    """Bytes as an attachment; `InputError` where they are empty, too many or of a kind that nothing here reads."""
    name = printable(name)[-_SHOWN_NAME_CHARS:].strip() or "the attachment"
    if not data:
        raise InputError("the file is empty", where=name, hint="take the picture or the recording again")
    found = next(((kind, format_) for kind, format_, fits in _FORMATS if fits(data)), None)
    if found is None:
        raise InputError(
            "neither a picture nor a recording that can be read here",
            where=name,
            hint="save it as PNG, JPEG, WebP, HEIC or PDF; speech as WAV, FLAC, OGG or MP3",
        )
    kind, format_ = found
    if len(data) > MAX_BYTES[kind]:
        raise InputError(
            f"{len(data) / 2**20:,.1f} MiB is more than the {MAX_BYTES[kind] >> 20} MiB allowed for a {kind}",
            where=name,
            hint="send a smaller photograph" if kind == "picture" else "send a shorter recording",
        )
    return Attachment(kind, format_, data, name)


def read_attachment(path: Path) -> Attachment:
    """A file as an attachment; `MissingError` or `InputError` where there is none, or none that can be used."""
    with open_regular(expand_user(path)) as file:
        return attach(file.read(MOST_BYTES + 1), path.name)


def _begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(beginnings)


def _riff(kind: bytes) -> Callable[[bytes], bool]:
    return lambda data: data[:4] == b"RIFF" and data[8:12] == kind


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS


_FORMATS: tuple[tuple[AttachmentKind, str, Callable[[bytes], bool]], ...] = (
    ("picture", "png", _begins(b"\x89PNG\r\n\x1a\n")),
    ("picture", "jpeg", _begins(b"\xff\xd8\xff")),
    ("picture", "webp", _riff(b"WEBP")),
    ("picture", "heic", _is_heic),
    ("picture", "pdf", _begins(b"%PDF-")),
    ("recording", "wav", _riff(b"WAVE")),
    ("recording", "flac", _begins(b"fLaC")),
    ("recording", "ogg", _begins(b"OggS")),
    ("recording", "mp3", _begins(b"ID3", *(bytes((0xFF, second)) for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2)))),
)
