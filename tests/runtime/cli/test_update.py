"""Head office's and a branch's commands together: keys, release, install, update, as people type them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from runtime.client.client import Client
from runtime.errors import ExitCode
from tests.support.branch import POLICY
from tests.support.paths import ROOT
from tests.support.release_server import release_server
from tests.support.releases import seal
from tests.support.server import serving, wait_for

Make = Callable[..., Path]


def edgedesk(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "edgedesk.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def well(*words: object) -> str:
    done = edgedesk(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def build(make_bundle: Make, tmp_path: Path) -> Callable[[str, Path], Path]:
    """Writes a bundle that passed its gate, with a model that really runs."""

    def make(version: str, model: Path) -> Path:
        root = make_bundle(f"build {version}/bundle", version)
        for quantization in ("q8_0", "q4_k_m"):
            shutil.copyfile(model, root / "model" / f"{quantization}.gguf")
        (root / "policy.toml").write_text(POLICY.format(min_similarity=0.3), encoding="utf-8")
        return seal(root)

    return make


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEDESK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EDGEDESK_THREADS", "1")
    return tmp_path / "home"


@pytest.fixture
def released(build: Callable[[str, Path], Path], scripted_gguf: Path, tmp_path: Path, home: Path) -> Path:
    """The release folder; its first release is installed."""
    well("keys", "init", tmp_path / "keys")
    well("release", build("1", scripted_gguf), "--keys", tmp_path / "keys", "--to", tmp_path / "release")
    done = edgedesk("install", tmp_path / "release")
    assert done.returncode == 0, done.stderr
    assert "compare them with head office" in done.stderr
    return tmp_path / "release"


def test_new_articles_are_answered_from_after_an_update_in_both_languages(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket_enabled: None
) -> None:
    """Over HTTP, and in the branch's hours alone unless a person is in a hurry."""
    articles = tmp_path / "build 1" / "bundle" / "articles"
    for lang, before, after in (("en", "within 30 days", "within 45 days"), ("zh", "30天内", "45天内")):
        path = articles / lang / "returns-window.md"
        path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    said = json.loads(well("release", "--articles", articles, "--keys", tmp_path / "keys", "--to", released, "--json"))
    assert said["files"] == 2
    assert said["parts"] == {"model": 1, "articles": 2, "app": 1}
    hour = datetime.now().astimezone().hour
    monkeypatch.setenv("EDGEDESK_UPDATE_WINDOW", f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00")
    monkeypatch.setenv("EDGEDESK_UPDATE_KIB_PER_S", "100000")
    with release_server(released) as server:
        monkeypatch.setenv("EDGEDESK_UPDATE_FROM", server.url)
        done = edgedesk("update")
        assert done.returncode == ExitCode.UNAVAILABLE
        assert "--now" in done.stderr
        assert server.asked == []
        said = json.loads(well("update", "--now", "--json"))
    assert (said["outcome"], said["generation"]) == ("updated", 2)
    monkeypatch.delenv("EDGEDESK_UPDATE_WINDOW")
    for question, expected in (
        ("How long do I have to return an item?", "within 45 days"),
        ("大多数商品多长时间内可以退货？", "45天内"),
    ):
        answer = json.loads(well("ask", question, "--json"))
        assert any(expected in citation["text"] for citation in answer["citations"])
    assert "up to date: release 2" in well("update", released)


PLAN = """release = "shop 2"
[[ring]]
name = "canary"
branches = ["里斯本"]
[[ring]]
name = "everybody"
branches = ["*"]
"""


def test_release_that_is_rolled_out_is_taken_by_its_ring_alone(
    released: Path,
    home: Path,
    tmp_path: Path,
    build: Callable[[str, Path], Path],
    scripted_gguf: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tmp_path / "rollout.toml"
    plan.write_text(PLAN, encoding="utf-8")
    keys = ("--keys", tmp_path / "keys", "--to", released)
    well("release", build("2", scripted_gguf), "--rollout", plan, *keys)
    done = edgedesk("update", released)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "release 2 is not for this branch yet, generation 1 stays\n"
    assert "this branch has no name (setting 'branch')" in done.stderr
    monkeypatch.setenv("EDGEDESK_BRANCH", "Oslo")
    said = json.loads(well("update", released, "--again", "--json"))
    assert (said["outcome"], said["generation"]) == ("not_yet", 1)
    assert "'Oslo' is not among them" in said["held_back"]
    done = edgedesk("install", released)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "not for this branch yet" in done.stderr
    assert [row["version"] for row in json.loads(well("generations", "--json"))["generations"]] == ["1"]
    (home / "settings.toml").write_text('branch = "里斯本"\n', encoding="utf-8")
    monkeypatch.delenv("EDGEDESK_BRANCH")
    assert json.loads(well("update", released, "--json"))["outcome"] == "updated"


def test_release_says_what_it_holds(released: Path, home: Path) -> None:
    installed = home / "current"
    card = (installed / "card.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["language"] == ["en", "zh"]
    assert head["model-index"][0]["results"][0]["metrics"] == [{"type": "kl", "value": 0.1}]
    sbom = json.loads((installed / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    named = {component["name"] for component in sbom["components"]}
    root = next(each for each in sbom["dependencies"] if each["ref"] == sbom["metadata"]["component"]["bom-ref"])
    assert len(root["dependsOn"]) == len(sbom["components"]), "the release rests on everything in it"
    assert {"model/q4_k_m.gguf", "embedder/model.onnx", "chromadb", "llama-cpp-python"} <= named
    assert "torch" not in named
    assert json.loads((installed / "report" / "gate.json").read_text())["figures"] == {"kl": 0.1}


def test_release_that_runs_badly_is_left_by_itself_while_the_server_answers_on(
    released: Path,
    home: Path,
    tmp_path: Path,
    build: Callable[[str, Path], Path],
    random_gguf: Path,
    scripted_gguf: Path,
    count_trials: Callable[[str, int], None],
) -> None:
    """F7: a model that loads and writes nonsense, golden questions in both languages, a server that runs meanwhile."""
    probes = tmp_path / "probes.jsonl"
    rows = [
        {"question": "How long do I have to return an item?", "lang": "en", "contains": ["30 days"]},
        {"question": "多长时间内可以退货？", "lang": "zh", "section": "returns-window#how-long", "contains": ["30天"]},
    ]
    probes.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    options = ("--probes", probes, "--keys", tmp_path / "keys", "--to", released)
    well("release", build("2", random_gguf), *options)
    with serving(home):
        client = Client(home)
        done = edgedesk("update", released)
        assert done.returncode == ExitCode.MODEL, done.stderr
        assert re.search("[01] of 2 golden questions were answered right", done.stderr)
        done = edgedesk("update", released)
        assert done.returncode == ExitCode.MODEL
        assert "has failed its trial before" in done.stderr
        rows_now = json.loads(well("generations", "--json"))["generations"]
        assert [(row["generation"], row["version"]) for row in rows_now] == [(1, "1")]
        assert client.is_ready()
        assert client.status()["version"] == "1"
        well("release", build("3", scripted_gguf), *options)
        done = edgedesk("update", released)
        assert done.returncode == 0, done.stderr
        assert "2 of 2 golden questions right" in done.stderr
        wait_for(lambda: client.is_ready() and client.status()["version"] == "3")
    assert not (home / "trial").exists()
    count_trials("F7", 2)


def test_release_with_a_bundle_laid_over_it_is_installed_as_it_was_signed(
    released: Path, build: Callable[[str, Path], Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    shutil.copytree(build("2", scripted_gguf), released, dirs_exist_ok=True)
    fresh = tmp_path / "fresh"
    root = tmp_path / "keys" / "1.root.json"
    assert json.loads(well("install", released, "--root", root, "--home", fresh, "--json"))["version"] == "1"
    assert (fresh / "trust.json").is_file()
    nosuch = edgedesk("install", released, "--root", tmp_path / "nosuch.json", "--home", tmp_path / "fresh 2")
    assert nosuch.returncode == ExitCode.MISSING
    assert "nosuch.json: no such file" in nosuch.stderr
    plain = edgedesk("install", tmp_path / "build 2" / "bundle", "--root", root, "--home", tmp_path / "fresh 2")
    assert plain.returncode == ExitCode.INTEGRITY
    assert "--root asks for a signed release" in plain.stderr
    assert not (tmp_path / "fresh 2" / "current").exists()


def test_wrong_use_of_the_commands_is_one_sentence(released: Path, tmp_path: Path, home: Path) -> None:
    bundle = tmp_path / "build 1" / "bundle"
    (bundle.parent / "gate.json").unlink()
    cases = (
        (("release", bundle, "--keys", tmp_path / "keys", "--to", released), ExitCode.GATE, "not passed a gate"),
        (
            ("release", tmp_path / "none", "--keys", tmp_path / "keys", "--to", released),
            ExitCode.MISSING,
            "no such bundle",
        ),
        (("release", "--keys", tmp_path / "none", "--to", released), ExitCode.MISSING, "edgedesk keys init"),
        (("keys", "init", tmp_path / "keys"), ExitCode.USAGE, "not empty"),
        (("update",), ExitCode.USAGE, "update_from"),
        (("update", tmp_path / "no stick"), ExitCode.MISSING, "stick"),
        (("update", tmp_path), ExitCode.MISSING, "release"),
    )
    for words, code, said in cases:
        done = edgedesk(*words)
        assert done.returncode == code, (words, done.stderr)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
