"""What is attached is bounded, and is what its first bytes say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.errors import InputError, MissingError
from runtime.perception.attachment import MAX_BYTES, attach, read_attachment

PNG = b"\x89PNG\r\n\x1a\n"
BEGINNINGS = {
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe1",
    "webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    "heic": b"\0\0\0\x18ftypheic",
    "pdf": b"%PDF-1.7\n",
    "wav": b"RIFF\x10\0\0\0WAVEfmt ",
    "flac": b"fLaC\0",
    "ogg": b"OggS\0",
    "mp3": b"ID3\x04",
}
MP3_FRAMES = (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2")
"""Layer III of MPEG 1, 2 (22 kHz) and 2.5 (8 to 12 kHz), each without and with a checksum."""


@pytest.mark.parametrize("format_", BEGINNINGS)
def test_attachment_is_what_its_first_bytes_say(format_: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.of.something"
    path.write_bytes(BEGINNINGS[format_] + b"rest")
    found = read_attachment(path)
    assert (found.format, found.name, found.data) == (format_, path.name, path.read_bytes())
    assert found.kind == ("recording" if format_ in ("wav", "flac", "ogg", "mp3") else "picture")
    assert "rest" not in repr(found), "bytes of a customer do not reach a log"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"GIF89a", "neither a picture nor a recording"),
        (b"<svg onload=alert(1)>", "neither a picture nor a recording"),
        (b"Can I return this?", "neither a picture nor a recording"),
        (PNG + bytes(MAX_BYTES["picture"]), "more than the 16 MiB allowed for a picture"),
        (b"fLaC" + bytes(MAX_BYTES["recording"]), "more than the 32 MiB allowed for a recording"),
    ],
    ids=["empty", "gif", "svg", "text", "large picture", "long recording"],
)
def test_attachment_that_cannot_be_used_is_refused_undecoded(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        attach(data, "a.png")
    assert caught.value.hint


@pytest.mark.parametrize("frame", MP3_FRAMES, ids=bytes.hex)
def test_mp3_without_tags_is_a_recording_at_every_rate(frame: bytes) -> None:
    assert attach(frame + b"\x90\xc4rest").format == "mp3"


def test_attachment_name_cannot_steer_a_terminal() -> None:
    with pytest.raises(InputError) as caught:
        attach(b"", "a\x1b[2J\u202egnp.exe")
    assert caught.value.where == "a [2J gnp.exe"


def test_attachment_that_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError):
            read_attachment(path)
    with pytest.raises(MissingError):
        read_attachment(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("~no-such-user-here/receipt.png", "no such file"),
        ("a.png/receipt.png", "no such file"),
        ("票" * 300, "the file name is too long"),
    ],
    ids=["a home of nobody", "below a file", "too long"],
)
def test_attachment_path_that_leads_nowhere_is_missing(
    name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(PNG)
    with pytest.raises(MissingError, match=what) as caught:
        read_attachment(Path(name))
    assert caught.value.hint == "check the path"


def test_attachment_behind_links_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.png").symlink_to(tmp_path / "other.png")
    (tmp_path / "other.png").symlink_to(tmp_path / "one.png")
    with pytest.raises(InputError, match="symbolic links in a loop"):
        read_attachment(tmp_path / "one.png")
