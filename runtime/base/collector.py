"""Python's cycle collector, kept from what is being loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no cycles in this process while the block runs, nor look for them later in what it has made.

    Vocabularies, articles and indexes are a million objects that stay. Every few thousand new ones would have the
    collector go through all of them again: a third of the time it takes to load them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()
