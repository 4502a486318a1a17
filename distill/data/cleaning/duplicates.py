"""Finds what says the same as something before it: the same letters, nearly the same, or the same meaning.

    exact      one key a text: letters and digits in small letters
    near       MinHash of 4-letter shingles (rensa) names candidates, their exact Jaccard similarity decides
    meaning    cosines of unit vectors, within groups that can be compared

Promises: the first of several stays and names itself as the twin of the others; the same texts give the same outcome;
a near duplicate has at least the similarity asked for, since candidates are compared whole. MinHash may miss a pair: of
those with a similarity of 0.8 one in 600, of 0.9 one in 10^7. Knows nothing of records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH

from distill.data.steps import Dropped, WholeStep
from runtime.text.normalize import nfkc

Item = TypeVar("Item")
NEAR = 0.8
"""Jaccard similarity of shingles from which two texts are near duplicates."""
SAME_MEANING = 0.97
"""Cosine from which two questions ask the same; E5's cosines of questions about one thing begin at .85."""
_SHINGLE = 4
_BANDS, _ROWS = 21, 6
"""Steep enough that texts of one company, which share many phrases, are not all candidates of each other."""
_SEED = 42
_CHUNK = 20_000
_BLOCK = 2048


def text_key(text: str) -> str:
    """What two spellings of one text share: letters and digits, in small letters, full width as half width."""
    return re.sub(r"[\W_]+", "", nfkc(text).casefold())


def shingles(text: str) -> set[str]:
    """The overlapping runs of four letters or digits of a text; the whole of a shorter one."""
    key = text_key(text)
    return {key[at : at + _SHINGLE] for at in range(max(1, len(key) - _SHINGLE + 1))}


def exact_duplicates(texts: Sequence[str]) -> list[int | None]:
    """For each text the place of the first one with its letters, None for that one itself."""
    first: dict[str, int] = {}
    twins = (first.setdefault(text_key(text), place) for place, text in enumerate(texts))
    return [twin if twin != place else None for place, twin in enumerate(twins)]


def near_duplicates(texts: Sequence[str], *, least: float = NEAR) -> list[int | None]:
    """For each text an earlier one that stays and has a similarity of `least` to it, None for a text that stays.

    Memory is that of the index: about 1 kB a text that stays. Texts are hashed in chunks, so their shingles are not
    all held at once.
    """
    index = RMinHashLSH(0.5, _BANDS * _ROWS, _BANDS)
    twins: list[int | None] = []
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        hashes = RMinHash.from_token_sets(map(shingles, chunk), _BANDS * _ROWS, _SEED)
        for place, (text, minhash) in enumerate(zip(chunk, hashes, strict=True), start=start):
            twin = _twin(text, texts, sorted(index.query(minhash)), least)
            twins.append(twin)
            if twin is None:
                index.insert(place, minhash)
    return twins


def _twin(text: str, texts: Sequence[str], candidates: Sequence[int], least: float) -> int | None:
    if not candidates:
        return None
    own = shingles(text)
    for place in candidates:
        other = shingles(texts[place])
        shared = len(own & other)
        if shared >= least * (len(own) + len(other) - shared):
            return place
    return None


def same_meaning(
    vectors: NDArray[np.float32], groups: Sequence[Hashable] | None = None, *, least: float = SAME_MEANING
) -> list[int | None]:
    """For each row of unit vectors [n, d] an earlier one that stays and is as near as `least`, None for one that stays.

    Only rows of one group are compared (one language, one section they rest on): two questions that are answered
    differently are never one, however near they are.
    """
    twins: list[int | None] = [None] * len(vectors)
    by_group: dict[Hashable, list[int]] = {}
    for place in range(len(vectors)):
        by_group.setdefault(groups[place] if groups is not None else 0, []).append(place)
    for rows in by_group.values():
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            near = vectors[part] @ vectors[rows[: start + len(part)]].T
            for inner, place in enumerate(part):
                earlier = np.flatnonzero(near[inner, : start + inner] >= least)
                twins[place] = next((rows[each] for each in earlier.tolist() if twins[rows[each]] is None), None)
    return twins


def duplicate_step(
    name: str,
    find: Callable[[Sequence[Item]], Sequence[int | None]],
    reason: str,
    where: Callable[[Item], str],
) -> WholeStep[Item]:
    """A step that drops what `find` names a twin for; the twin's place in the data is the detail."""

    def run(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Dropped]]:
        twins = find(items)
        kept = [item for item, twin in zip(items, twins, strict=True) if twin is None]
        return kept, list(_dropped(items, twins, reason, where))

    return WholeStep(name, run)


def _dropped(
    items: Sequence[Item], twins: Sequence[int | None], reason: str, where: Callable[[Item], str]
) -> Iterator[Dropped]:
    for item, twin in zip(items, twins, strict=True):
        if twin is not None:
            yield Dropped(reason, where(item), f"of {where(items[twin])}")
