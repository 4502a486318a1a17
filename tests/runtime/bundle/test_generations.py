from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base import files
from runtime.base.manifest import FileEntry, manifest_text, read_manifest, verify, write_manifest
from runtime.bundle.generations import current_bundle, generations, install, rollback
from runtime.errors import BusyError, ExitCode, IntegrityError, MissingError, ModelError, SpaceError

Make = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "家 home"


def versions(home: Path) -> list[tuple[int, str, bool]]:
    return [(found.number, found.info.version, found.current) for found in generations(home)]


def leftovers(home: Path) -> list[str]:
    return [path.name for folder in (home, home / "generations") if folder.is_dir() for path in folder.glob(".*")]


def test_without_a_bundle_the_next_step_is_said(home: Path) -> None:
    assert generations(home) == []
    with pytest.raises(MissingError) as caught:
        current_bundle(home)
    assert caught.value.hint == "edgedesk install BUNDLE"


def test_an_installed_bundle_is_current_and_whole(make_bundle: Make, home: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assert install(make_bundle(), home, lambda *step: seen.append(step)) == 1
    bundle = current_bundle(home)
    verify(bundle.root, read_manifest(bundle.root))
    assert (home / "current").readlink() == Path("generations/1")
    assert seen[-1][1] == seen[-1][2] == sum(entry.bytes for entry in read_manifest(bundle.root).files)
    assert [step[1] for step in seen] == sorted(step[1] for step in seen)
    assert leftovers(home) == []


def test_a_second_bundle_becomes_current_and_the_first_stays_for_the_way_back(make_bundle: Make, home: Path) -> None:
    install(make_bundle("a", "1"), home)
    assert install(make_bundle("b", "2"), home) == 2
    assert versions(home) == [(1, "1", False), (2, "2", True)]
    assert rollback(home) == 1
    assert current_bundle(home).info.version == "1"
    with pytest.raises(MissingError, match="no earlier generation"):
        rollback(home)
    assert install(make_bundle("c", "3"), home) == 3


def test_the_same_bundle_again_is_not_copied_again(make_bundle: Make, home: Path) -> None:
    first, second = make_bundle("a", "1"), make_bundle("b", "2")
    install(first, home)
    install(second, home)
    assert install(first, home) == 1
    assert versions(home) == [(1, "1", True), (2, "2", False)]


def test_a_damaged_generation_is_neither_gone_back_to_nor_taken_for_installed(make_bundle: Make, home: Path) -> None:
    first = make_bundle("a", "1")
    install(first, home)
    install(make_bundle("b", "2"), home)
    with (home / "generations/1/model/q4_k_m.gguf").open("r+b") as file:
        file.seek(2000)
        file.write(b"\xff")
    with pytest.raises(MissingError, match="no earlier generation"):
        rollback(home)
    assert current_bundle(home).info.version == "2"
    assert install(first, home) == 3


@pytest.mark.parametrize(
    "name", ["model/q4_k_m.gguf", "articles/zh/returns-window.md", "embedder/model.onnx", "policy.toml"]
)
def test_a_damaged_bundle_is_refused_naming_the_file_and_the_old_one_serves(
    make_bundle: Make, home: Path, name: str
) -> None:
    """F5."""
    install(make_bundle("a", "1"), home)
    bad = make_bundle("b", "2")
    data = bytearray((bad / name).read_bytes() + b"\n")
    (bad / name).write_bytes(data)
    write_manifest(bad, "bundle", {}, {})
    data[-1] ^= 1
    (bad / name).write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        install(bad, home)
    assert name in caught.value.what
    assert caught.value.where == str(bad)
    assert versions(home) == [(1, "1", True)]
    assert leftovers(home) == []


@pytest.mark.parametrize("kind", ["gone", "link", "longer"])
def test_a_file_that_is_gone_a_link_or_too_long_is_refused(
    make_bundle: Make, home: Path, kind: str, count_trials: Callable[[str, int], None]
) -> None:
    """S4. Part of S3: an endless file is read no further than its promised length."""
    bad = make_bundle()
    card = bad / "card.md"
    if kind == "longer":
        os.truncate(card, 1 << 40)
    else:
        card.unlink()
    if kind == "link":
        card.symlink_to("/etc/passwd")
    with pytest.raises(IntegrityError, match=r"card\.md"):
        install(bad, home)
    assert leftovers(home) == []
    count_trials("S4", 1)


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/../../../outside"])
def test_a_manifest_cannot_write_outside(
    make_bundle: Make, home: Path, tmp_path: Path, name: str, count_trials: Callable[[str, int], None]
) -> None:
    """S4."""
    bad = make_bundle()
    manifest = read_manifest(bad)
    files = (*manifest.files, FileEntry(path=name, sha256="0" * 64, bytes=0))
    (bad / "manifest.json").write_text(manifest_text(manifest.model_copy(update={"files": files})))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(IntegrityError, match="outside"):
        install(bad, home)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    count_trials("S4", 1)


def test_what_does_not_stand_in_the_manifest_is_not_copied(make_bundle: Make, home: Path) -> None:
    source = make_bundle()
    (source / "System Volume Information").mkdir()
    (source / "System Volume Information" / "x").write_text("x")
    install(source, home)
    assert not (current_bundle(home).root / "System Volume Information").exists()


def test_a_bundle_whose_model_is_no_model_is_refused(make_bundle: Make, home: Path) -> None:
    bad = make_bundle()
    (bad / "model" / "q4_k_m.gguf").write_bytes(b"not a model" * 100)
    write_manifest(bad, "bundle", {}, {})
    with pytest.raises(ModelError):
        install(bad, home)
    assert generations(home) == []


def test_space_is_checked_before_anything_is_copied(
    make_bundle: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3."""
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError, match="needs"):
        install(make_bundle(), home)
    assert not (home / "generations").exists()


CUT = """
import resource, signal, sys
from pathlib import Path
from runtime.errors import EdgedeskError
from runtime.bundle.generations import install
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
try:
    install(Path(sys.argv[2]), Path(sys.argv[3]))
except EdgedeskError as error:
    sys.exit(int(error.exit_code))
"""


@pytest.mark.parametrize("room", [1, 60, 200, 500, 1000])
def test_a_write_that_finds_no_room_leaves_the_old_generation_serving(make_bundle: Make, home: Path, room: int) -> None:
    """F3: the kernel itself refuses to write past `room` bytes of a file, and another one as it falls."""
    install(make_bundle("a", "1"), home)
    second = make_bundle("b", "2")
    before = home.joinpath("current").readlink()
    done = subprocess.run([sys.executable, "-c", CUT, str(room), str(second), str(home)], check=False)
    assert done.returncode == ExitCode.NO_SPACE
    assert home.joinpath("current").readlink() == before
    assert leftovers(home) == []
    assert install(second, home) == 2


HOLDER = """
import sys
from pathlib import Path
from runtime.bundle.generations import installing
with installing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_installer_is_told_at_once_who_is_at_work(
    make_bundle: Make, home: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F14."""
    bundle = make_bundle()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        for act in (lambda: install(bundle, home), lambda: rollback(home)):
            started = time.monotonic()
            with pytest.raises(BusyError, match=f"process {other.pid}"):
                act()
            assert time.monotonic() - started < 1
        assert generations(home) == []
        other.kill()
    assert install(bundle, home) == 1
    count_trials("F14", 2)


def test_a_broken_generation_is_left_out_of_the_list(make_bundle: Make, home: Path) -> None:
    install(make_bundle(), home)
    (home / "generations" / "7").mkdir()
    (home / "generations" / "notes").mkdir()
    assert versions(home) == [(1, "1", True)]
    assert install(make_bundle("b", "2"), home) == 8


def test_ctrl_c_leaves_nothing_half_made(make_bundle: Make, home: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(make_bundle(), home, interrupt)
    assert leftovers(home) == []
    assert generations(home) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_installed_files_are_their_owners_alone(make_bundle: Make, home: Path, umask: int) -> None:
    """Part of S13: whatever the umask, and in a home that was open before."""
    bundle = make_bundle()
    home.mkdir()
    home.chmod(0o755)
    before = os.umask(umask)
    try:
        install(bundle, home)
    finally:
        os.umask(before)
    assert home.stat().st_mode & 0o777 == 0o700
    paths = [path for path in home.rglob("*") if not path.is_symlink()]
    assert len(paths) > 10
    for path in paths:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_an_installed_file_that_changed_is_not_parsed(make_bundle: Make, home: Path) -> None:
    """Without verifying the whole, what is read of a bundle was still compared with its hash before."""
    install(make_bundle(), home)
    for name in ("bundle.json", "prompt.json"):
        path = home / "current" / name
        data = path.read_text(encoding="utf-8")
        path.write_text("{" * len(data.encode()), encoding="utf-8")
        with pytest.raises(IntegrityError, match=f"'{name}' is not what was built"):
            current_bundle(home)
        path.write_text(data, encoding="utf-8")
    current_bundle(home)


def damage(home: Path, number: int) -> None:
    """In a file that only this generation has: others share their models with it."""
    with (home / f"generations/{number}/bundle.json").open("a") as file:
        file.write(" ")


def test_rollback_names_the_damaged_generation_and_offers_the_next(make_bundle: Make, home: Path) -> None:
    for number in ("1", "2", "3", "4"):
        install(make_bundle("shop-" + number, number), home)
    damage(home, 3)
    with pytest.raises(IntegrityError, match="generation 3 is damaged") as caught:
        rollback(home, skip_damaged=False)
    assert "bundle.json" in str(caught.value)
    assert caught.value.hint == "generation 2, shop 2, is whole: edgedesk rollback --to 2"
    assert versions(home)[-1] == (4, "4", True)
    assert rollback(home, 2, skip_damaged=False) == 2
    assert current_bundle(home).info.version == "2"


def test_rollback_with_nothing_whole_before_says_what_to_do(make_bundle: Make, home: Path) -> None:
    install(make_bundle("a", "1"), home)
    install(make_bundle("b", "2"), home)
    damage(home, 1)
    for to in (None, 1):
        with pytest.raises(IntegrityError, match="generation 1 is damaged") as caught:
            rollback(home, to, skip_damaged=False)
        assert "edgedesk install" in caught.value.hint
    for to in (2, 3):
        with pytest.raises(MissingError, match=f"no earlier generation {to}") as missing:
            rollback(home, to, skip_damaged=False)
        assert missing.value.hint == "earlier than the one that runs: 1"
    assert current_bundle(home).info.version == "2"


def test_rollback_that_nobody_watches_passes_over_what_is_damaged(make_bundle: Make, home: Path) -> None:
    for number in ("1", "2", "3"):
        install(make_bundle("shop-" + number, number), home)
    damage(home, 2)
    assert rollback(home) == 1
