"""`edgedesk keys`, as people type it: made, shown, replaced, taken away, signed for with keys that lie on sticks."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runtime.bundle.generations import current_bundle
from runtime.bundle.keys import DRAFT, MAX_KEY_BYTES, MAX_METADATA_BYTES, ROLES, KeyFolder
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource
from runtime.cli.keys import app
from runtime.cli.output import from_os_error
from runtime.cli.release import app as release_command
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError, UsageError

Small = Callable[[str], Path]


def keys(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def said(*words: object) -> dict[str, Any]:
    return dict(json.loads(keys(*words, "--json")))


def ids(folder: Path, role: str) -> list[str]:
    return [row["keyid"] for row in said("show", folder)["keys"] if row["role"] == role]


def pem(folder: Path, role: str) -> Path:
    """The only private key of a role."""
    (path,) = folder.glob(f"{role}-*.pem")
    return path


class HeadOffice:
    """A folder of keys whose three root keys lie on three sticks, and the folder it publishes to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.release_folder = folder / "keys", folder / "release"
        keys("init", self.folder)
        self.sticks = [folder / f"stick {number}" for number in (1, 2, 3)]
        for stick, path in zip(self.sticks, sorted(self.folder.glob("root-*.pem")), strict=True):
            stick.mkdir()
            shutil.move(path, stick / path.name)

    def on_stick(self, number: int) -> Path:
        (path,) = self.sticks[number].iterdir()
        return path

    def release(self, bundle: Path | None = None) -> None:
        words = [*([str(bundle)] if bundle else []), "--keys", str(self.folder), "--to", str(self.release_folder)]
        done = CliRunner().invoke(release_command, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output


@pytest.fixture
def office(tmp_path: Path) -> HeadOffice:
    return HeadOffice(tmp_path)


def install(office: HeadOffice, home: Path) -> str:
    install_release(FolderSource(office.release_folder), home)
    return current_bundle(home).info.version


def test_keys_are_made_for_every_role_and_their_owner_alone_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "our keys"
    made = said("init", folder)
    counts = Counter(row["role"] for row in made["keys"])
    assert counts == Counter({role: 3 if role == "root" else 1 for role in ROLES})
    assert all(row["here"] for row in made["keys"])
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.pem")} == {0o600}
    shown = keys("show", folder).splitlines()
    assert len(shown) == 9
    assert all(line.endswith("private key here") for line in shown)
    pem(folder, "app").unlink()
    (line,) = (line for line in keys("show", folder).splitlines() if line.startswith("app"))
    assert "private" not in line


def test_key_of_a_part_is_replaced_without_the_root_keys(
    office: HeadOffice, small_bundle: Small, tmp_path: Path
) -> None:
    office.release(small_bundle("1"))
    assert install(office, tmp_path / "home") == "1"
    (old,) = ids(office.folder, "articles")
    assert "articles: version 2" in keys("rotate", office.folder, "articles")
    (new,) = ids(office.folder, "articles")
    assert new != old
    office.release(small_bundle("2"))
    assert install(office, tmp_path / "home") == "2"


def test_change_of_root_takes_effect_with_the_second_signature(
    office: HeadOffice, small_bundle: Small, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S1: a replaced timestamp key; one root signature changes nothing, and the old key signs nothing after two."""
    office.release(small_bundle("1"))
    assert install(office, tmp_path / "home") == "1"
    thief = tmp_path / "thief"
    shutil.copytree(office.folder, thief / "keys")
    shutil.copytree(office.release_folder, thief / "release")
    (old,) = ids(office.folder, "timestamp")
    assert "waits: 2 more root signatures" in keys("rotate", office.folder, "timestamp")
    assert ids(office.folder, "timestamp") == [old], "it has no effect yet"
    waiting = said("sign", office.folder, "--key", office.on_stick(0))
    assert waiting == {"role": "root", "version": 2, "missing_signatures": 1}
    again = said("sign", office.folder, "--key", office.on_stick(0))
    assert again["missing_signatures"] == 1, "the same key twice is one signature"
    with pytest.raises(UsageError, match="another change of keys waits"):
        keys("rotate", office.folder, "snapshot")
    assert len(list(office.folder.glob("snapshot-*.pem"))) == 1, "no key was made for a change that was refused"
    done = said("sign", office.folder, "--key", office.on_stick(2))
    assert done == {"role": "root", "version": 2, "missing_signatures": 0}
    assert not (office.folder / DRAFT).exists()
    assert ids(office.folder, "timestamp") != [old]
    office.release(small_bundle("2"))
    assert install(office, tmp_path / "home") == "2"
    # Whoever has the old keys publishes on, with more and more versions.
    robbed = HeadOffice.__new__(HeadOffice)
    robbed.folder, robbed.release_folder = thief / "keys", thief / "release"
    for version in ("3", "4", "5"):
        robbed.release(small_bundle(version))
    shutil.copyfile(office.folder / "2.root.json", thief / "release" / "metadata" / "2.root.json")
    with pytest.raises(IntegrityError):
        install(robbed, tmp_path / "home")
    assert current_bundle(tmp_path / "home").info.version == "2"
    count_trials("S1", 2)


def test_root_keys_are_replaced_one_by_one_and_an_old_branch_follows(
    office: HeadOffice, small_bundle: Small, tmp_path: Path
) -> None:
    """A branch that has slept through three changes of root walks from the one it knows to the newest."""
    office.release(small_bundle("1"))
    assert install(office, tmp_path / "home") == "1"
    all_sticks = [word for number in (0, 1, 2) for word in ("--key", office.on_stick(number))]
    for old in ids(office.folder, "root"):
        with pytest.raises(UsageError, match="3 fit") as caught:
            keys("rotate", office.folder, "root", *all_sticks)
        assert old[:8] in caught.value.hint
        assert said("rotate", office.folder, "root", "--old", old[:8], *all_sticks)["missing_signatures"] == 0
    assert said("show", office.folder)["root_version"] == 4
    assert [row["here"] for row in said("show", office.folder)["keys"] if row["role"] == "root"] == [True] * 3
    office.release(small_bundle("2"))
    assert install(office, tmp_path / "home") == "2"


def test_lost_root_key_is_revoked_and_the_last_two_stay(
    office: HeadOffice, small_bundle: Small, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S1: a revoked root key signs no root any more."""
    office.release(small_bundle("1"))
    assert install(office, tmp_path / "home") == "1"
    lost = office.on_stick(1)
    (gone,) = KeyFolder(tmp_path / "keys", more=[lost]).signers().keys() & set(ids(office.folder, "root"))
    two = ["--key", office.on_stick(0), "--key", office.on_stick(2)]
    assert said("revoke", office.folder, gone[:8], *two) == {"role": "root", "version": 2, "missing_signatures": 0}
    assert gone not in ids(office.folder, "root")
    for rest in ids(office.folder, "root"):
        with pytest.raises(UsageError, match="left with too few keys") as caught:
            keys("revoke", office.folder, rest, *two)
        assert "edgedesk keys rotate root" in caught.value.hint
    office.release(small_bundle("2"))
    assert install(office, tmp_path / "home") == "2"
    keys("rotate", office.folder, "snapshot")
    assert said("sign", office.folder, "--key", lost)["missing_signatures"] == 2, "it counts for nothing"
    count_trials("S1", 1)


def test_new_targets_key_signs_the_parts_anew_wherever_root_is_signed(
    office: HeadOffice, small_bundle: Small, tmp_path: Path
) -> None:
    office.release(small_bundle("1"))
    assert install(office, tmp_path / "home") == "1"
    keys("rotate", office.folder, "targets")
    (waiting,) = (path for path in office.folder.glob("targets-*.pem") if path.stem[8:] not in _known(office))
    away = tmp_path / "away.pem"
    waiting.rename(away)
    two = ["--key", office.on_stick(0), "--key", office.on_stick(1)]
    with pytest.raises(MissingError, match="role 'targets'"):
        keys("sign", office.folder, *two)
    assert said("show", office.folder)["root_version"] == 1, "half a change has no effect"
    assert said("sign", office.folder, "--key", away)["missing_signatures"] == 0, "the signatures were kept"
    away.rename(waiting)
    office.release(small_bundle("2"))
    assert install(office, tmp_path / "home") == "2"


def _known(office: HeadOffice) -> set[str]:
    return {row["keyid"][:8] for row in said("show", office.folder)["keys"]}


def test_keys_with_a_passphrase_ask_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys"
    monkeypatch.setenv("EDGEDESK_KEY_PASSPHRASE", "秘密 phrase")
    keys("init", folder)
    assert all(b"ENCRYPTED" in path.read_bytes() for path in folder.glob("*.pem"))
    assert said("rotate", folder, "app")["version"] == 2
    assert all(b"ENCRYPTED" in path.read_bytes() for path in folder.glob("*.pem"))
    monkeypatch.setenv("EDGEDESK_KEY_PASSPHRASE", "wrong")
    with pytest.raises(UsageError, match="passphrase is wrong"):
        keys("show", folder)
    monkeypatch.delenv("EDGEDESK_KEY_PASSPHRASE")
    with pytest.raises(UsageError, match="has a passphrase") as caught:
        keys("show", folder)
    assert "EDGEDESK_KEY_PASSPHRASE" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (("init", "KEYS"), UsageError, "not empty"),
        (("show", "NONE"), MissingError, "no such folder of keys"),
        (("show", "EMPTY"), MissingError, r"no root\.json"),
        (("rotate", "KEYS", "president"), UsageError, "no role 'president'"),
        (("rotate", "KEYS", "app", "--old", "zz"), UsageError, "0 fit"),
        (("revoke", "KEYS", "zz"), UsageError, "no key whose id begins with 'zz'"),
        (("revoke", "KEYS", ""), UsageError, "no key whose id begins with ''"),
        (("sign", "KEYS"), MissingError, "no change of keys waits"),
        (("rotate", "KEYS", "app", "--key", "NONE"), MissingError, "no such file"),
        (("rotate", "KEYS", "app", "--key", "DEVICE"), InputError, "not a regular file"),
        (("rotate", "KEYS", "app", "--key", "LONG"), InputError, "not an Ed25519 key in PEM"),
        (("rotate", "KEYS", "app", "--key", "TEXT"), InputError, "not an Ed25519 key in PEM"),
        (("rotate", "KEYS", "app", "--key", "EC"), InputError, "not an Ed25519 key in PEM"),
    ],
)
def test_wrong_use_of_keys_is_one_sentence_and_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], error: type[EdgedeskError], match: str
) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder = tmp_path / "KEYS"
    keys("init", folder)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "TEXT").write_text("no key\x00\n")
    (tmp_path / "DEVICE").symlink_to("/dev/null")  # which ends where /dev/zero does not: a failure stays small
    (tmp_path / "LONG").write_bytes(pem(folder, "app").read_bytes() + b"\n" * MAX_KEY_BYTES)
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "EC").write_bytes(other)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    places = ("KEYS", "NONE", "EMPTY", "TEXT", "EC", "DEVICE", "LONG")
    with pytest.raises(error, match=match) as caught:
        keys(*(tmp_path / word if word in places else word for word in words))
    assert caught.value.hint
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_rotation_that_lacks_the_targets_key_leaves_no_key_behind(office: HeadOffice) -> None:
    pem(office.folder, "targets").unlink()
    before = sorted(path.name for path in office.folder.iterdir())
    for words in (("rotate", office.folder, "model"), ("revoke", office.folder, ids(office.folder, "model")[0])):
        with pytest.raises(EdgedeskError):
            keys(*words)
    assert sorted(path.name for path in office.folder.iterdir()) == before


def test_metadata_of_any_length_is_read_no_further_than_a_branch_reads(office: HeadOffice) -> None:
    targets = office.folder / "targets.json"
    with targets.open("r+b") as file:
        file.truncate(MAX_METADATA_BYTES + 1)  # a hole: nothing of it lies on the disk
    with pytest.raises(InputError, match="longer than 64 MiB") as caught:
        keys("show", office.folder)
    assert caught.value.where == str(targets)
    targets.unlink()
    targets.symlink_to("/dev/null")  # /dev/zero ends nowhere: a failure stays small
    with pytest.raises(InputError, match="not a regular file"):
        keys("show", office.folder)


def test_keys_and_releases_that_are_to_go_where_a_file_lies_say_so(office: HeadOffice, tmp_path: Path) -> None:
    file = tmp_path / "文件"
    file.write_text("x")
    for command, words in (
        (app, ["init", str(file)]),
        (release_command, ["--keys", str(office.folder), "--to", str(file)]),
    ):
        with pytest.raises(OSError, match=r".*") as caught:
            CliRunner().invoke(command, words, catch_exceptions=False)
        error = from_os_error(caught.value)
        assert isinstance(error, UsageError)
        assert error.where == str(file)
        assert "disk" not in error.what + error.hint
    assert file.read_text() == "x"
