"""Which split a conversation goes into: by its name and the seed alone, or by time.

By name, adding conversations moves none. Knows nothing of what is in conversations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from runtime.text.records import Split

SHARES: dict[Split, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}


def split_name(conversation: str) -> str:
    """What a conversation is split by: what stands before `~`, shared by all questions of one section."""
    return conversation.partition("~")[0]


def split_of(conversation: str, seed: int) -> Split:
    """Where a conversation goes: by its name and the seed alone."""
    place = place_of(conversation, seed)
    for split, share in SHARES.items():
        place -= share
        if place < 0:
            return split
    return "test"


def place_of(conversation: str, seed: int) -> float:
    """Where between 0 and 1 a conversation's name and the seed put it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{conversation}".encode()).digest()[:8]) / 2**64


def time_cutoffs(times: Iterable[float | None]) -> tuple[float, float] | None:
    """The times from which conversations are for validation and for testing, so that the newest are held out.

    None where fewer than half of the conversations have a time.
    """
    every = list(times)
    known = sorted(time for time in every if time is not None)
    if len(known) * 2 < len(every) or not known:
        return None
    return known[int(len(known) * SHARES["train"])], known[int(len(known) * (1 - SHARES["test"]))]
