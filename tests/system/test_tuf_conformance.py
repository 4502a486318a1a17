"""The updater behind the command line of TUF's public conformance suite, and the suite itself where a checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.client import main
from tests.support.paths import ROOT
from tests.support.release_server import release_server
from tests.support.releases import NOW, Company

Small = Callable[[str], Path]
SUITE = "EDGEDESK_TUF_CONFORMANCE"


def test_conformance_client_believes_refuses_and_downloads_as_a_branch_does(
    company: Company, small_bundle: Small, tmp_path: Path, socket_enabled: None
) -> None:
    company.release(small_bundle("1"))
    metadata, targets = tmp_path / "metadata", tmp_path / "targets"
    for folder in (metadata, targets):
        folder.mkdir()
    with release_server(company.folder) as server:
        where = ["--metadata-dir", str(metadata), "--metadata-url", f"{server.url}/metadata"]
        to = ["--target-dir", str(targets), "--target-base-url", f"{server.url}/targets"]
        assert main([*where, "init", str(company.keys.folder / "1.root.json")]) == 0
        assert main([*where, "refresh"]) == 0
        assert (metadata / "timestamp.json").read_bytes() == company.metadata("timestamp").read_bytes()
        assert main([*where, *to, "--target-name", "model/nothing", "download"]) == 1
        for _ in range(2):
            assert main([*where, *to, "--target-name", "model/bundle.json", "download"]) == 0
        assert sum("bundle.json" in name for name, _ in server.asked) == 1, "what the store has is not fetched again"
        (file,) = targets.iterdir()
        assert b'"version": "1"' in file.read_bytes()
        # A new root counts although everything behind it is gone.
        company.keys.rotate("timestamp", NOW)
        company.release(small_bundle("2"))
        company.metadata("timestamp").unlink()
        assert main([*where, "refresh"]) == 1
    assert (metadata / "root.json").read_bytes() == (company.folder / "metadata" / "2.root.json").read_bytes()


@pytest.mark.slow
@pytest.mark.system
def test_updater_passes_the_public_conformance_suite_as_far_as_it_applies() -> None:
    """Every test that is not in `tests/conformance/expected_failures.txt` passes, and every one that is there fails."""
    if not (suite := os.environ.get(SUITE)):
        pytest.skip(f"{SUITE} names no checkout of theupdateframework/tuf-conformance")
    if shutil.which("faketime") is None:
        pytest.skip("faketime is missing (apt-get install faketime)")
    command = [sys.executable, "-m", "tests.conformance", suite]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
