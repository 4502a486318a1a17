"""What the assist pane says of a customer."""

from __future__ import annotations

import pytest

from runtime.client.answers import Explanation
from tui.app.reports import why_page
from tui.base.i18n import Catalogue
from tui.state import Labels
from tui.widgets.assist import label_chips


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("confidence", ["high", "medium", "low"])
def test_nobody_is_called_calm_by_a_classifier(lang: str, confidence: str) -> None:
    """A customer whose machine leaks may say so in sober words."""
    words = Catalogue(lang)
    shown = label_chips(Labels("repair", "high", "calm", confidence), words).plain
    assert words("label.no_emotion") in shown
    assert words("emotion.calm") not in shown
    said = Explanation.parse({"emotion": {"name": "calm", "confidence": confidence, "corrected": False}})
    lines = [line for _, block in why_page(said, words) for line in block]
    assert words("label.no_emotion") in lines


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_agent_who_says_calm_is_believed(lang: str) -> None:
    words = Catalogue(lang)
    assert words("emotion.calm") in label_chips(Labels(emotion="calm", corrected=True), words).plain


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_why_says_that_nobody_asked_the_like_and_how_answerable_it_looks(lang: str) -> None:
    words = Catalogue(lang)
    said = Explanation.parse({"unfamiliar": True, "answerable": 0.12, "reasons": ["unfamiliar 0.004"]})
    lines = [line for _, block in why_page(said, words) for line in block]
    assert words("why.unfamiliar") in lines
    assert words("why.answerable", percent="12") in lines
    assert not any("0.004" in line for line in lines)
