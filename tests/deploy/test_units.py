"""The units that install.sh writes: systemd understands them, and they leave the server nothing it does not need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

UNITS = ROOT / "deploy" / "systemd"
MOST_EXPOSURE = {"system": 1.0, "user": 6.5}
"""Of systemd-analyze security, 0 to 10. A service of a user cannot be confined by namespaces everywhere."""
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")


def filled(kind: str, folder: Path) -> Path:
    """A unit as install.sh fills it in, with its program and home in place."""
    program, home = folder / "prefix/current/bin/edgedesk", folder / "home"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (home / "current").mkdir(parents=True)
    text = (UNITS / f"edgedesk.{kind}.service").read_text(encoding="utf-8")
    values = {"@PREFIX@": str(folder / "prefix"), "@HOME@": str(home), "@ACCOUNT@": "daemon", "@PROTECT_HOME@": "yes"}
    for name, value in values.items():
        text = text.replace(name, value)
    path = folder / "edgedesk.service"
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("# Template")) + "\n")
    return path


def analyze(*words: object, folder: Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "SYSTEMD_COLORS": "0", "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize("kind", ["system", "user"])
def test_unit_is_understood_whole(kind: str, tmp_path: Path) -> None:
    words = ["--user"] if kind == "user" else []
    said = analyze(*words, "verify", "--man=no", filled(kind, tmp_path), folder=tmp_path)
    assert "edgedesk.service" not in said, said


@needs_systemd
@pytest.mark.parametrize("kind", ["system", "user"])
def test_unit_exposes_little(kind: str, tmp_path: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", filled(kind, tmp_path), folder=tmp_path)
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= MOST_EXPOSURE[kind]


@pytest.mark.parametrize("kind", ["system", "user"])
def test_unit_has_no_network_and_one_folder(kind: str) -> None:
    settings = dict(
        line.split("=", 1)
        for line in (UNITS / f"edgedesk.{kind}.service").read_text(encoding="utf-8").splitlines()
        if re.match(r"^[A-Z]\w+=", line) and not line.startswith("SystemCallFilter")
    )
    assert settings["RestrictAddressFamilies"] == "AF_UNIX"
    assert settings["NoNewPrivileges"] == "yes"
    assert settings["Type"] == "notify"
    # The engine is killed first when memory runs out, and the server outlives it.
    assert settings["OOMPolicy"] == "continue"
    if kind == "system":
        assert settings["PrivateNetwork"] == "yes"
        assert settings["ProtectSystem"] == "strict"
        assert settings["ReadWritePaths"] == "@HOME@"
        assert settings["CapabilityBoundingSet"] == ""


def test_unit_placeholders_are_those_that_the_installer_fills_in() -> None:
    script = (ROOT / "deploy" / "install.sh").read_text(encoding="utf-8")
    for path in UNITS.iterdir():
        for name in set(re.findall(r"@[A-Z_]+@", path.read_text(encoding="utf-8"))):
            assert f"s|{name}|" in script, (path.name, name)
