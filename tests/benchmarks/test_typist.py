"""The typist of the benchmarks sends what the console sends: words, pauses, ends of sentences."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    "text", ["How long may I keep it?", "How long may I keep it", "大多数商品多长时间内可以退货？"]
)
def test_typist_sends_the_whole_text_before_enter_and_takes_a_draft_back_at_the_next_key(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from _typist import KEYS_PER_S, LAST_PAUSE_S, PAUSE_S, calls, key_times  # type: ignore[import-not-found]

    gaps = []
    for seed in range(20):
        times = key_times(text, seed)
        assert len(times) == len(text) + 1
        sent = list(calls(text, times))
        assert [call.at for call in sent] == sorted(call.at for call in sent)
        assert (sent[-1].text, sent[-1].whole) == (text, True)
        wait = 0.0 if text[-1] in "?？" else PAUSE_S
        assert sent[-1].at == pytest.approx(times[-1] - LAST_PAUSE_S + wait)
        assert all(text.startswith(call.text) for call in sent)
        drafts = [call.whole for call in sent]
        assert not any(one and other for one, other in pairwise(drafts))
        gaps += [after - before for before, after in pairwise(times[:-1])]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / KEYS_PER_S, rel=0.15)
