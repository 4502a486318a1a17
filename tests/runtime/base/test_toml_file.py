from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.toml_file import read_toml
from runtime.desk.policy import read_policy
from runtime.errors import InputError, MissingError, UsageError
from tui.base.settings import read_settings


def test_toml_file_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + "name = '退货'\r\n".encode())
        assert read_toml(path) == {"name": "退货"}


@pytest.mark.parametrize(
    ("read", "text"),
    [(read_policy, "[refusal]\ntext = 'x'\n"), (read_settings, "theme = 'light'\n")],
    ids=["policy", "console"],
)
def test_toml_files_of_people_may_begin_with_a_byte_order_mark(
    tmp_path: Path, read: Callable[[Path], object], text: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    plain = tmp_path / "b.toml"
    plain.write_text(text)
    assert read(path) == read(plain)


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2", "a = " + "[" * 9000, "a = " + "9" * 9000, "[a\n"])
def test_toml_file_that_is_not_toml_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    for kind in (InputError, UsageError):
        with pytest.raises(kind, match="not TOML") as caught:
            read_toml(path, refuse=kind)
        assert caught.value.where == str(path)
        assert len(caught.value.what) < 300


def test_toml_file_that_is_absent_or_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_bytes("名 = 1".encode("gb18030"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_toml(tmp_path / "a.toml")
