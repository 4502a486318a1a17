"""A build's libraries stay at home, whatever the environment says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runtime.base.child_process import child_environment

ASKED = """
from distill.compute.device import go_offline
go_offline()
import datasets, huggingface_hub.constants as hub, transformers.utils.hub as library
print(hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY, hub.HF_HUB_DISABLE_XET, library.is_offline_mode())
print(datasets.config.HF_DATASETS_OFFLINE)
"""


def test_offline_turns_hub_and_telemetry_off_where_the_environment_turned_them_on(tmp_path: Path) -> None:
    """And importing the libraries leaves no file in the user's home."""
    on = {
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "0",
    }
    environment = child_environment(**on, HOME=str(tmp_path), XDG_CACHE_HOME=f"{tmp_path}/.cache")
    environment.pop("HF_HOME", None)
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 5
    assert list(tmp_path.iterdir()) == []
