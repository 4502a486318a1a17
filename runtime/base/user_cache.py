"""Where what can be made or fetched again is kept between builds: models, encoders, test systems.

Head office and benchmarks use it; a branch keeps everything in its home.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from runtime.base.files import expand_user


def cache_folder() -> Path:
    """EDGEDESK_CACHE, else the user's cache folder."""
    if named := os.environ.get("EDGEDESK_CACHE"):
        return expand_user(Path(named)).absolute()
    return Path(platformdirs.user_cache_dir("edgedesk", appauthor=False))
