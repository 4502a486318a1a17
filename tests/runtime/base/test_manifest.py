from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.base.build_stage import stage
from runtime.base.files import open_below
from runtime.base.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    digest,
    read_manifest,
    safe_path,
    verify,
    write_manifest,
)
from runtime.errors import EdgedeskError, IntegrityError, MissingError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    (made / "文章").mkdir(parents=True)
    (made / "文章" / "退货　期限.md").write_text("30天内。", encoding="utf-8")
    (made / "a.bin").write_bytes(bytes(range(256)) * 10)
    write_manifest(made, "bundle", {"x": 1}, {"seconds": 1})
    return made


def test_a_folder_as_it_was_built_is_accepted(folder: Path) -> None:
    verify(folder, read_manifest(folder))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2559), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found_and_the_file_named(folder: Path, place: int, bit: int) -> None:
    """F5."""
    path = folder / "a.bin"
    data = path.read_bytes()
    path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
    with pytest.raises(IntegrityError, match=r"'a\.bin' is not what was built"):
        verify(folder, read_manifest(folder))
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["gone", "cut", "grown", "link", "extra", "extra link", "pipe", "folder link"])
def test_a_changed_folder_is_refused_naming_the_file(folder: Path, tmp_path: Path, damage: str) -> None:
    path = folder / "a.bin"
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            os.truncate(path, 100)
        case "grown":
            path.write_bytes(path.read_bytes() + b"x")
        case "link":
            path.rename(tmp_path / "a.bin")
            path.symlink_to(tmp_path / "a.bin")
        case "extra":
            (folder / "a.bin.py").write_text("x")
        case "extra link":
            (folder / "a.bin.link").symlink_to("/etc/passwd")
        case "pipe":
            os.mkfifo(folder / "a.bin.pipe")
        case "folder link":
            (folder / "文章").rename(tmp_path / "a.bin 文章")
            (folder / "文章").symlink_to(tmp_path / "a.bin 文章")
    with pytest.raises(IntegrityError, match=r"a\.bin|文章"):
        verify(folder, read_manifest(folder))


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "a//x", "./x", "", ".", "..", "a/", "a\\..\\x", "a\x00b", "a\nb", "\x1b[2Jx"],
)
def test_a_name_that_leads_elsewhere_is_refused(
    folder: Path, name: str, count_trials: Callable[[str, int], None]
) -> None:
    """S4."""
    assert not safe_path(name)
    manifest = Manifest(kind="bundle", files=(FileEntry(path=name, sha256="0" * 64, bytes=0),))
    with pytest.raises(IntegrityError, match="outside"):
        verify(folder, manifest)
    count_trials("S4", 1)


@given(st.text(max_size=20))
def test_a_safe_name_stays_inside(name: str) -> None:
    """S4."""
    if safe_path(name):
        assert os.path.normpath(f"/bundle/{name}") == f"/bundle/{name}"


@pytest.mark.parametrize("names", [("a", "a"), ("Card.md", "card.md"), ("manifest.json", "a")])
def test_a_name_given_twice_or_only_differing_in_case_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    """S4."""
    files = tuple(FileEntry(path=name, sha256="0" * 64, bytes=0) for name in names)
    with pytest.raises(IntegrityError, match="twice"):
        verify(tmp_path, Manifest(kind="bundle", files=files))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe{}", b"{}", b'{"kind": "x", "files": [{"path": "a"}]}'])
def test_a_malformed_manifest_is_an_integrity_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(IntegrityError):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_manifest(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_manifest_are_refused_in_our_own_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("m")
    (folder / MANIFEST).write_bytes(data)
    with pytest.raises(EdgedeskError):
        read_manifest(folder)


def test_a_stage_runs_once_per_input_and_again_when_asked(tmp_path: Path) -> None:
    runs: list[int] = []

    def work(folder: Path) -> dict[str, Any]:
        runs.append(1)
        (folder / "out").write_text(str(len(runs)))
        return {"rows": 7}

    target = tmp_path / "步骤"
    manifest, ran = stage(target, "records", {"path": Path("x"), "n": 1}, work)
    assert ran
    assert manifest.figures["rows"] == 7
    assert manifest.figures["seconds"] >= 0
    assert stage(target, "records", {"path": Path("x"), "n": 1}, work)[1] is False
    assert stage(target, "records", {"path": Path("x"), "n": 2}, work)[1] is True
    assert stage(target, "capture", {"path": Path("x"), "n": 2}, work)[1] is True
    assert stage(target, "capture", {"path": Path("x"), "n": 2}, work, force=True)[1] is True
    assert (target / "out").read_text() == "4"
    verify(target, read_manifest(target))


def test_a_stage_with_a_spoilt_manifest_runs_again(tmp_path: Path) -> None:
    stage(tmp_path / "s", "records", {}, lambda _: {})
    (tmp_path / "s" / MANIFEST).write_bytes(b"\xff\xff")
    assert stage(tmp_path / "s", "records", {}, lambda _: {})[1] is True


@pytest.mark.parametrize("damage", ["deleted", "cut", "grown", "a folder in its place"])
def test_a_stage_whose_file_was_lost_or_cut_runs_again(tmp_path: Path, damage: str) -> None:
    def work(folder: Path) -> dict[str, Any]:
        (folder / "子").mkdir()
        (folder / "子" / "out").write_bytes(b"whole")
        return {}

    target = tmp_path / "s"
    stage(target, "records", {}, work)
    path = target / "子" / "out"
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(b"who")
        case "grown":
            path.write_bytes(b"whole and more")
        case "a folder in its place":
            path.mkdir()
    assert stage(target, "records", {}, work)[1] is True
    assert path.read_bytes() == b"whole"
    assert stage(target, "records", {}, work)[1] is False


def test_a_stage_that_fails_keeps_the_last_result(tmp_path: Path) -> None:
    stage(tmp_path / "s", "records", {"n": 1}, lambda folder: {"x": (folder / "a").write_text("1")})

    def broken(folder: Path) -> dict[str, Any]:
        (folder / "a").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "s", "records", {"n": 2}, broken)
    assert read_manifest(tmp_path / "s").inputs == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": "退"}) == digest(json.loads('{"b": "退", "a": 1}'))
    assert digest([1, 2]) != digest([2, 1])


def test_manifest_with_one_flipped_bit_is_never_taken(folder: Path, count_trials: Callable[[str, int], None]) -> None:
    """F5: every bit of manifest.json itself."""
    path = folder / MANIFEST
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            with pytest.raises(IntegrityError):
                read_manifest(folder)
    path.write_bytes(data)
    assert read_manifest(folder).kind == "bundle"
    count_trials("F5", 8 * len(data))


def sealed(folder: Path, *names: str) -> Manifest:
    """The folder's manifest with further entries, as a stranger may write one."""
    entries = tuple(FileEntry(path=name, sha256="0" * 64, bytes=0) for name in names)
    manifest = read_manifest(folder)
    return manifest.model_copy(update={"files": (*manifest.files, *entries)})


@pytest.mark.parametrize("damage", ["", "\ufeff", " ", "\n"])
def test_manifest_with_anything_around_it_is_refused(folder: Path, damage: str) -> None:
    path = folder / MANIFEST
    path.write_text(damage + path.read_text(encoding="utf-8") + (damage or "{}"), encoding="utf-8")
    with pytest.raises(IntegrityError, match="not what was built"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9.md", "cafe\u0301.md"),
        ("A.md", "a.md"),
        ("stra\u00dfe.md", "STRASSE.md"),
        ("\uff21.md", "a.md"),
        ("\u6f22/x.md", "\u6f22/X.md"),
    ],
)
def test_manifest_names_that_are_one_file_on_some_disk_are_refused(folder: Path, one: str, other: str) -> None:
    """Part of S4."""
    with pytest.raises(IntegrityError, match="named twice"):
        verify(folder, sealed(folder, one, other))


@pytest.mark.parametrize("name", ["manifest.json", "MANIFEST.json", "\uff4danifest.json"])
def test_manifest_cannot_name_itself(folder: Path, name: str) -> None:
    with pytest.raises(IntegrityError, match="named twice"):
        verify(folder, sealed(folder, name))


@pytest.mark.parametrize(
    "name", ["a\x1b[31m", "a\x9b31m", "a\u202eb", "a\u2028b", "x" * 256, "/".join(["y" * 200] * 6)]
)
def test_manifest_names_that_cannot_be_shown_or_kept_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(IntegrityError, match="outside") as caught:
        verify(folder, sealed(folder, name))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "device", "folder"])
def test_only_regular_files_are_opened_below_a_folder(folder: Path, tmp_path: Path, kind: str) -> None:
    """Part of S4: what is not a file is refused at once, a pipe nobody writes to as well."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.bin").write_bytes((folder / "a.bin").read_bytes())
    name = "a.bin"
    if kind != "folder link":
        (folder / name).unlink()
    match kind:
        case "link":
            (folder / name).symlink_to(outside / name)
        case "folder link":
            # The bytes are the right ones: it is the way that is not.
            (folder / "sub").symlink_to(outside)
            name = "sub/a.bin"
        case "pipe":
            os.mkfifo(folder / name)
        case "device":
            try:
                os.mknod(folder / name, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("only root makes devices")
        case "folder":
            (folder / name).mkdir()
    with pytest.raises(OSError, match=r".*"):
        open_below(folder, name)
    with open_below(folder, "文章/退货　期限.md") as file:
        assert file.read() == "30天内。".encode()
