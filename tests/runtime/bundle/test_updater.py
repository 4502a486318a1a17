"""A branch that updates itself: what is copied, tried out, kept, given up and cleaned away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.base.manifest import read_manifest, verify
from runtime.bundle.bundle import Bundle
from runtime.bundle.generations import current_bundle, generations, installing, removable, rollback
from runtime.bundle.releases import install_release
from runtime.bundle.sources import CHUNK_BYTES, FolderSource
from runtime.bundle.update_state import read_state
from runtime.bundle.updater import Keep, UpdateReport, update
from runtime.errors import BusyError, IntegrityError, UnavailableError
from tests.support.branch import write_articles
from tests.support.releases import Company, seal

Small = Callable[[str], Path]
Count = Callable[[str, int], None]


class CountingSource:
    """A release folder that counts what is read of its files, and may be pulled out after so many bytes."""

    def __init__(self, folder: Path, *, pull_after: int | None = None) -> None:
        self._inner = FolderSource(folder)
        self._left = pull_after
        self.file_bytes = 0
        self.all_bytes = 0

    @property
    def where(self) -> str:
        return self._inner.where

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        for chunk in self._inner.read(name, start):
            self.all_bytes += len(chunk)
            if name.startswith("targets/"):
                if self._left is not None and self.file_bytes + len(chunk) > self._left:
                    raise UnavailableError("the stick is gone", where=self.where)
                self.file_bytes += len(chunk)
            yield chunk


def good(_: Bundle) -> str:
    return ""


def bad(_: Bundle) -> str:
    return "1 of 3 golden questions were answered right"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def branch(company: Company, small_bundle: Small, home: Path) -> Company:
    """Release 1 is installed, release 2 is published."""
    company.release(small_bundle("1"))
    install_release(FolderSource(company.folder), home)
    company.release(small_bundle("2"))
    return company


def run(company: Company, home: Path, try_out: Callable[[Bundle], str] = good, **options: object) -> UpdateReport:
    return update(FolderSource(company.folder), home, try_out, **options)  # type: ignore[arg-type]


def version(home: Path) -> str:
    bundle = current_bundle(home)
    verify(bundle.root, read_manifest(bundle.root))
    return bundle.info.version


def test_update_brings_a_newer_release_once(branch: Company, home: Path) -> None:
    assert run(branch, home).outcome == "updated"
    assert version(home) == "2"
    assert run(branch, home).outcome == "up_to_date"
    assert rollback(home) == 1
    assert version(home) == "1"


def test_first_installation_may_be_an_update(company: Company, small_bundle: Small, home: Path) -> None:
    company.release(small_bundle("1"))
    assert run(company, home).outcome == "updated"
    assert version(home) == "1"


def test_release_that_fails_its_trial_is_left_and_not_tried_again(
    branch: Company, home: Path, small_bundle: Small, count_trials: Count
) -> None:
    """F7: the generation before is current when the call returns; only a person, or another release, tries again."""
    tried: list[str] = []

    def failing(bundle: Bundle) -> str:
        tried.append(bundle.info.version)
        assert version(home) == "2", "it is tried as what the branch would run"
        return bad(bundle)

    report = run(branch, home, failing)
    assert (report.outcome, report.generation) == ("returned", 1)
    assert version(home) == "1"
    assert [one.number for one in generations(home)] == [1]
    for _ in range(3):
        report = run(branch, home, failing)
        assert report.outcome == "refused"
        assert "golden questions" in report.why
    branch.release()  # signed again under a higher number: the content is the same
    assert run(branch, home, failing).outcome == "refused"
    assert tried == ["2"]
    assert run(branch, home, again=True).outcome == "updated"
    assert version(home) == "2"
    branch.release(small_bundle("3"))
    assert run(branch, home).outcome == "updated"
    assert version(home) == "3"
    count_trials("F7", 6)


def test_trial_that_cannot_be_held_now_refuses_nothing(branch: Company, home: Path) -> None:
    def no_memory(_: Bundle) -> str:
        raise UnavailableError("no memory")

    assert run(branch, home, no_memory).outcome == "postponed"
    assert version(home) == "1"
    assert run(branch, home).outcome == "updated"


def test_update_that_was_killed_in_its_trial_is_tried_once_more_and_then_left(branch: Company, home: Path) -> None:
    class Killed(BaseException):
        pass

    def dies(_: Bundle) -> str:
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            run(branch, home, dies)
        assert version(home) == "2"
        assert read_state(home).phase == "trial"
    report = run(branch, home)
    assert report.outcome == "returned"
    assert "cut off 2 times" in report.why
    assert version(home) == "1"
    assert run(branch, home).outcome == "refused"


def test_update_of_articles_copies_the_changed_ones_alone(
    branch: Company, home: Path, tmp_path: Path, count_trials: Count
) -> None:
    run(branch, home)
    articles = write_articles(tmp_path / "articles")
    for name in ("en/delivery-standard.md", "en/price-override.md", "zh/delivery-standard.md", "en/summer-sale.md"):
        (articles / name).unlink()
    branch.release(articles=articles)
    run(branch, home)
    changed = articles / "en" / "returns-window.md"
    changed.write_text(changed.read_text(encoding="utf-8").replace("30 days", "45 days"), encoding="utf-8")
    branch.release(articles=articles)
    source = CountingSource(branch.folder)
    report = update(source, home, good)
    assert report.outcome == "updated"
    assert source.file_bytes == changed.stat().st_size
    assert "45 days" in (current_bundle(home).articles_path / "en" / "returns-window.md").read_text(encoding="utf-8")
    assert current_bundle(home).info.version == "2"
    # The branch answers from a generation of its own: the way back has the old article.
    rollback(home)
    assert "30 days" in (current_bundle(home).articles_path / "en" / "returns-window.md").read_text(encoding="utf-8")


def big(bundle: Path, mib: int) -> Path:
    (bundle / "report").mkdir()
    (bundle / "report" / "figures.bin").write_bytes(os.urandom(mib << 20))
    return seal(bundle)


def test_copy_that_was_cut_short_reads_at_most_a_piece_again(
    branch: Company, home: Path, small_bundle: Small, count_trials: Count
) -> None:
    """F6: the stick is pulled out at several places of a large file; each time at most a piece is read again."""
    branch.release(big(small_bundle("5"), 6))
    whole = CountingSource(branch.folder)
    update(whole, home / "other", good)
    pulls = [0, 1 << 20, (1 << 20) + 1, 2 << 20]
    total = 0
    for pull_after in pulls:
        source = CountingSource(branch.folder, pull_after=pull_after)
        with pytest.raises(UnavailableError, match="stick is gone"):
            update(source, home, good)
        total += source.file_bytes
        assert version(home) == "1"
    source = CountingSource(branch.folder)
    assert update(source, home, good).outcome == "updated"
    total += source.file_bytes
    assert version(home) == "5"
    assert total <= whole.file_bytes + len(pulls) * CHUNK_BYTES
    assert not list((home / "store" / "partial").iterdir())
    count_trials("F6", len(pulls))


@pytest.mark.parametrize("how", ["tail", "middle", "longer", "all zero"])
def test_unfinished_copy_that_a_power_cut_damaged_is_not_gone_on_with(
    branch: Company, home: Path, small_bundle: Small, how: str, count_trials: Count
) -> None:
    """F6: the whole hash is compared; where it does not fit the file is copied once more from its beginning."""
    branch.release(big(small_bundle("5"), 3))
    with pytest.raises(UnavailableError):
        update(CountingSource(branch.folder, pull_after=2 << 20), home, good)
    partial = max((home / "store" / "partial").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(partial.read_bytes())
    assert len(data) >= 1 << 20
    if how == "tail":
        data[-512:] = bytes(512)
    elif how == "middle":
        data[1000] ^= 1
    elif how == "longer":
        data += bytes(4 << 20)
    else:
        data = bytearray(len(data))
    partial.write_bytes(data)
    assert run(branch, home).outcome == "updated"
    assert version(home) == "5"
    count_trials("F6", 1)


def test_damaged_release_leaves_the_old_generation_and_what_was_copied_right(branch: Company, home: Path) -> None:
    path = next(
        path for path in (branch.folder / "targets" / "model").rglob("*.bundle.json") if "2" in path.read_text()
    )
    data = path.read_bytes()
    path.write_bytes(data.replace(b"shop", b"shoq"))
    with pytest.raises(IntegrityError, match=r"bundle\.json"):
        run(branch, home)
    assert version(home) == "1"
    path.write_bytes(data)
    assert run(branch, home).outcome == "updated"


def test_second_updater_is_told_who_is_at_work(branch: Company, home: Path) -> None:
    with installing(home, "rollback"), pytest.raises(BusyError, match=r"edgedesk rollback \(process"):
        run(branch, home)


def test_command_beside_an_updater_is_told_that_an_update_is_at_work(branch: Company, home: Path) -> None:
    branch.release()
    told: list[str] = []

    def second(_: str, __: int, ___: int) -> None:
        with pytest.raises(BusyError) as caught:
            rollback(home)
        told.append(str(caught.value))

    run(branch, home, progress=second)
    assert told
    assert "edgedesk update (process" in told[0]


def test_old_generations_go_with_the_files_that_only_they_had(
    company: Company, small_bundle: Small, home: Path
) -> None:
    for number in range(1, 6):
        company.release(small_bundle(str(number)))
        report = run(company, home, keep=Keep(generations=3))
    assert [one.number for one in generations(home)] == [3, 4, 5]
    assert report.removed == (2,)
    kept = {entry.sha256 for one in (3, 4, 5) for entry in read_manifest(home / "generations" / str(one)).files}
    assert {path.name for path in (home / "store" / "sha256").iterdir()} == kept
    assert version(home) == "5"


@pytest.mark.parametrize(
    ("current", "keep", "max_bytes", "protected", "drop", "going"),
    [
        (5, 3, 0, (), None, (1, 2)),
        (5, 2, 0, (), None, (1, 2, 3)),
        (5, 2, 0, (1,), None, (2, 3)),
        (2, 3, 0, (), None, (3, 4)),  # the one before the current stays, also when newer ones lie there
        (5, 5, 250, (), None, (1, 2, 3)),
        (5, 5, 0, (), None, ()),
        (4, 5, 0, (), 5, (5,)),
        (None, 2, 0, (), None, ()),
        (1, 2, 0, (), None, (2, 3, 4)),
    ],
)
def test_generations_that_go(
    current: int | None, keep: int, max_bytes: int, protected: tuple[int, ...], drop: int | None, going: tuple[int, ...]
) -> None:
    numbers = [1, 2, 3, 4, 5]
    sizes = dict.fromkeys(numbers, 100)
    found = removable(numbers, current, keep=keep, sizes=sizes, max_bytes=max_bytes, protected=protected, drop=drop)
    assert found == going
