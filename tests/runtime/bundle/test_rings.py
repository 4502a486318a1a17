"""A roll-out by rings, as the signed metadata carries it and as branches keep to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile

from runtime.bundle.bundle import Bundle
from runtime.bundle.generations import current_bundle, generations, rollback
from runtime.bundle.keys import KeyFolder
from runtime.bundle.publish import PublishedModel, published_model
from runtime.bundle.releases import install_release
from runtime.bundle.rings import RING_TARGET, AllowedBranches, allowed_branches, with_branches
from runtime.bundle.sources import FolderSource
from runtime.bundle.update_state import refused_titles
from runtime.bundle.updater import UpdateReport, update
from runtime.errors import InputError, IntegrityError, MissingError, UnavailableError, UsageError
from tests.support.branch import write_articles
from tests.support.releases import Company, make_fit, resign

Small = Callable[[str], Path]
CANARIES = ("Lisbon", "里斯本")


@pytest.mark.parametrize(
    ("names", "branch", "said"),
    [
        (None, "Oslo", ""),
        (None, "", ""),
        (CANARIES, "Lisbon", ""),
        (CANARIES, "里斯本", ""),
        ((*CANARIES, "*"), "Oslo", ""),
        ((*CANARIES, "*"), "", ""),
        (CANARIES, "Oslo", "it is rolled out to 2 branches first, and 'Oslo' is not among them"),
        (CANARIES, "上海", "it is rolled out to 2 branches first, and '上海' is not among them"),
        (CANARIES, "lisbon", "'lisbon' is not among them"),
        (CANARIES, "", "this branch has no name (setting 'branch')"),
        ((), "Lisbon", "its roll-out has been stopped"),
        ((), "", "its roll-out has been stopped"),
    ],
)
def test_ring_says_who_may_take_a_model(names: tuple[str, ...] | None, branch: str, said: str) -> None:
    refusal = AllowedBranches(None if names is None else frozenset(names)).refusal(branch)
    assert (said in refusal) if said else (refusal == "")


def target(custom: object = None) -> TargetFile:
    fields = {"x-other": 1} | ({} if custom is None else {"custom": custom})
    return TargetFile(3, {"sha256": "0" * 64}, RING_TARGET, fields)


def test_ring_travels_in_the_targets_custom_data_beside_what_else_is_there() -> None:
    made = with_branches(target({"kept": True}), CANARIES)
    assert made.custom == {"kept": True, "branches": ["Lisbon", "里斯本"]}
    assert made.unrecognized_fields["x-other"] == 1
    assert allowed_branches(made).names == frozenset(CANARIES)
    assert allowed_branches(with_branches(made, ())).names == frozenset()
    assert with_branches(made, ("Lisbon", "*")).custom == {"kept": True}
    assert with_branches(target(), ("*",)) == target()
    assert allowed_branches(target()).names is None


@pytest.mark.parametrize(
    "custom",
    [
        "Lisbon",
        ["Lisbon"],
        {"branches": "Lisbon"},
        {"branches": {"Lisbon": 1}},
        {"branches": [1]},
        {"branches": [""]},
        {"branches": ["a\x1b[31m"]},
        {"branches": ["x" * 101]},
        {"branches": [None]},
    ],
)
def test_list_of_branches_that_is_none_never_means_everybody(custom: object) -> None:
    with pytest.raises(InputError, match="list of branches"):
        allowed_branches(target(custom))


def good(_: Bundle) -> str:
    return ""


def bad(_: Bundle) -> str:
    return "1 of 3 golden questions were answered right"


class Fleet:
    """Three branches on release 1, and the company whose next release they see."""

    def __init__(self, company: Company, folder: Path) -> None:
        self.company, self.folder = company, folder

    def update(self, name: str, try_out: Callable[[Bundle], str] = good, *, again: bool = False) -> UpdateReport:
        return update(FolderSource(self.company.folder), self.folder / name, try_out, branch=name, again=again)

    def versions(self) -> dict[str, str]:
        return {path.name: current_bundle(path).info.version for path in sorted(self.folder.iterdir())}


@pytest.fixture
def fleet(company: Company, small_bundle: Small, tmp_path: Path) -> Fleet:
    company.release(small_bundle("1"))
    for name in (*CANARIES, "Oslo"):
        install_release(FolderSource(company.folder), tmp_path / "fleet" / name)
    return Fleet(company, tmp_path / "fleet")


def test_release_reaches_a_branch_when_its_ring_is_reached(fleet: Fleet, small_bundle: Small) -> None:
    fleet.company.release(small_bundle("2"), branches=CANARIES)
    held = fleet.update("Oslo")
    assert (held.outcome, held.generation, held.release) == ("not_yet", 1, 2)
    assert held.why == held.held_back == "it is rolled out to 2 branches first, and 'Oslo' is not among them"
    assert fleet.update("Oslo", again=True).outcome == "not_yet", "--again overrules a trial, not head office"
    assert [fleet.update(name).outcome for name in CANARIES] == ["updated", "updated"]
    assert fleet.versions() == {"Lisbon": "2", "Oslo": "1", "里斯本": "2"}
    fleet.company.release()  # signed again, for another season: for the same branches
    assert fleet.update("Oslo").outcome == "not_yet"
    fleet.company.release(branches=("*",))
    assert fleet.update("Oslo").outcome == "updated"
    assert fleet.update("Lisbon").outcome == "up_to_date"


def test_roll_out_that_stops_leaves_a_branch_that_went_back_where_it_is(fleet: Fleet, small_bundle: Small) -> None:
    fleet.company.release(small_bundle("2"), branches=CANARIES)
    for name in CANARIES:
        fleet.update(name)
    fleet.company.release(branches=())
    assert fleet.update("Lisbon").outcome == "up_to_date", "a stop takes nothing away by itself"
    rollback(fleet.folder / "里斯本")
    stopped = fleet.update("里斯本")
    assert (stopped.outcome, stopped.why) == ("not_yet", "its roll-out has been stopped")
    assert fleet.versions() == {"Lisbon": "2", "Oslo": "1", "里斯本": "1"}
    fleet.company.release(small_bundle("3"))  # a better one, for everybody
    assert {fleet.update(name).outcome for name in (*CANARIES, "Oslo")} == {"updated"}


def test_new_articles_reach_every_branch_while_a_model_is_rolled_out(
    fleet: Fleet, small_bundle: Small, tmp_path: Path
) -> None:
    fleet.company.release(small_bundle("2"), branches=CANARIES)
    fleet.update("Lisbon")
    articles = write_articles(tmp_path / "articles")
    path = articles / "en" / "returns-window.md"
    path.write_text(path.read_text(encoding="utf-8").replace("30 days", "45 days"), encoding="utf-8")
    fleet.company.release(articles=articles)
    for name in ("Lisbon", "Oslo"):
        report = fleet.update(name)
        assert report.outcome == "updated"
        assert bool(report.held_back) == (name == "Oslo")
        assert fleet.update(name).outcome == ("not_yet" if name == "Oslo" else "up_to_date")
        found = current_bundle(fleet.folder / name).articles_path / "en" / "returns-window.md"
        assert "45 days" in found.read_text(encoding="utf-8")
    assert fleet.versions() == {"Lisbon": "2", "Oslo": "1", "里斯本": "1"}
    fleet.company.release(branches=("*",))
    assert fleet.update("Oslo").outcome == "updated"
    assert fleet.versions()["Oslo"] == "2"


def test_branch_remembers_which_release_failed_its_trial_for_head_office(
    fleet: Fleet, small_bundle: Small, tmp_path: Path
) -> None:
    fleet.company.release(small_bundle("2"), branches=CANARIES)
    assert fleet.update("Lisbon", bad).outcome == "returned"
    assert refused_titles(fleet.folder / "Lisbon") == ("shop 2",)
    articles = write_articles(tmp_path / "articles")
    (articles / "en" / "new.md").write_text("# New {#new}\n\nNew.\n", encoding="utf-8")
    fleet.company.release(articles=articles)
    assert fleet.update("Oslo", bad).outcome == "returned"
    assert refused_titles(fleet.folder / "Oslo") == (), "articles that failed say nothing of a model"


def test_installing_by_hand_keeps_to_the_rings_too(fleet: Fleet, small_bundle: Small, tmp_path: Path) -> None:
    fleet.company.release(small_bundle("2"), branches=CANARIES)
    source = FolderSource(fleet.company.folder)
    with pytest.raises(UnavailableError, match="not for this branch yet"):
        install_release(source, fleet.folder / "Oslo", branch="Oslo")
    assert [one.number for one in generations(fleet.folder / "Oslo")] == [1]
    assert install_release(source, fleet.folder / "Lisbon", branch="Lisbon")[0] == 2
    assert install_release(source, tmp_path / "new", branch="Madrid")[0] == 1, "a new branch has nothing else to take"
    assert install_release(source, tmp_path / "new", branch="Madrid")[0] == 1, "and may mend what it has"


def test_list_of_branches_is_believed_from_the_key_of_the_model_alone(
    fleet: Fleet, small_bundle: Small, count_trials: Callable[[str, int], None]
) -> None:
    """S1: whoever lacks the model's key cannot widen a roll-out: neither by a change nor by another key's signature."""
    company = fleet.company
    company.release(small_bundle("2"), branches=CANARIES)
    path = company.metadata("model")
    right = path.read_bytes()

    def widen(signed: Any) -> None:
        signed.targets[RING_TARGET].unrecognized_fields.clear()

    path.write_bytes(right.replace(b"Lisbon", b"Oslo"))
    with pytest.raises(IntegrityError):
        fleet.update("Oslo")
    path.write_bytes(right)
    resign(company, path, widen)
    with pytest.raises(IntegrityError):
        fleet.update("Oslo")  # the snapshot names other bytes
    path.write_bytes(right)
    assert fleet.update("Oslo").outcome == "not_yet"
    for key in company.keys.folder.glob("model-*.pem"):
        key.unlink()
    with pytest.raises(MissingError, match="role 'model'"):
        Company(KeyFolder(company.keys.folder), company.folder).release(branches=("*",))
    count_trials("S1", 3)


def test_list_of_branches_that_cannot_be_read_stops_the_update(fleet: Fleet, small_bundle: Small) -> None:
    fleet.company.release(small_bundle("2"), branches=CANARIES)
    company = fleet.company
    model = company.metadata("model")

    def spoil(signed: Any) -> None:
        signed.targets[RING_TARGET].unrecognized_fields["custom"] = {"branches": "Lisbon"}

    resign(company, model, spoil)
    make_fit(company, "model", model.read_bytes(), int(model.name.split(".")[0]))
    with pytest.raises(IntegrityError, match="list of branches cannot be read"):
        fleet.update("Lisbon")
    assert fleet.versions()["Lisbon"] == "1"


def test_published_list_is_head_offices_to_read_and_to_change(company: Company, small_bundle: Small) -> None:
    assert published_model(company.folder) is None
    with pytest.raises(UsageError, match="no model"):
        company.release(branches=CANARIES)
    company.release(small_bundle("1"))
    assert published_model(company.folder) == PublishedModel("shop 1", AllowedBranches())
    before = company.release(small_bundle("2"), branches=CANARIES)
    assert published_model(company.folder) == PublishedModel("shop 2", AllowedBranches(frozenset(CANARIES)))
    again = company.release(branches=CANARIES)
    assert again.parts == before.parts, "the same list is no new version"
    wider = company.release(branches=(*CANARIES, "*"))
    assert wider.parts["model"] == before.parts["model"] + 1
    assert (wider.new_files, wider.new_bytes) == (0, 0)
    assert published_model(company.folder) == PublishedModel("shop 2", AllowedBranches())
