"""What a branch believes of a release, against those who would have it believe something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Root

from runtime.bundle.generations import current_bundle, generations
from runtime.bundle.keys import KeyFolder, make_keys, metadata_bytes
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource
from runtime.bundle.trust_record import LIMITS
from runtime.errors import EdgedeskError, IntegrityError, MissingError
from tests.support.releases import DAY, NOW, Company, make_fit, resign, seal

Small = Callable[[str], Path]
Count = Callable[[str, int], None]


def install(release: Path, home: Path, **options: Any) -> int:
    return install_release(FolderSource(release), home, **options)[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def released(company: Company, small_bundle: Small, home: Path) -> Company:
    """Release 1 is installed, release 2 is published."""
    company.release(small_bundle("1"))
    install(company.folder, home)
    company.release(small_bundle("2"))
    return company


@pytest.fixture
def stranger(tmp_path: Path) -> KeyFolder:
    """Somebody else's keys."""
    return make_keys(tmp_path / "stranger", NOW)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "model", "articles", "app"])
@pytest.mark.parametrize("how", ["stranger", "unsigned", "changed", "wrong role"])
def test_release_with_a_role_that_is_not_signed_by_its_key_is_refused(
    released: Company, stranger: KeyFolder, home: Path, role: str, how: str, count_trials: Count
) -> None:
    """S1: each role signed by a stranger, by nobody, by another role's key, or changed after it was signed."""
    path = released.metadata(role)
    metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    metadata.signed.version += 1  # so that no cached one is taken in its place
    if how != "changed":
        metadata.signatures.clear()
    if how == "stranger":
        (key,) = stranger.keys_of(role)
        metadata.sign(stranger.signers()[key.keyid])
    if how == "wrong role":
        (key,) = released.keys.keys_of("snapshot" if role != "snapshot" else "timestamp")
        metadata.sign(released.keys.signers()[key.keyid])
    data = metadata_bytes(metadata)
    if role == "timestamp":
        path.write_bytes(data)
    else:
        # Whoever holds the keys below, snapshot and timestamp, makes the rest fit.
        path.with_name(f"{metadata.signed.version}.{role}.json").write_bytes(data)
        make_fit(released, role, data, metadata.signed.version)
    with pytest.raises(IntegrityError):
        install(released.folder, home)
    assert current_bundle(home).info.version == "1"
    count_trials("S1", 1)


@pytest.mark.parametrize("signatures", [0, 1])
def test_new_root_with_too_few_signatures_is_refused(
    released: Company, stranger: KeyFolder, home: Path, signatures: int, count_trials: Count
) -> None:
    """S1: a root that hands the branch over to a stranger, signed by none or one of the three old root keys."""
    root: Metadata[Root] = released.keys.root()
    root.signed.version += 1
    for role in ("targets", "snapshot", "timestamp"):
        (old,), (new,) = released.keys.keys_of(role), stranger.keys_of(role)
        root.signed.add_key(new, role)
        root.signed.revoke_key(old.keyid, role)
    root.signatures.clear()
    for key in released.keys.keys_of("root")[:signatures]:
        root.sign(released.keys.signers()[key.keyid], append=True)
    (released.folder / "metadata" / "2.root.json").write_bytes(metadata_bytes(root))
    with pytest.raises(IntegrityError, match="root was signed by"):
        install(released.folder, home)
    assert current_bundle(home).info.version == "1"
    count_trials("S1", 1)


def test_role_that_has_ended_is_named(company: Company, small_bundle: Small, home: Path) -> None:
    company.release(small_bundle("1"))
    install(company.folder, home)
    ended = company.metadata("targets")
    resign(company, ended, lambda signed: setattr(signed, "expires", NOW.replace(microsecond=0) - 2 * DAY))
    make_fit(company, "targets", ended.read_bytes(), int(ended.name.split(".")[0]))
    with pytest.raises(IntegrityError, match="its 'targets' has expired"):
        install(company.folder, home.with_name("new home"))


def test_older_release_is_called_older(released: Company, home: Path, tmp_path: Path, small_bundle: Small) -> None:
    older = released.copy(tmp_path / "older")
    released.release(small_bundle("3"))
    install(released.folder, home)
    with pytest.raises(IntegrityError, match="an earlier release than this branch has seen"):
        install(older, home)
    assert current_bundle(home).info.version == "3"


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", "model", "articles"])
def test_revoked_key_signs_nothing_any_more(
    released: Company, home: Path, tmp_path: Path, role: str, small_bundle: Small, count_trials: Count
) -> None:
    """S1: whoever keeps the key that was replaced cannot publish with it, and the company can with the new one."""
    stolen = tmp_path / "stolen"
    shutil.copytree(released.keys.folder, stolen)
    before = released.folder.with_name("before")
    shutil.copytree(released.folder, before)
    released.keys.rotate(role, NOW)
    released.release(small_bundle("3"))
    install(released.folder, home)
    assert current_bundle(home).info.version == "3"
    thief = Company(KeyFolder(stolen), before)
    for version in ("4", "5", "6"):
        thief.release(small_bundle(version))
    # The thief serves the company's own root, or the branch would see nothing new.
    shutil.copyfile(
        sorted((released.folder / "metadata").glob("*.root.json"))[-1],
        before / "metadata" / sorted((released.folder / "metadata").glob("*.root.json"))[-1].name,
    )
    with pytest.raises(IntegrityError):
        install(before, home)
    assert current_bundle(home).info.version == "3"
    # This thief took the keys of snapshot and timestamp as well and has run ahead with them: they are replaced, too.
    for other in ("snapshot", "timestamp"):
        released.keys.rotate(other, NOW)
    released.release(small_bundle("7"))
    assert current_bundle(home).info.version == "3"
    install(released.folder, home)
    assert current_bundle(home).info.version == "7"
    count_trials("S1", 1)


def test_stranger_with_a_whole_release_of_their_own_is_refused(
    released: Company, stranger: KeyFolder, home: Path, tmp_path: Path, small_bundle: Small, count_trials: Count
) -> None:
    """S1: also at a branch whose trust.json was deleted: the high-water mark keeps the root."""
    other = Company(stranger, tmp_path / "theirs")
    for version in ("8", "9", "10"):
        other.release(small_bundle(version))
    for gone in ((), ("trust.json",), ("high-water.json",)):
        for name in gone:
            (home / name).unlink()
        with pytest.raises(IntegrityError):
            install(other.folder, home)
        assert current_bundle(home).info.version == "1"
        install(released.folder, home)  # the company's own is still believed, and writes both again
        assert install(released.folder, home) == 2
        from runtime.bundle.generations import rollback

        rollback(home)
        count_trials("S1", 1)


def test_root_of_another_way_decides_the_first_installation(
    company: Company, stranger: KeyFolder, home: Path, small_bundle: Small
) -> None:
    company.release(small_bundle("1"))
    with pytest.raises(IntegrityError):
        install(company.folder, home, root=(stranger.folder / "1.root.json").read_bytes())
    assert generations(home) == []
    assert install(company.folder, home, root=(company.keys.folder / "1.root.json").read_bytes()) == 1


@pytest.mark.parametrize("deleted", [(), ("trust.json",), ("high-water.json",)])
def test_earlier_release_is_refused_also_after_its_record_was_deleted(
    company: Company,
    small_bundle: Small,
    home: Path,
    tmp_path: Path,
    deleted: tuple[str, ...],
    count_trials: Count,
) -> None:
    """S2: a stick with an earlier release, whole and signed by the company, and one of two records gone."""
    company.release(small_bundle("1"))
    old = company.copy(tmp_path / "old")
    company.release(small_bundle("2"))
    install(company.folder, home)
    for name in deleted:
        (home / name).unlink()
    with pytest.raises(IntegrityError):
        install(old, home)
    assert current_bundle(home).info.version == "2"
    count_trials("S2", 1)


def test_older_content_comes_back_by_an_order_that_is_signed(
    company: Company, small_bundle: Small, home: Path, count_trials: Count
) -> None:
    """S2: head office releases the old bundle anew."""
    first = small_bundle("1")
    company.release(first)
    company.release(small_bundle("2"))
    install(company.folder, home)
    company.release(first)
    install(company.folder, home)
    assert current_bundle(home).info.version == "1"
    count_trials("S2", 1)


@pytest.mark.parametrize("role", ["snapshot", "targets", "model", "articles"])
def test_mix_of_two_releases_is_refused(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path, role: str, count_trials: Count
) -> None:
    """S3: one role's metadata is that of the release before, under the name of the new one."""
    company.release(small_bundle("1"))
    before = company.metadata(role).read_bytes()
    if role == "targets":
        company.keys.rotate("app", NOW)
    bundle = small_bundle("2")
    articles = bundle / "articles"
    (articles / "en" / "new.md").write_text("# New {#new}\n\nNew.\n", encoding="utf-8")
    company.release(articles=articles)
    company.release(seal(bundle))
    assert company.metadata(role).read_bytes() != before
    company.metadata(role).write_bytes(before)
    with pytest.raises(IntegrityError):
        install(company.folder, home)
    assert generations(home) == []
    count_trials("S3", 1)


def test_release_that_is_frozen_is_refused_when_it_expires(
    company: Company, small_bundle: Small, home: Path, count_trials: Count
) -> None:
    """S3: whoever withholds new releases can do so for 120 days; then the branch says that its release is old."""
    company.release(small_bundle("1"), now=NOW - 121 * DAY)
    with pytest.raises(IntegrityError, match="out of date") as caught:
        install(company.folder, home)
    assert "clock" in caught.value.hint
    company.release(now=NOW)
    assert install(company.folder, home) == 1
    count_trials("S3", 1)


def test_clock_behind_the_newest_signature_does_not_make_an_expired_release_good(
    released: Company, home: Path, small_bundle: Small, count_trials: Count
) -> None:
    """F13, S3: the time at which a believed release was signed is a lower bound of the time it is now."""
    stick = released.copy(released.folder.with_name("stick"))

    def shorten(signed: Any) -> None:
        signed.version += 1
        signed.expires = (datetime.now(signed.expires.tzinfo) + timedelta(hours=1)).replace(microsecond=0)
        signed.unrecognized_fields["x-edgedesk-signed"] = (NOW + 2 * DAY).isoformat()

    resign(released, released.metadata("timestamp"), shorten)
    with pytest.raises(IntegrityError, match="'timestamp' has expired"):
        install(released.folder, home, now=NOW - 3650 * DAY)
    assert current_bundle(home).info.version == "1"
    # A clock ten years ahead is refused as well, and leaves nothing behind that would be in the way afterwards.
    with pytest.raises(IntegrityError, match="out of date"):
        install(stick, home, now=NOW + 3650 * DAY)
    assert install(stick, home) == 2
    count_trials("F13", 2)
    count_trials("S3", 2)


def test_branch_recovers_from_a_version_that_a_thief_signed_far_ahead(
    released: Company, home: Path, small_bundle: Small, count_trials: Count
) -> None:
    """S3: fast-forward. A thief of the snapshot and timestamp keys signs version 2,000,000,000; root replaces them."""
    from tuf.api.metadata import MetaFile

    good = Company(released.keys, released.copy(released.folder.with_name("good")))

    def ahead(signed: Any) -> None:
        signed.version = 2_000_000_000

    snapshot = released.metadata("snapshot")
    resign(released, snapshot, ahead)
    data = snapshot.read_bytes()
    (snapshot.with_name("2000000000.snapshot.json")).write_bytes(data)

    def name_it(signed: Any) -> None:
        signed.version = 2_000_000_000
        signed.snapshot_meta = MetaFile.from_data(2_000_000_000, data, ["sha256"])

    resign(released, released.metadata("timestamp"), name_it)
    install(released.folder, home)
    good.release(small_bundle("3"))
    with pytest.raises(IntegrityError):
        install(good.folder, home)
    for role in ("snapshot", "timestamp"):
        good.keys.rotate(role, NOW)
    good.release(small_bundle("4"))
    install(good.folder, home)
    assert current_bundle(home).info.version == "4"
    count_trials("S3", 1)


class EndlessSource:
    """A server whose one file never ends; counts what was read of it."""

    def __init__(self, folder: Path, endless: str) -> None:
        self._inner = FolderSource(folder)
        self._endless = endless
        self.read_bytes = 0

    @property
    def where(self) -> str:
        return self._inner.where

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        if name.endswith(self._endless):
            while True:
                self.read_bytes += 1 << 20
                yield b" " * (1 << 20)
        yield from self._inner.read(name, start)


@pytest.mark.parametrize("name", ["1.root.json", "2.root.json", "timestamp.json", "snapshot.json", "model.json", ".md"])
def test_file_that_never_ends_is_read_no_further_than_it_may_be(
    company: Company, small_bundle: Small, home: Path, name: str, count_trials: Count
) -> None:
    """S3: endless data, in metadata and in a file."""
    company.release(small_bundle("1"))
    source = EndlessSource(company.folder, name)
    with pytest.raises(EdgedeskError):
        install_release(source, home)
    assert 0 < source.read_bytes <= LIMITS.targets_max_length + (2 << 20)
    if name != "model.json":
        assert source.read_bytes <= 4 << 20
    assert generations(home) == []
    count_trials("S3", 1)


def test_part_cannot_sign_files_of_another_part(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path, count_trials: Count
) -> None:
    """S1: the article team's key names a file of the model part, and one below articles/ of the model's list."""
    company.release(small_bundle("1"))
    wrong = tmp_path / "policy.toml"
    wrong.write_text("[refusal]\ntext = 'x'\n")
    for part, target in (("articles", "model/policy.toml"), ("model", "model/articles/en/x.md")):
        trial = Company(company.keys, company.copy(tmp_path / f"by {part}"))
        from runtime.bundle.publish import publish

        files = dict.fromkeys((target,), tmp_path / "policy.toml")
        publish(trial.folder, trial.keys, {part: files}, NOW)  # type: ignore[dict-item]
        with pytest.raises(IntegrityError, match=r"may not sign|two parts"):
            install(trial.folder, home)
        count_trials("S1", 1)
    assert generations(home) == []


def test_root_that_revokes_a_key_counts_although_the_rest_of_its_release_is_missing(
    released: Company, home: Path, tmp_path: Path, count_trials: Count
) -> None:
    """S1: a branch that has seen the root which replaces a stolen key believes nothing that key signs from then on."""
    thief = released.copy(tmp_path / "thief")
    released.keys.rotate("timestamp", NOW)
    released.release()
    cut = released.copy(tmp_path / "cut")
    (cut / "metadata" / "timestamp.json").unlink()
    with pytest.raises(MissingError, match="not a whole release"):
        install(cut, home)
    # Release 2 of the thief is newer than what is installed, whole, and signed by the key that was replaced.
    with pytest.raises(IntegrityError, match="not believed"):
        install(thief, home)
    assert current_bundle(home).info.version == "1"
    install(released.folder, home)
    assert current_bundle(home).info.version == "2"
    count_trials("S1", 1)


def test_newer_timestamp_counts_although_its_snapshot_is_missing(
    released: Company, home: Path, tmp_path: Path, count_trials: Count
) -> None:
    """S2: nobody takes a branch back behind a release of which it has seen no more than the timestamp."""
    earlier = released.copy(tmp_path / "earlier")
    released.release()
    cut = released.copy(tmp_path / "cut")
    Company(released.keys, cut).metadata("snapshot").unlink()
    with pytest.raises(MissingError, match="not a whole release"):
        install(cut, home)
    with pytest.raises(IntegrityError):
        install(earlier, home)
    install(released.folder, home)
    count_trials("S2", 1)


def test_nothing_of_a_refused_release_is_kept_by_a_branch_that_had_no_root(
    company: Company, stranger: KeyFolder, home: Path, small_bundle: Small, tmp_path: Path
) -> None:
    """A stick with a damaged release of somebody else must not shut out the company's own."""
    other = Company(stranger, tmp_path / "theirs")
    other.release(small_bundle("8"))
    other.metadata("snapshot").unlink()
    with pytest.raises(MissingError):
        install(other.folder, home)
    assert not (home / "trust.json").exists()
    assert not (home / "high-water.json").exists()
    company.release(small_bundle("1"))
    assert install(company.folder, home) == 1


def test_new_snapshot_key_begins_the_count_of_parts_anew(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path, count_trials: Count
) -> None:
    """S3: TUF's recovery from a part whose thief has signed a version far ahead: root replaces snapshot's key too."""
    company.release(small_bundle("1"))
    good = Company(company.keys, company.copy(tmp_path / "good"))
    for version in ("2", "3", "6"):
        company.release(small_bundle(version))
    install(company.folder, home)
    good.keys.rotate("timestamp", NOW)
    good.release(small_bundle("4"))  # version 2 of the model's list, where the branch has seen 4
    with pytest.raises(IntegrityError):
        install(good.folder, home)
    good.keys.rotate("snapshot", NOW)
    good.release(small_bundle("5"))
    install(good.folder, home)
    assert current_bundle(home).info.version == "5"
    count_trials("S3", 1)


def test_release_that_lets_nobody_sign_a_part_is_refused_in_a_sentence(
    company: Company, small_bundle: Small, home: Path
) -> None:
    company.release(small_bundle("1"))
    targets = company.metadata("targets")

    def leave_out(signed: Any) -> None:
        signed.version += 1
        del signed.delegations.roles["app"]

    resign(company, targets, leave_out)
    data = targets.read_bytes()
    targets.with_name("2.targets.json").write_bytes(data)
    make_fit(company, "targets", data, 2)
    with pytest.raises(IntegrityError, match="nobody may sign its part 'app'"):
        install(company.folder, home)


def test_damaged_record_of_trust_is_not_forgotten(released: Company, home: Path) -> None:
    (home / "high-water.json").write_text("{}")
    with pytest.raises(IntegrityError, match="record of what it trusts") as caught:
        install(released.folder, home)
    assert "--root" in caught.value.hint


def test_folder_without_a_release_is_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no signed release"):
        install(tmp_path, home)


def test_metadata_that_is_missing_is_named(company: Company, small_bundle: Small, home: Path) -> None:
    company.release(small_bundle("1"))
    company.metadata("model").unlink()
    with pytest.raises(MissingError, match="not a whole release"):
        install(company.folder, home)


def test_trust_is_kept_in_owner_only_files(company: Company, small_bundle: Small, home: Path) -> None:
    """Part of S13."""
    company.release(small_bundle("1"))
    install(company.folder, home)
    for name in ("trust.json", "high-water.json"):
        assert (home / name).stat().st_mode & 0o777 == 0o600
        json.loads((home / name).read_text(encoding="utf-8"))
