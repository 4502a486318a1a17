"""What the console sees of its branch without asking the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runtime.client.answers import ServerStatus
from tui.services.branch_health import branch_health, is_locked


def test_branch_health_sees_an_update_and_a_newer_bundle_without_taking_a_lock(tmp_path: Path) -> None:
    status = ServerStatus(bundle="shop", version="1", engine="restarting", waiting=3)
    lock = tmp_path / "install.lock"
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    try:
        assert is_locked(lock)
        health = branch_health(tmp_path, status)
        assert (health.updating, health.engine, health.waiting, health.newer) == (True, False, 3, "")
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
    assert not is_locked(lock)
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "bundle.json").write_text('{"name": "shop", "version": "2"}')
    assert branch_health(tmp_path, status.model_copy(update={"engine": "ready"})).troubles() == ["newer"]
