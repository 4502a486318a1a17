"""`edgedesk release --oci` and what branches take from there, as people type it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.bundle.generations import current_bundle
from runtime.cli.release import app
from runtime.desk.probes import EXAMPLE_PROBE, PROBES_FILE
from runtime.errors import EdgedeskError, InputError, MissingError, UnavailableError, UsageError
from tests.support.branch import POLICY
from tests.support.paths import ROOT
from tests.support.registry import FakeRegistry, serve
from tests.support.releases import Company, seal

Small = Callable[[str], Path]


@pytest.fixture
def registry(socket_enabled: None) -> Iterator[FakeRegistry]:
    with serve(FakeRegistry()) as registry:
        yield registry


def release(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def edgedesk(home: Path, *words: object) -> str:
    command = [sys.executable, str(ROOT / "edgedesk.py"), *map(str, words), "--home", str(home)]
    environment = {**os.environ, "EDGEDESK_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_release_is_signed_pushed_installed_and_updated_from_a_registry(
    make_bundle: Callable[..., Path], scripted_gguf: Path, company: Company, registry: FakeRegistry, tmp_path: Path
) -> None:
    bundle = make_bundle("build/bundle", "1")
    for quantization in ("q8_0", "q4_k_m"):
        shutil.copyfile(scripted_gguf, bundle / "model" / f"{quantization}.gguf")
    (bundle / "policy.toml").write_text(POLICY.format(min_similarity=0.3), encoding="utf-8")
    registry.challenge = "bearer"
    login = tmp_path / "login"
    login.write_text(registry.login + "\n")
    there = ["--keys", company.keys.folder, "--to", company.folder, "--oci", registry.address(), "--login", login]
    told = json.loads(release(seal(bundle), *there, "--json"))
    assert told["pushed"]["files"] >= told["pushed"]["sent_files"] > 10, "of two files with the same bytes one is sent"
    assert f"sha256:{told['pushed']['digest'][7:]}" in registry.manifests

    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "settings.toml").write_text(f'update_from = "{registry.address()}"\nupdate_login = "{login}"\n')
    root = company.keys.folder / "1.root.json"
    assert json.loads(edgedesk(home, "install", registry.address(), "--root", root, "--json"))["version"] == "1"

    articles = shutil.copytree(bundle / "articles", tmp_path / "articles")
    (articles / "en" / "new.md").write_text("# Parking {#parking}\n\nParking costs 3 euros.\n", encoding="utf-8")
    said = release("--articles", articles, *there)
    assert f"{registry.address()}: sha256:" in said
    registry.sent.clear()
    assert json.loads(edgedesk(home, "update", "--json"))["outcome"] == "updated"
    assert (current_bundle(home).root / "articles" / "en" / "new.md").is_file()
    model = max(len(data) for data in registry.blobs.values())
    assert sum(registry.sent.values()) < model / 4, "the model is not fetched again"


def test_release_is_pushed_as_it_is_where_there_are_no_keys(
    company: Company, small_bundle: Small, registry: FakeRegistry, tmp_path: Path
) -> None:
    company.release(small_bundle("1"))
    before = sorted(path.name for path in (company.folder / "metadata").iterdir())
    carried = company.copy(tmp_path / "carried")
    told = json.loads(release("--to", carried, "--oci", registry.address(), "--as-is", "--json"))
    assert told["pushed"]["sent_files"] > 0
    assert sorted(path.name for path in (carried / "metadata").iterdir()) == before, "nothing is signed"


def test_release_that_could_not_be_pushed_is_signed_and_says_how_to_push_it(
    company: Company, small_bundle: Small, registry: FakeRegistry
) -> None:
    registry.challenge = "basic"
    words = [small_bundle("1"), "--keys", company.keys.folder, "--to", company.folder, "--oci", registry.address()]
    with pytest.raises(UnavailableError, match="401") as caught:
        release(*words)
    assert "login" in caught.value.hint
    assert (company.folder / "metadata" / "timestamp.json").is_file()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--oci", "http://registry.example/shop"], UsageError),
        (["--oci", "oci://registry.example/Shop"], UsageError),
        (["--as-is"], UsageError),
        (["--login", __file__], InputError),
        (["--host", "storage.example"], UsageError),
        (["--as-is", "--oci", "oci://registry.example/shop", "--to", "/no/such/folder"], MissingError),
        (["--as-is", "--oci", "oci://registry.example/shop", "--articles", "/articles"], UsageError),
    ],
)
def test_options_of_a_push_that_do_not_go_together_are_named_before_anything_is_signed(
    words: list[str], error: type[EdgedeskError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        release(*words)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_bundle_that_replaces_newer_articles_says_so(
    make_bundle: Callable[..., Path], company: Company, tmp_path: Path
) -> None:
    """A model built last month brings last month's articles; whoever releases it may not want them."""
    bundle = seal(make_bundle("build/bundle", "1"))
    there = ["--keys", str(company.keys.folder), "--to", str(company.folder)]
    articles = shutil.copytree(bundle / "articles", tmp_path / "articles")
    (articles / "en" / "new.md").write_text("# Parking {#parking}\n\nParking costs 3 euros.\n", encoding="utf-8")
    mine, theirs = [str(bundle)], ["--articles", str(articles)]
    said = [
        "replace those released before" in CliRunner().invoke(app, [*words, *there]).stderr
        for words in (mine, theirs, mine, [*mine, *theirs])
    ]
    assert said == [False, False, True, False]


def test_release_without_golden_questions_is_warned_of_with_what_to_add(
    make_bundle: Callable[..., Path], company: Company, tmp_path: Path
) -> None:
    bundle = seal(make_bundle("build/bundle", "1"))
    there = ["--keys", str(company.keys.folder), "--to", str(company.folder)]
    alone = CliRunner().invoke(app, [str(bundle), *there, "--json"], catch_exceptions=False)
    assert "warning: no golden questions go with this release" in alone.stderr
    assert "add --probes FILE" in " ".join(alone.stderr.split())
    assert json.loads(alone.stdout)["release"] == 1
    probes = tmp_path / "golden.jsonl"
    probes.write_text(EXAMPLE_PROBE + "\n")  # what the warning shows is what is taken
    for words in ([str(bundle), "--probes", str(probes)], []):
        assert "golden questions" not in CliRunner().invoke(app, [*words, *there], catch_exceptions=False).stderr
    (bundle / PROBES_FILE).write_text(EXAMPLE_PROBE + "\n")
    seal(bundle)
    assert "golden questions" not in CliRunner().invoke(app, [str(bundle), *there], catch_exceptions=False).stderr
