"""The image is built and run: no network while it is built, none while it answers, no root, nothing written outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.app_folder import without_network
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(3600)]
IMAGE, BASE = "localhost/edgedesk-test", "localhost/debian-python-test"


class Podman:
    """Podman with a storage of its own, for a machine with or without systemd."""

    def __init__(self, folder: Path) -> None:
        self.words = ["podman", "--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        # crun refuses machines that have cgroups of both versions.
        self.words += ["--runtime", "runc"] if shutil.which("runc") else []
        config = folder / "containers.conf"
        config.write_text('[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
        self.env = {**os.environ, "CONTAINERS_CONF": str(config)}

    def __call__(self, *words: object, before: tuple[str, ...] = (), code: int = 0) -> str:
        done = subprocess.run(
            [*before, *self.words, *map(str, words)], capture_output=True, text=True, env=self.env, check=False,
            timeout=1800, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    if shutil.which("podman") is None or os.geteuid() != 0 or not without_network():
        pytest.skip("needs podman, root and namespaces: apt-get install podman")
    folder = tmp_path / "podman"
    folder.mkdir()
    found = Podman(folder)
    try:
        yield found
    finally:
        subprocess.run([*found.words, "rm", "--all", "--force"], env=found.env, capture_output=True, check=False)
        subprocess.run(["umount", "--recursive", str(folder / "storage")], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def test_container_answers_without_network_root_or_a_writable_disk(
    podman: Podman,
    debian: Path,
    stick: Path,
    count_trials: Callable[[str, int], None],
) -> None:
    """S12: built where there is no network, run where there is none."""
    podman("import", "--quiet", debian, BASE)
    # Without a registry and without the host's network: whatever the build wanted to fetch would be missing.
    podman(
        "build", "--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={BASE}",
        "--file", ROOT / "deploy/container/Containerfile", "--tag", IMAGE, stick, before=("unshare", "--net"),
    )  # fmt: skip
    confined = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    confined += ["--security-opt", "no-new-privileges"]
    # Podman's defaults are above what a root without CAP_SYS_RESOURCE may set.
    confined += ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
    # Its own timer needs systemd; the command it would run is run below.
    confined += ["--no-healthcheck"]
    podman("run", "--detach", "--name", "branch", *confined, "--volume", "branch:/var/lib/edgedesk", IMAGE)
    wait_until_ready(podman)
    for question in ("How long can I return an item after delivery?", "大多数商品多长时间内可以退货？"):
        assert json.loads(podman("exec", "branch", "edgedesk", "ask", question, "--json"))["answer"]
    assert podman("exec", "branch", "id", "-u").strip() == "10001"
    devices = podman("exec", "branch", "cat", "/proc/net/dev").splitlines()[2:]
    assert [line.partition(":")[0].strip() for line in devices] == ["lo"]
    podman("exec", "branch", "touch", "/opt/edgedesk/x", code=1)

    # A new container on the same volume: the branch is there, and is made current again, not copied.
    podman("rm", "--force", "--time", "30", "branch")
    podman("run", "--detach", "--name", "branch", *confined, "--volume", "branch:/var/lib/edgedesk", IMAGE)
    wait_until_ready(podman)
    told = json.loads(podman("exec", "branch", "edgedesk", "generations", "--json"))
    assert [one["generation"] for one in told["generations"]] == [1]
    count_trials("S12", 4)


def wait_until_ready(podman: Podman) -> None:
    until = time.monotonic() + 600
    while True:
        command = [*podman.words, "exec", "branch", "edgedesk", "probe"]
        if subprocess.run(command, env=podman.env, capture_output=True, check=False).returncode == 0:
            return
        running = podman("inspect", "--format", "{{.State.Running}}", "branch").strip()
        assert running == "true", podman("logs", "branch")
        assert time.monotonic() < until
