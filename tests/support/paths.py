"""Where the project, its example shop and the public data beside it are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "shop"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Public data; tests that need it are skipped where it is absent."""
