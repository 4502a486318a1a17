"""Unicode normalization in linear time, for text from strangers.

`unicodedata.normalize` sorts the combining marks behind a letter by insertion, so one letter with 32,000 marks takes
seconds, during which no other thread runs. No script stacks more than a handful of marks on a letter; Unicode's
Stream-Safe Text Format (UAX #15, section 13) allows 30. Promises: `nfkc` is NFKC for every text within that limit; of
a longer run of marks the first 30 are kept. Applying it twice changes nothing. Knows nothing of languages.
"""

from __future__ import annotations

import re
import unicodedata

MAX_MARKS = 30
"""Combining marks in a row that are kept."""
# Every combining mark is such a character. Only where so many stand in a row are they looked at one by one.
_SUSPICIOUS = re.compile(rf"[^\w\s\x00-\x7f]{{{MAX_MARKS + 1},}}")

INVISIBLE = re.compile(
    "[\u00ad"  # soft hyphen
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks of the reading direction
    "\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # zero-width and annotation signs
    "\U000e0001\U000e0020-\U000e007f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
"""Characters without a look of their own. Left in, they would split the words that are searched for and embedded. Not
U+200C and U+200D: Persian, Hindi and emoji are spelt with them."""


def without_invisible(text: str) -> str:
    """The text without characters that leave no trace on a screen, as it is read, searched and embedded."""
    return text if text.isascii() else INVISIBLE.sub("", text)


def nfkc(text: str) -> str:
    """The text in Unicode's compatibility form (ﬁ → fi, ３ → 3, e + ´ → é)."""
    if text.isascii():
        return text
    # Cut again, because normalization may take one mark apart into two.
    return _cut(unicodedata.normalize("NFKC", _cut(text)))


def _cut(text: str) -> str:
    return _SUSPICIOUS.sub(lambda found: _without_excess(found[0]), text)


def _without_excess(run: str) -> str:
    kept, marks = [], 0
    for char in run:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)
