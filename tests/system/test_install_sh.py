"""`sh install.sh`: a branch machine gets Edgedesk from a folder, with no network, and says in a sentence what it lacks.

The short form: everything is real but the dependencies' wheels, which are borrowed from this environment. A whole
installation into a bare Debian is in test_bare_root.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks._receipt_pictures import SANS_SC, draw, encoded, make_receipt
from runtime.bundle.keys import make_keys
from runtime.cli.release import app as release_command
from tests.support.installed_branch import Branch, needs_namespaces
from tests.support.releases import NOW, Company, passed
from tests.support.speech import CHINESE, CHINESE_TEXT, find_speech_model, write_speech

pytestmark = pytest.mark.system


@pytest.fixture
def release(app_folder: Path, make_home: Callable[..., Path], random_gguf: Path, tmp_path: Path) -> Path:
    """A stick: install.sh, the program, a plain bundle with compiled articles."""
    speech = write_speech(tmp_path / "speech", english=False).folder if find_speech_model("silero-vad") else None
    bundle = (make_home(random_gguf, name="built", layout="parallel", speech=speech) / "current").resolve()
    folder = tmp_path / "release"
    shutil.copytree(app_folder, folder / "app")
    shutil.copytree(bundle, folder / "bundle")
    shutil.move(folder / "app" / "install.sh", folder / "install.sh")
    return folder


@pytest.fixture
def branch(tmp_path: Path, release: Path) -> Branch:
    return Branch(tmp_path, release)


def sentence(said: str) -> list[str]:
    """The last two lines: an error and its cure."""
    lines = said.strip().splitlines()[-2:]
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  hint: ")
    return lines


@needs_namespaces
def test_install_sh_makes_a_branch_that_answers_and_converges_when_run_again(
    tmp_path: Path, release: Path, program: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S12: install, doctor and two questions where there is no network, loopback included."""
    branch = Branch(tmp_path, release, program)
    said = branch.install()
    assert "it is there and whole" in said
    assert "[6/6] the service" in said
    assert "sections compiled (parallel)" in said
    assert len(list((branch.home / "knowledge").glob("*.pack"))) > 0
    for question in ("How long can I return an item after delivery?", "大多数商品多长时间内可以退货？"):
        assert json.loads(branch.edgedesk("ask", question, "--json"))["answer"]
    # Recognisers come with the bundle.
    if (branch.home / "current" / "speech").is_dir():
        assert json.loads(branch.edgedesk("ask", "--audio", str(CHINESE), "--json"))["heard"] == CHINESE_TEXT
    # The extra `perception` too: its weights come in its wheel, and nothing is looked up.
    receipt = tmp_path / "receipt.png"
    slip = make_receipt(random.Random(1), "zh")
    receipt.write_bytes(encoded(draw(slip, SANS_SC)))
    asked = json.loads(branch.edgedesk("ask", "--image", str(receipt), "大多数商品多长时间内可以退货？", "--json"))
    assert ("order_number", slip.fields["order_number"][0]) in [
        (one["kind"], one["value"]) for one in asked["read"]["entities"]
    ]
    assert json.loads(branch.edgedesk("doctor", "--json"))["ok"]
    assert (branch.bin / "edgedesk").resolve().is_relative_to(branch.prefix)
    assert branch.home.stat().st_mode & 0o077 == 0

    # Cut short: the stamp, which is written last, is missing, and so is a module.
    made = (branch.prefix / "current").resolve() / ".complete"
    made.unlink()
    (module,) = made.parent.glob("lib/python*/site-packages/edgedesk.py")
    module.unlink()
    assert "it is there and whole" not in branch.install("--no-compile")
    assert branch.edgedesk("--version").strip() == "0.1.0"
    assert json.loads(branch.edgedesk("generations", "--json"))["generations"] == [
        {"generation": 1, "bundle": "shop", "version": "1", "current": True}
    ]
    count_trials("S12", 5)


@pytest.fixture
def signed(release: Path, company: Company, tmp_path: Path) -> Path:
    """The same release, signed: files under their hashes, as `edgedesk release` writes them."""
    bundle = shutil.move(release / "bundle", tmp_path / "gated")
    app = shutil.move(release / "app", tmp_path / "app")
    shutil.move(release / "install.sh", app / "install.sh")
    words = [str(passed(bundle)), "--wheels", str(app), "--keys", str(company.keys.folder)]
    for _ in range(2):  # the second changes nothing, and leaves files of the first beside its own
        done = CliRunner().invoke(release_command, [*words, "--to", str(company.folder)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    (stale,) = (company.folder / "targets/app/wheels").glob("*.edgedesk-*.whl")
    stale.with_name(f"{'0' * 64}.edgedesk-9-py3-none-any.whl").write_bytes(b"of another version")
    return company.folder


@needs_namespaces
def test_install_sh_installs_a_signed_release_and_compares_its_root(
    signed: Path, company: Company, program: Path, tmp_path: Path
) -> None:
    branch = Branch(tmp_path, signed, program)
    stranger = make_keys(tmp_path / "stranger", NOW).folder / "1.root.json"
    error, _ = sentence(branch.install("--root", str(stranger), code=6))
    assert "not believed" in error
    assert not (branch.home / "current").exists()
    error, _ = sentence(branch.install("--root", str(tmp_path / "none.json"), code=5))
    assert "--root" in error
    said = branch.install("--root", str(company.keys.folder / "1.root.json"), "--no-compile")
    assert "it is there and whole" in said, "a release keeps the program's files byte by byte"
    assert (branch.home / "trust.json").is_file()
    assert json.loads(branch.edgedesk("generations", "--json"))["generations"][0]["current"]
    shutil.rmtree(signed / "targets" / "app" / "wheels")
    error, _ = sentence(branch.install(code=5))
    assert "is missing in" in error


@needs_namespaces
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ("SHA256SUMS", "SHA256SUMS is not what this install.sh was made with"),
        ("requirements.txt", "is damaged"),
        ("systemd/edgedesk.system.service", "is damaged"),
        ("wheels/borrowed-1-py3-none-any.whl", "borrowed-1-py3-none-any.whl is damaged"),
    ],
)
def test_install_sh_refuses_a_changed_file(spoil: str, named: str, branch: Branch) -> None:
    path = branch.release / "app" / spoil
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    error, cure = sentence(branch.install(code=6))
    assert named in error
    assert "copy the release again" in cure
    assert not (branch.prefix / "current").exists()
    assert not list((branch.prefix / "env").glob("*")) if (branch.prefix / "env").exists() else True


@needs_namespaces
def test_install_sh_refuses_a_changed_bundle(tmp_path: Path, release: Path, program: Path) -> None:
    branch = Branch(tmp_path, release, program)
    (branch.release / "bundle" / "policy.toml").write_text("[refusal]\ntext = 'changed'\n")
    error, _ = sentence(branch.install(code=6))
    assert "policy.toml" in error
    assert not (branch.home / "current").exists()


@needs_namespaces
def test_install_sh_names_the_other_installer_at_once(branch: Branch, count_trials: Callable[[str, int], None]) -> None:
    """F14: the second one exits within a second of looking, and names the first."""
    branch.prefix.mkdir()
    lock = branch.prefix / "install.lock"
    lock.write_text("install.sh (process 4711)\n")
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        error, _ = sentence(branch.install(code=10))
        assert "install.sh (process 4711) is already at work" in error
        assert time.monotonic() - began < 60
    count_trials("F14", 1)


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize(("place", "megabytes"), [("prefix", 4), ("home", 40)])
def test_install_sh_looks_for_space_before_it_writes(place: str, megabytes: int, branch: Branch) -> None:
    folder: Path = getattr(branch, place)
    folder.mkdir()
    mount = f"mount -t tmpfs -o size={megabytes}m none '{folder}'"
    error, cure = sentence(branch.install(before=mount, code=4))
    assert f"{folder} has {megabytes} MB free" in error
    assert "needed" in error
    assert "--prefix" in cure


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_install_sh_leaves_another_users_branch_alone(branch: Branch) -> None:
    branch.home.mkdir()
    os.chown(branch.home, 65534, 65534)
    error, cure = sentence(branch.install(code=2))
    assert "belongs to nobody, not to root" in error
    assert "--run-as nobody" in cure


def fake(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@needs_namespaces
@pytest.mark.parametrize(
    ("script", "code", "said", "cure"),
    [
        ("echo 3.9", 5, "is Python 3.9; Python 3.11, 3.12 or 3.13 is needed", "apt-get install python3.11"),
        ('case "$*" in *sys*) echo 3.12 ;; *) exit 1 ;; esac', 5, "lacks parts of the standard library", "python3"),
        ('case "$*" in *sys*) echo 3.11 ;; *confstr*) exit 1 ;; esac', 3, "not glibc (musl?)", "Debian 12"),
        ('case "$*" in *sys*) echo 3.11 ;; *confstr*) echo 2.31 ;; esac', 3, "glibc 2.31 is too old", "Debian 12"),
    ],
    ids=["too old", "python3-minimal", "musl", "old glibc"],
)
def test_install_sh_says_what_is_wrong_with_a_python(
    script: str, code: int, said: str, cure: str, branch: Branch, tmp_path: Path
) -> None:
    python = fake(tmp_path / "fakes", "python3", script)
    error, hint = sentence(branch.install("--python", str(python), code=code))
    assert said in error
    assert cure in hint


@needs_namespaces
@pytest.mark.parametrize(
    ("uname", "said"),
    [
        ("case $1 in -m) echo aarch64 ;; *) echo Linux ;; esac", "this machine is aarch64"),
        ("echo Darwin", "this is Darwin"),
    ],
)
def test_install_sh_refuses_a_machine_it_is_not_for(uname: str, said: str, branch: Branch, tmp_path: Path) -> None:
    fake(tmp_path / "fakes", "uname", uname)
    error, _ = sentence(branch.install(code=3, PATH=f"{tmp_path / 'fakes'}:{os.environ['PATH']}"))
    assert said in error


@needs_namespaces
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frobnicate"], "unknown option '--frobnicate'"),
        (["--home"], "--home needs a value"),
        (["--home", "relative"], "'relative' is not an absolute path"),
        (["--home", "/tmp/two words"], "has characters that a service's unit cannot hold"),
    ],
)
def test_install_sh_refuses_wrong_options(words: list[str], said: str, branch: Branch) -> None:
    error, _ = sentence(branch.install(*words, code=2))
    assert said in error


@needs_namespaces
def test_install_sh_refuses_a_plain_bundle_where_a_root_is_named(branch: Branch, company: Company) -> None:
    root = str(company.keys.folder / "1.root.json")
    error, hint = sentence(branch.install("--root", root, code=6))
    assert "--root asks for a signed release" in error
    assert "head office" in hint
    assert not branch.prefix.exists()
    assert not branch.home.exists()


@needs_namespaces
def test_install_sh_check_changes_nothing(branch: Branch) -> None:
    assert "nothing stands against it" in branch.install("--check")
    assert not branch.prefix.exists()
    assert not branch.home.exists()


def test_install_sh_without_its_folder_says_so(app_folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(app_folder / "install.sh", tmp_path / "install.sh")
    done = subprocess.run(
        ["sh", str(tmp_path / "install.sh"), "--python", sys.executable, "--home", str(tmp_path / "home")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert "copy the whole release folder" in sentence(done.stderr)[1]


def test_install_sh_help_names_every_option(app_folder: Path) -> None:
    done = subprocess.run(["sh", str(app_folder / "install.sh"), "--help"], capture_output=True, text=True, check=True)
    for option in ("--check", "--home", "--prefix", "--bin", "--run-as", "--python", "--no-service", "--no-compile"):
        assert option in done.stdout
    assert "set -eu" not in done.stdout
