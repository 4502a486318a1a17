"""How much of a draft an agent rewrote: Levenshtein's distance over the longer text's length. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

MAX_CHARS = 4000
"""Of each text; what lies beyond is not compared. A draft is a few hundred characters long."""


def edit_distance(draft: str, reply: str) -> float:
    """0 where nothing was changed, 1 where nothing is left; the insertions, deletions and replacements in between."""
    left, right = draft[:MAX_CHARS], reply[:MAX_CHARS]
    longer = max(len(left), len(right))
    return levenshtein(left, right) / longer if longer else 0.0


def levenshtein(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Insertions, deletions and replacements between two texts, or two lists of words.

    Myers' bit-vectors (J. ACM 46:3, 1999, as in Hyyrö 2003): one step a character of `right`, not one a pair.
    """
    if not left:
        return len(right)
    places: dict[Hashable, int] = {}
    for index, char in enumerate(left):
        places[char] = places.get(char, 0) | 1 << index
    full, last = (1 << len(left)) - 1, 1 << (len(left) - 1)
    up, down, distance = full, 0, len(left)
    for char in right:
        match = places.get(char, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        across_up = down | ~(diagonal | up) & full
        across_down = up & diagonal
        distance += bool(across_up & last) - bool(across_down & last)
        across_up, across_down = (across_up << 1 | 1) & full, across_down << 1 & full
        up, down = across_down | ~(diagonal | across_up) & full, across_up & diagonal
    return distance
