from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.bundle.publish import PublishedModel, published_model
from runtime.bundle.rings import AllowedBranches
from runtime.cli.fleet import app
from runtime.cli.release import app as release_command
from runtime.errors import ExitCode, GateError, InputError, MissingError, UsageError
from runtime.feedback.export_file import write_export
from tests.support.feedback_exports import answered, export
from tests.support.releases import Company

PLAN = 'release = "shop 2"\nmin_turns = 10\n[[ring]]\nname = "canary"\nbranches = ["里斯本"]\n'


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    made = [
        export("里斯本", answered("里斯本", 40, version="1", handed_off=2)),
        export("里斯本", answered("里斯本", 40, version="2", handed_off=2), version="2", day=20),
    ]
    for number, one in enumerate(made):
        write_export(tmp_path / "uploads" / str(number), one.header, one.rows)
    return tmp_path / "uploads"


def test_fleet_writes_one_page_that_only_its_owner_reads(uploads: Path, tmp_path: Path) -> None:
    out = tmp_path / "fleet.html"
    said = json.loads(run("fleet", uploads, "--out", out, "--lang", "zh", "--json"))
    assert [(one["branch"], one["version"], one["use"]["turns"]) for one in said["branches"]] == [("里斯本", "2", 80)]
    assert "门店总览" in out.read_text(encoding="utf-8")
    assert out.stat().st_mode & 0o777 == 0o600
    assert run("fleet", uploads, "--out", out) == f"{out}: 1 branches, 80 questions\n"


@pytest.mark.parametrize(("lang", "said"), [("en", "2 files could not be read"), ("zh", "有 2 个文件无法读取")])
def test_fleet_is_made_of_what_can_be_read_and_its_exit_code_says_that_something_cannot(
    uploads: Path, tmp_path: Path, lang: str, said: str
) -> None:
    (uploads / "torn").write_bytes((uploads / "1").read_bytes()[:-20])
    (uploads / "<b>notes").write_text("call Lisbon")
    out = tmp_path / "fleet.html"
    words = ["fleet", str(uploads), "--out", str(out), "--lang", lang]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == ExitCode.BAD_INPUT
    assert "2 feedback files cannot be read, and the page was made of the rest" in str(done.exception)
    for name in ("torn: line ", "<b>notes: line 1: not a feedback file"):
        assert name in str(done.exception)
    told = json.loads(done.stdout)
    assert [one["use"]["turns"] for one in told["branches"]] == [80]
    assert sorted(told["unreadable"]) == sorted(str(uploads / name) for name in ("torn", "<b>notes"))
    page = out.read_text(encoding="utf-8")
    assert said in page
    assert "&lt;b&gt;notes" in page
    assert "<b>" not in page


def test_fleet_without_one_file_that_can_be_read_writes_no_page(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("call Lisbon")
    with pytest.raises(InputError, match="not one of 1 feedback files can be read"):
        run("fleet", tmp_path / "notes", "--out", tmp_path / "fleet.html")
    assert not (tmp_path / "fleet.html").exists()


def test_rollout_decides_on_nothing_while_an_export_cannot_be_read(uploads: Path, tmp_path: Path) -> None:
    plan = tmp_path / "rollout.toml"
    plan.write_text(PLAN, encoding="utf-8")
    (uploads / "torn").write_bytes((uploads / "1").read_bytes()[:-20])
    with pytest.raises(InputError, match="torn"):
        run("rollout", plan, uploads)


def test_rollout_prints_its_decision_and_stops_with_the_gates_exit_code(uploads: Path, tmp_path: Path) -> None:
    plan = tmp_path / "rollout.toml"
    plan.write_text(PLAN, encoding="utf-8")
    said = json.loads(run("rollout", plan, uploads, "--json"))
    assert (said["action"], said["branches"]) == ("done", ["里斯本"])
    worse = export("里斯本", answered("里斯本", 90, version="2", handed_off=60), version="2", day=21)
    write_export(uploads / "2", worse.header, worse.rows)
    with pytest.raises(GateError, match="hand-offs rose"):
        run("rollout", plan, uploads)


RINGS = PLAN + '[[ring]]\nname = "north"\nbranches = ["Oslo"]\n[[ring]]\nname = "everybody"\nbranches = ["*"]\n'


@pytest.fixture
def rolled_out(company: Company, small_bundle: Callable[[str], Path], tmp_path: Path) -> Path:
    """Release 2 is published for the first ring of a plan; returns the plan."""
    plan = tmp_path / "rollout.toml"
    plan.write_text(RINGS, encoding="utf-8")
    words = [str(small_bundle("2")), "--keys", str(company.keys.folder), "--to", str(company.folder)]
    done = CliRunner().invoke(release_command, [*words, "--rollout", str(plan)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return plan


def test_rollout_signs_its_decision_into_the_release_until_it_stops(
    uploads: Path, rolled_out: Path, company: Company, tmp_path: Path
) -> None:
    def allowed() -> AllowedBranches:
        model = published_model(company.folder)
        assert model is not None
        assert model.title == "shop 2"
        return model.branches

    options = ("--to", company.folder, "--keys", company.keys.folder, "--json")
    assert allowed().names == frozenset({"里斯本"}), "the first ring, before any branch has exported"
    said = json.loads(run("rollout", rolled_out, uploads, *options))
    assert (said["action"], said["ring"], said["signed"]) == ("widen", "canary", 2)
    assert allowed().names == frozenset({"里斯本", "Oslo"})
    said = json.loads(run("rollout", rolled_out, uploads, *options))
    assert said["signed"] is None, "the release says so already"
    north = export("Oslo", answered("Oslo", 40, version="2", handed_off=2), version="2", day=22)
    write_export(uploads / "2", north.header, north.rows)
    assert json.loads(run("rollout", rolled_out, uploads, *options))["signed"] == 3
    assert allowed() == AllowedBranches()
    failed = export("Madrid", (), day=23, refused=("shop 2",))
    write_export(uploads / "3", failed.header, failed.rows)
    with pytest.raises(GateError, match="shop 2 failed its trial in Madrid") as caught:
        run("rollout", rolled_out, uploads, *options)
    assert "edgedesk rollback" in caught.value.hint
    assert allowed().names == frozenset()


def test_rollout_signs_nothing_for_a_plan_that_does_not_fit_the_release(
    uploads: Path, rolled_out: Path, company: Company, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(RINGS.replace("shop 2", "shop 3"), encoding="utf-8")
    before = published_model(company.folder)
    keys = ("--keys", company.keys.folder)
    with pytest.raises(UsageError, match="the plan is for shop 3, the release holds shop 2"):
        run("rollout", other, uploads, "--to", company.folder, *keys)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no model"):
        run("rollout", rolled_out, uploads, "--to", tmp_path / "empty", *keys)
    with pytest.raises(MissingError, match="no such folder"):
        run("rollout", rolled_out, uploads, "--to", tmp_path / "none", *keys)
    with pytest.raises(MissingError, match="no such folder of keys"):
        run("rollout", rolled_out, uploads, "--to", company.folder, "--keys", tmp_path / "none")

    def release(*words: object) -> None:
        every = [str(word) for word in (*words, *keys, "--to", company.folder)]
        CliRunner().invoke(release_command, every, catch_exceptions=False)

    with pytest.raises(UsageError, match="the plan is for shop 3, the bundle is shop 2"):
        release(tmp_path / "build 2" / "bundle", "--rollout", other)
    with pytest.raises(UsageError, match="begins with a bundle"):
        release("--rollout", rolled_out)
    (tmp_path / "bad.toml").write_text('release = "shop 2"\n')
    with pytest.raises(InputError, match="ring"):
        release("--rollout", tmp_path / "bad.toml")
    assert published_model(company.folder) == before == PublishedModel("shop 2", AllowedBranches(frozenset({"里斯本"})))
