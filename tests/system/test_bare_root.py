"""A stick, a plain Debian with Python and nothing else, no network: install.sh makes a branch that answers.

Needs root, mmdebstrap and a Debian mirror for the first time, and the program's folder that `./build.sh app` makes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bare_root import BareRoot, unpacked

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(3600)]
QUESTIONS = {"en": "How long can I return an item after delivery?", "zh": "大多数商品多长时间内可以退货？"}


def test_bare_root_has_nothing_to_build_with_and_no_network(bare_root: BareRoot) -> None:
    said = bare_root.run(
        """
        for name in cc gcc g++ clang cmake make ninja pip pip3 curl wget git systemctl; do
            ! command -v $name || echo "there: $name"
        done
        python3 -c 'import venv, ssl, sqlite3'
        ! python3 -c 'import ensurepip' 2>/dev/null || echo "there: ensurepip"
        ! ls /usr/lib/x86_64-linux-gnu/libgomp.so.1 2>/dev/null || echo "there: libgomp"
        sed 1,2d /proc/net/dev | cut -d: -f1
        """
    )
    assert said.split() == ["lo"]


def test_bare_root_becomes_a_branch_of_the_machine(
    bare_root: BareRoot, count_trials: Callable[[str, int], None]
) -> None:
    """S12: as root: a user of its own, a system unit, answers in both languages from a server."""
    said = bare_root.run("sh /media/stick/install.sh")
    assert "systemd does not run here" in said
    assert "sections compiled (parallel)" in said
    unit = (bare_root.folder / "etc/systemd/system/edgedesk.service").read_text()
    assert "ExecStart=/opt/edgedesk/current/bin/edgedesk serve --home /var/lib/edgedesk" in unit
    assert "@" not in unit.replace("@system-service", "").replace("~@privileged", "")
    told = bare_root.run(
        f"""
        export EDGEDESK_HOME=/var/lib/edgedesk
        /usr/local/bin/edgedesk serve 2>/tmp/serve.log &
        tries=0
        until grep -q ready: /tmp/serve.log; do
            tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.1
        done
        /usr/local/bin/edgedesk ask '{QUESTIONS["en"]}' --json
        /usr/local/bin/edgedesk ask '{QUESTIONS["zh"]}' --json
        /usr/local/bin/edgedesk doctor --json
        kill $!
        wait
        """,
        user="edgedesk",
    )
    answers = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert all(answer["answer"] for answer in answers[:2])
    checks = {one["name"]: one for one in answers[2]["checks"]}
    assert answers[2]["ok"], checks
    assert checks["server"]["said"] == "ready"
    owners = {path.owner() for path in (bare_root.folder / "opt/edgedesk").rglob("*.py")}
    assert owners == {"root"}, "the service cannot change its own program"

    again = bare_root.run("sh /media/stick/install.sh")
    assert "it is there and whole" in again
    count_trials("S12", 6)


def test_bare_root_lets_a_user_install_without_root(bare_root: BareRoot) -> None:
    bare_root.run("useradd --create-home anna")
    said = bare_root.run("sh /media/stick/install.sh", user="anna")
    assert "done in" in said
    assert (bare_root.folder / "home/anna/.config/systemd/user/edgedesk.service").is_file()
    answer = json.loads(bare_root.run(f"~/.local/bin/edgedesk ask '{QUESTIONS['en']}' --json 2>/dev/null", user="anna"))
    assert answer["answer"]
    # Another user's installation is beside it, not in its way.
    refused = bare_root.run("sh /media/stick/install.sh --home /home/anna/.local/share/edgedesk", code=2)
    assert "belongs to anna" in refused


BOOTED = """
exec >/root/said 2>&1
set -x
sh /media/stick/install.sh || exit
export EDGEDESK_HOME=/var/lib/edgedesk
pid=$(systemctl show --property=MainPID --value edgedesk)
echo "state: $(systemctl is-active edgedesk) $(systemctl is-enabled edgedesk)"
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/$pid/status
[ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/1/ns/net)" ] || echo "network: its own"
as() { runuser -u edgedesk -- edgedesk "$@"; }
echo "probe: $(as probe)"
as ask 'QUESTION' --json
as doctor --json
kill -KILL $pid
tries=0
until as probe 2>/dev/null; do tries=$((tries + 1)); [ $tries -lt 300 ] || exit; sleep 1; done
echo "restarts: $(systemctl show --property=NRestarts --value edgedesk)"
systemctl stop edgedesk
echo "result: $(systemctl show --property=Result --value edgedesk)"
echo end
"""
RUNNER = """
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh /root/booted.sh
ExecStopPost=/bin/systemctl poweroff --force --force
"""


def test_bare_root_runs_the_hardened_service_under_systemd(
    debian_with_systemd: Path, stick: Path, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S12, F18: a booted Debian without a network; the service answers, is killed, and answers again."""
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("systemd-nspawn is missing: apt-get install systemd-container")
    with unpacked(debian_with_systemd, tmp_path / "root") as root:
        (root / "root/booted.sh").write_text(BOOTED.replace("QUESTION", QUESTIONS["zh"]), encoding="utf-8")
        (root / "etc/systemd/system/booted.service").write_text(RUNNER)
        wants = root / "etc/systemd/system/default.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "booted.service").symlink_to("/etc/systemd/system/booted.service")
        command = ["systemd-nspawn", "--quiet", "--directory", str(root), "--boot", "--private-network"]
        command += ["--register=no", "--keep-unit", f"--bind-ro={stick}:/media/stick"]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=3000)
        if not (root / "root/said").is_file():
            pytest.skip("systemd cannot be booted here")
        said = (root / "root/said").read_text(encoding="utf-8")
    assert said.endswith("end\n"), said
    for line in (
        "state: active enabled",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "network: its own",
        "probe: ready",
        "restarts: 1",
        "result: success",
    ):
        assert f"\n{line}\n" in said, (line, said)
    answer, checks = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    assert answer["answer"]
    assert checks["ok"]
    assert {one["name"]: one["said"] for one in checks["checks"]}["service"] == "edgedesk.service is active"
    count_trials("S12", 3)
    count_trials("F18", 1)
