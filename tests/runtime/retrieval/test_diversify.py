from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.retrieval.retriever import Hit, diversify
from runtime.text.articles import Section


def hits(*names: str) -> list[Hit]:
    return [Hit(Section(name, str(at), "t", "h", "x", "en"), -at, 0.5) for at, name in enumerate(names)]


@pytest.mark.parametrize(
    ("found", "limit", "chosen"),
    [
        ("aaaabc", 3, "aab"),
        ("abcaaa", 3, "abc"),
        ("aaaaaa", 3, "aaa"),
        ("aaaaab", 3, "aab"),
        ("aaaab", 1, "a"),
        ("aabb", 2, "aa"),
        ("aaaaaaaab", 6, "aaaaab"),
        ("", 3, ""),
    ],
)
def test_diversify_leaves_room_for_other_articles(
    found: str, limit: int, chosen: str, count_trials: Callable[[str, int], None]
) -> None:
    """S8, with what it keeps found in test_retrieval.py."""
    got = diversify(hits(*found), limit)
    assert "".join(hit.section.article for hit in got) == chosen
    assert [hit.score for hit in got] == sorted((hit.score for hit in got), reverse=True)
    count_trials("S8", 1)
