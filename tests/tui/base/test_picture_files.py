"""What an agent means by a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.base.picture_files import MAX_LISTED, as_picture_path, list_pictures


@pytest.fixture
def receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "小票 a%b.JPG"
    path.write_bytes(b"")
    return path


def test_path_of_a_picture_is_known_in_every_form_terminals_paste(receipt: Path) -> None:
    name = str(receipt)
    quoted_url = receipt.as_uri()
    forms = (name, f" {name}\n", f"'{name}'", f'"{name}"', name.replace(" ", "\\ "), quoted_url, f"~/{receipt.name}")
    for text in forms:
        assert as_picture_path(text) == receipt, text


@pytest.mark.parametrize(
    "text",
    ["", "receipt.png", "/etc/passwd", "/nowhere/a.png", "see /tmp/a.png", "/tmp/a.png\n/tmp/b.png", "/\0.png",
     "file://", "~nobody-at-all/a.png", "/" + "a" * 5000 + ".png", "'"],
)  # fmt: skip
def test_text_that_names_no_picture_stays_text(receipt: Path, text: str) -> None:
    assert as_picture_path(text) is None


def test_listed_pictures_are_those_of_the_typed_folder_newest_first(receipt: Path) -> None:
    folder = receipt.parent
    for number in range(MAX_LISTED + 5):
        (folder / f"scan{number}.pdf").write_bytes(b"")
    (folder / "scan.txt").write_text("")
    assert list_pictures(f"{folder}/小票") == [receipt]
    assert len(list_pictures(f"{folder}/scan")) == MAX_LISTED
    assert list_pictures(str(receipt)) == [receipt]
    assert list_pictures(f"{folder}/none") == []
    assert list_pictures("/no/such/folder/") == []
