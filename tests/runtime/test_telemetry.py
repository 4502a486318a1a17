"""Libraries that report home are switched off before they can be imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "ANONYMIZED_TELEMETRY": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.mark.parametrize("package", ["distill", "quantize", "runtime", "tui", "edgedesk"])
def test_every_package_switches_telemetry_off_whatever_the_environment_says(package: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(SWITCHES, "0")}
    code = f"import {package}, os; print(*(os.environ[name] for name in {list(SWITCHES)}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.split() == list(SWITCHES.values())
