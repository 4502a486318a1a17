"""Personal data out of text: each value becomes a typed placeholder such as `<EMAIL_1>`, before anything is stored.

One `Redactor` a conversation, so that the same value gets the same placeholder all through it. Promises: redacting
twice changes nothing more; what the company itself publishes (`public`: its hotline, its branches) stays; prices,
dates, hours and model codes stay. How a value is found is `runtime.text.personal_data`'s matter. Knows no file.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from runtime.text.personal_data import HAN, KINDS, NOT_NAMES, Kind, spans_in

PLACEHOLDER = re.compile(rf"<({'|'.join(KINDS)})_(\d+)>")


class Redactor:
    """Replaces personal values by placeholders and remembers which stands for which, for one conversation."""

    def __init__(self, public: str = "") -> None:
        """`public` is text the company publishes; a value found in it is left as it is."""
        self._public = _published(public)
        self._numbers: dict[tuple[Kind, str], int] = {}
        self._written: dict[str, tuple[Kind, int]] = {}
        self._taken: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        """How many spans of each kind were replaced."""

    def learn(self, kind: Kind, value: str) -> str:
        """Take a value known from elsewhere (a customer record) as personal; returns its placeholder."""
        value = value.strip()
        key = _key(kind, value)
        if (kind, key) not in self._numbers:
            self._taken[kind] += 1
            self._numbers[kind, key] = self._taken[kind]
        number = self._numbers[kind, key]
        for spelling in _spellings(kind, value):
            self._written.setdefault(spelling, (kind, number))
        return f"<{kind}_{number}>"

    def redact(self, text: str) -> str:
        """Return the text with every personal value replaced that is known or found by its form."""
        for match in PLACEHOLDER.finditer(text):
            self._taken[match[1]] = max(self._taken[match[1]], int(match[2]))
        text = self._replace_known(text)
        while span := next((span for span in spans_in(text) if _key(span.kind, span.value) not in self._public), None):
            # One at a time: what one replacement takes away must not be half of the next find.
            text = self._put(text, span.start, span.end, self.learn(span.kind, span.value))
            text = self._replace_known(text)
        return text

    def _replace_known(self, text: str) -> str:
        for value in sorted(self._written, key=len, reverse=True):
            kind, number = self._written[value]
            for match in reversed(list(_literal(value).finditer(text))):
                text = self._put(text, match.start(), match.end(), f"<{kind}_{number}>")
        return text

    def _put(self, text: str, start: int, end: int, placeholder: str) -> str:
        self.counts[placeholder[1:].split("_")[0]] += 1
        return text[:start] + placeholder + text[end:]


@functools.lru_cache(maxsize=8)
def _published(public: str) -> frozenset[str]:
    """Values that stay; kept between conversations, since all the articles are one long text."""
    return frozenset(_key(span.kind, span.value) for span in spans_in(public))


def _literal(value: str) -> re.Pattern[str]:
    before = r"(?<![^\W\u3400-\u9fff])" if _is_word(value[0]) else ""
    after = r"(?![^\W\u3400-\u9fff])" if _is_word(value[-1]) else ""
    return re.compile(before + re.escape(value) + after)


def _is_word(char: str) -> bool:
    return (char.isalnum() or char == "_") and not re.match(f"[{HAN}]", char)


def _key(kind: Kind, value: str) -> str:
    """Spellings of one value fall together: digits of a phone number, letters of an address."""
    plain = unicodedata.normalize("NFKC", value).casefold()
    if kind == "PHONE":
        return re.sub(r"\D", "", plain)
    return re.sub(r"[\s#,.-]+", "" if kind in ("CARD", "IBAN", "ORDER", "ID") else " ", plain).strip()


def _spellings(kind: Kind, value: str) -> Iterator[str]:
    """How a value may come up again without its cue. Too short a one would also hit figures and everyday words."""
    if len(value) < (2 if kind == "NAME" else 6):
        return
    yield value
    if kind == "NAME":
        name = value if value[0].isupper() else value.title()
        yield name
        parts = name.split() if " " in name else []
        yield from (part for part in parts if len(part) > 2 and part[0].isupper() and part.lower() not in NOT_NAMES)
