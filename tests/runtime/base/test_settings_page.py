from __future__ import annotations

from runtime.base.settings import Settings
from runtime.base.settings_page import settings_page
from tests.support.paths import ROOT


def test_settings_page_is_what_the_class_says() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    command = "python -m runtime.base.settings_page > docs/reference/settings.md"
    assert page.read_text(encoding="utf-8") == settings_page(), command


def test_settings_page_explains_every_setting() -> None:
    rows = {row.split("`")[1]: row.split(" | ") for row in settings_page().splitlines() if row.startswith("| `")}
    for name in Settings.model_fields:
        assert len(rows[name][-1]) > 12, name
