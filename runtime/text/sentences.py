"""Cuts text into sentences, and long text into overlapping pieces of whole sentences, in Latin script and Chinese.

Promises: no character but white space is lost; every piece holds at least one sentence. Knows nothing of vectors.
"""

from __future__ import annotations

import re
from itertools import pairwise

from runtime.text.tokens import terms

_END = re.compile(
    r"""
    (?<=[。！？；])(?![”’」』）])        # Chinese: no space follows, a closing quote belongs to the sentence
    | (?<=[。！？；][”’」』）])
    | (?<=[.!?])\s+(?=[^a-z\s])         # Latin: "approx. two" goes on, "e.g. €5" is cut, which does no harm here
    | (?<=[.!?]["')\]”’])\s+(?=[^a-z\s])
    | \n+                               # list items and paragraphs
    """,
    re.VERBOSE,
)

_ENDS = frozenset(".?!…。？！")
_CLOSERS = "\"'”’)]）」』】 \n\t"
_END_CHARS = 16
"""Characters at the end of a text in which the end of a sentence is looked for."""


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, stripped, none empty."""
    bounds = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    return [piece for start, end in pairwise(bounds) if (piece := text[start:end].strip())]


def pieces(text: str, max_terms: int, overlap: int = 1) -> list[str]:
    """The text itself when short enough, else runs of whole sentences of about `max_terms` terms.

    Each run begins with the last `overlap` sentences of the one before, so that a sentence and the one it leans on
    are seen together at least once. A single sentence longer than the limit stays whole.
    """
    if len(terms(text)) <= max_terms:
        return [text]
    parts = sentences(text)
    sizes = [len(terms(part)) for part in parts]
    out: list[str] = []
    start = end = 0
    while end < len(parts):
        size = sum(sizes[start:end])
        fresh = end
        while end < len(parts) and (end == fresh or size + sizes[end] <= max_terms):
            size += sizes[end]
            end += 1
        out.append(" ".join(parts[start:end]))
        start = max(start + 1, end - overlap)
    return out


def ends_sentence(text: str) -> bool:
    """Whether the text may be whole, its last sentence having ended; `3.` ends one too, and a guess is cheap."""
    end = text[-_END_CHARS:].rstrip(_CLOSERS)
    return bool(end) and end[-1] in _ENDS
