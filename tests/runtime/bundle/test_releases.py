"""A signed release, from head office's keys to a branch's generation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.base.manifest import read_manifest, verify
from runtime.bundle.generations import current_bundle, generations
from runtime.bundle.generations import install as install_bundle
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource, is_release
from runtime.cli import main
from runtime.errors import EdgedeskError, GateError, InputError, IntegrityError, MissingError
from tests.support.branch import write_articles
from tests.support.releases import Company

Small = Callable[[str], Path]


def install(release: Path, home: Path) -> int:
    return install_release(FolderSource(release), home)[0]


def install_by_command(bundle: Path, home: Path, *options: str) -> None:
    CliRunner().invoke(main.app, ["install", str(bundle), "--home", str(home), *options], catch_exceptions=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "家 home"


def test_release_installs_with_every_file_as_it_was_built(company: Company, small_bundle: Small, home: Path) -> None:
    bundle = small_bundle("1")
    done = company.release(bundle)
    assert done.version == 1
    assert is_release(company.folder)
    assert not is_release(bundle)
    number, release = install_release(FolderSource(company.folder), home)
    assert number == 1
    assert release.first
    assert release.versions["snapshot"] == 1
    installed = current_bundle(home).root
    verify(installed, read_manifest(installed))
    built = {entry.path: entry.sha256 for entry in read_manifest(bundle).files}
    assert {entry.path: entry.sha256 for entry in read_manifest(installed).files} == built


def test_release_with_a_bundles_manifest_laid_over_it_is_still_a_release(
    company: Company, small_bundle: Small, home: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S1: whatever a plain bundle adds to a release, signatures decide."""
    company.release(small_bundle("1"))
    shutil.copytree(small_bundle("2"), company.folder, dirs_exist_ok=True)
    assert is_release(company.folder)
    install(company.folder, home)
    assert current_bundle(home).info.version == "1"
    count_trials("S1", 1)


def test_plain_bundle_is_refused_where_a_root_is_named_or_believed(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S1: signed content cannot be replaced by leaving the signatures away."""
    company.release(small_bundle("1"))
    install(company.folder, home)
    forged = small_bundle("2")
    fresh, root = tmp_path / "fresh", str(company.keys.folder / "1.root.json")
    trials: list[tuple[Path, tuple[str, ...], str]] = [
        (fresh, ("--root", root), "--root asks for a signed release"),
        (fresh, ("--root", str(tmp_path / "nosuch.json")), "--root asks for a signed release"),
        (home, ("--root", root), "--root asks for a signed release"),
        (home, (), "this branch takes only a signed release"),
    ]
    for where, options, said in trials:
        with pytest.raises(IntegrityError, match=said) as caught:
            install_by_command(forged, where, *options)
        assert "head office" in caught.value.hint
    for gone in ("trust.json", "high-water.json"):
        aside = (home / gone).rename(tmp_path / gone)
        with pytest.raises(IntegrityError, match="this branch takes only"):
            install_by_command(forged, home)
        aside.rename(home / gone)
    assert generations(fresh) == []
    assert [one.info.version for one in generations(home)] == ["1"]
    count_trials("S1", len(trials) + 2)


def test_plain_bundle_installs_twice_into_a_branch_that_believes_no_root(small_bundle: Small, home: Path) -> None:
    bundle = small_bundle("1")
    assert [install_bundle(bundle, home) for _ in range(2)] == [1, 1]


def test_release_files_carry_their_hash_in_their_name(company: Company, small_bundle: Small) -> None:
    company.release(small_bundle("1"))
    from runtime.base.files import sha256_file

    files = [path for path in (company.folder / "targets").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert all(path.name.startswith(sha256_file(path) + ".") for path in files)


def test_articles_are_released_alone_by_their_own_key(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path
) -> None:
    company.release(small_bundle("1"))
    install(company.folder, home)
    for role in ("model", "targets", "app", "root"):
        for path in company.keys.folder.glob(f"{role}-*.pem"):
            path.unlink()
    keys = type(company.keys)(company.keys.folder)
    articles = write_articles(tmp_path / "articles")
    (articles / "en" / "returns-window.md").write_text("# Returns {#returns}\n\nWithin 60 days.\n", encoding="utf-8")
    done = Company(keys, company.folder).release(articles=articles)
    assert done.parts == {"model": 1, "articles": 2, "app": 1}
    assert install(company.folder, home) == 2
    text = (current_bundle(home).articles_path / "en" / "returns-window.md").read_text(encoding="utf-8")
    assert "60 days" in text
    # The model is on disk once.
    model = current_bundle(home).model_path
    assert model.stat().st_nlink == 3
    assert model.samefile(home / "generations" / "1" / "model" / "q4_k_m.gguf")


def test_model_is_not_released_without_its_key(company: Company, small_bundle: Small) -> None:
    for path in company.keys.folder.glob("model-*.pem"):
        path.unlink()
    keys = type(company.keys)(company.keys.folder)
    with pytest.raises(MissingError, match="role 'model'"):
        Company(keys, company.folder).release(small_bundle("1"))
    assert not (company.folder / "metadata").exists()


def test_bundle_that_missed_its_gate_or_has_none_is_not_released(company: Company, small_bundle: Small) -> None:
    from runtime.bundle.gate_record import write_gate_record

    bundle = small_bundle("1")
    write_gate_record(bundle, bounds={"max_kl": 0.1}, figures={"kl": 0.2}, missed=("KL is 0.2 (max_kl = 0.1)",))
    with pytest.raises(GateError, match=r"KL is 0\.2"):
        company.release(bundle)
    (bundle.parent / "gate.json").unlink()
    with pytest.raises(GateError, match="not passed a gate"):
        company.release(bundle)
    shutil.copyfile(small_bundle("2").parent / "gate.json", bundle.parent / "gate.json")
    with pytest.raises(GateError, match="another build"):
        company.release(bundle)


def test_damaged_bundle_is_not_released(company: Company, small_bundle: Small) -> None:
    bundle = small_bundle("1")
    (bundle / "policy.toml").write_text("x = 1\n")
    with pytest.raises(IntegrityError, match=r"policy\.toml"):
        company.release(bundle)


def test_release_without_a_model_is_refused_in_a_sentence(company: Company, home: Path, tmp_path: Path) -> None:
    company.release(articles=write_articles(tmp_path / "articles"))
    with pytest.raises(InputError, match="no model yet"):
        install(company.folder, home)
    assert generations(home) == []


def test_release_that_is_published_again_keeps_the_files_of_the_one_before(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path
) -> None:
    """A branch that is copying the release before finds its files until the next but one."""
    company.release(small_bundle("1"))
    before = company.copy(tmp_path / "stick")
    company.release(small_bundle("2"))
    first = {path.relative_to(before) for path in (before / "targets").rglob("*") if path.is_file()}
    assert all((company.folder / path).is_file() for path in first)
    company.release(small_bundle("3"))
    gone = [path for path in first if not (company.folder / path).exists()]
    assert 0 < len(gone) < len(first)
    install(company.folder, home)


def test_flipped_bit_in_any_file_of_a_release_is_found(
    company: Company, small_bundle: Small, home: Path, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F5: every file of a release, metadata too, at its first, middle and last byte."""
    company.release(small_bundle("1"))
    stick = company.copy(tmp_path / "stick")
    newest = {company.metadata(name).name for name in ("timestamp", "snapshot", "targets", "model", "articles", "app")}
    trials = 0
    for path in sorted(stick.rglob("*")):
        if not path.is_file() or (path.parent.name == "metadata" and path.name not in newest):
            continue
        data = path.read_bytes()
        for place in {0, len(data) // 2, len(data) - 1}:
            changed = bytearray(data)
            changed[place] ^= 16
            path.write_bytes(changed)
            # A branch of its own: what one has copied and checked, it does not read again.
            with pytest.raises(EdgedeskError):
                install(stick, home / str(trials))
            assert generations(home / str(trials)) == []
            trials += 1
        path.write_bytes(data)
    assert trials > 20
    assert install(stick, home) == 1
    count_trials("F5", trials)


@pytest.mark.parametrize("kind", ["gone", "link", "longer", "device"])
def test_release_file_that_is_gone_a_link_a_device_or_too_long_is_refused(
    company: Company,
    small_bundle: Small,
    home: Path,
    kind: str,
    tmp_path: Path,
    count_trials: Callable[[str, int], None],
) -> None:
    """S4. Part of S3: an endless file is read no further than its promised length."""
    import os

    company.release(small_bundle("1"))
    path = next(path for path in (company.folder / "targets").rglob("*.policy.toml"))
    if kind == "longer":
        os.truncate(path, 1 << 40)
    else:
        path.unlink()
    if kind == "link":
        path.symlink_to("/etc/passwd")
    if kind == "device":
        os.mkfifo(path)
    with pytest.raises(IntegrityError, match=r"policy\.toml"):
        install(company.folder, home)
    assert generations(home) == []
    count_trials("S4", 1)
