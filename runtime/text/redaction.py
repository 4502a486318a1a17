"""Personal data out of text: each value becomes a typed placeholder such as `<EMAIL_1>`, before anything is stored.

One `Redactor` a conversation, so that the same value gets the same placeholder all through it. Promises: time is
linear in the text; redacting twice changes nothing more; what the company itself publishes (`public`: its hotline, its
branches) stays; prices, dates, hours and model codes stay. How a value is found is `runtime.text.personal_data`'s
matter. Knows no file.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator

from runtime.text.folding import FoldedText, fold
from runtime.text.names import HAN, NOT_NAMES, answered_name
from runtime.text.personal_data import KINDS, NO_RULES, Kind, PersonalRules, find_spans, hide, pieces, spans_in
from runtime.text.personal_patterns import AT

PLACEHOLDER = re.compile(rf"<({'|'.join(KINDS)})_(\d{{1,9}})>")
_LONGEST_VALUE = 120
"""Longer values are not looked for again without their cue: they are whole addresses."""
_ROUNDS = 3
"""A name found in one round is looked for, without its cue, in the next; what is hidden then may free one more."""


class Redactor:
    """Replaces personal values by placeholders and remembers which stands for which, for one conversation."""

    def __init__(self, public: str = "", rules: PersonalRules = NO_RULES) -> None:
        """`public` is text the company publishes: a value found in it stays. `rules` are those of its policy."""
        self._rules = rules
        self._public = _published(public, rules)
        self._numbers: dict[tuple[Kind, str], int] = {}
        self._known = _KnownValues()
        self._taken: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        """How many spans of each kind were replaced."""

    def learn(self, kind: Kind, value: str) -> str:
        """Take a value known from elsewhere (a customer record) as personal; returns its placeholder."""
        value = fold(value).text.strip()
        key = _key(kind, value)
        if (kind, key) not in self._numbers:
            self._taken[kind] += 1
            self._numbers[kind, key] = self._taken[kind]
        placeholder = f"<{kind}_{self._numbers[kind, key]}>"
        for spelling in _spellings(kind, value):
            self._known.add(spelling, placeholder)
        return placeholder

    def redact(self, text: str, asked: str = "") -> str:
        """The text with every personal value replaced that is known or found by its form.

        `asked` is the other side's message before it: where that asks for a name, the reply's first words may be one.
        """
        for match in PLACEHOLDER.finditer(text):
            self._taken[match[1]] = max(self._taken[match[1]], int(match[2]))
        folded = fold(text)
        if asked and (name := answered_name(fold(asked).text, folded.text)):
            self.learn("NAME", name)
        found = [
            (start + first, start + end, placeholder)
            for start, piece in pieces(folded.text)
            for first, end, placeholder in self._replacements(piece)
        ]
        self.counts.update(placeholder[1:].split("_")[0] for _, _, placeholder in found)
        return _replaced(folded, found)

    def _replacements(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, placeholder) of folded text, in order. Everything is collected before anything is replaced."""
        text = hide(text, (match.span() for match in PLACEHOLDER.finditer(text)))
        found: list[tuple[int, int, str]] = []
        for _ in range(_ROUNDS):
            known = list(self._known.find(text))
            text = hide(text, ((start, end) for start, end, _ in known))
            by_form = sorted((start, end, kind) for kind, start, end in find_spans(text, self._rules))
            personal = [
                (start, end, self.learn(kind, text[start:end]))
                for start, end, kind in by_form
                if _key(kind, text[start:end]) not in self._public
            ]
            # Public values are hidden too: a part of the hotline must not be taken for somebody's number.
            text = hide(text, ((start, end) for start, end, _ in by_form))
            found += [*known, *personal]
            if not personal:
                break
        return sorted(found)


class _KnownValues:
    """Values to be found by their letters alone, in time linear in the text: by their first two characters."""

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}
        self._lengths: dict[str, list[int]] = {}

    def add(self, value: str, placeholder: str) -> None:
        if value in self._placeholders or not 2 <= len(value) <= _LONGEST_VALUE:
            return
        self._placeholders[value] = placeholder
        lengths = self._lengths.setdefault(value[:2], [])
        if len(value) not in lengths:
            lengths.append(len(value))
            lengths.sort(reverse=True)

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, placeholder) of known values that are whole words, the longest first; none overlaps."""
        if not self._placeholders:
            return
        place = 0
        while place < len(text) - 1:
            for length in self._lengths.get(text[place : place + 2], ()):
                end = place + length
                placeholder = self._placeholders.get(text[place:end])
                if placeholder and end <= len(text) and _whole_word(text, place, end):
                    yield place, end, placeholder
                    place = end - 1
                    break
            place += 1


def _whole_word(text: str, start: int, end: int) -> bool:
    """Whether no letter or figure goes on beyond the value; Chinese has no gaps between words."""
    before = start > 0 and _is_word(text[start]) and _is_word(text[start - 1])
    after = end < len(text) and _is_word(text[end - 1]) and _is_word(text[end])
    return not (before or after)


def _is_word(char: str) -> bool:
    return (char.isalnum() or char == "_") and not re.match(f"[{HAN}]", char)


def _replaced(folded: FoldedText, found: list[tuple[int, int, str]]) -> str:
    """The original with these spans of the folded text replaced."""
    out: list[str] = []
    last = 0
    for first, past, placeholder in found:
        start, end = folded.span(first, past)
        out += [folded.original[last:start], placeholder]
        last = end
    return "".join((*out, folded.original[last:]))


@functools.lru_cache(maxsize=8)
def _published(public: str, rules: PersonalRules) -> frozenset[str]:
    """Values that stay; kept between conversations, since all the articles are one long text."""
    return frozenset(_key(span.kind, fold(span.value).text) for span in spans_in(public, rules))


def _key(kind: Kind, value: str) -> str:
    """Spellings of one folded value fall together: digits of a phone number, letters of an address."""
    plain = value.casefold()
    if kind == "PHONE":
        return re.sub(r"\D", "", plain)
    if kind == "EMAIL":
        plain = re.sub(AT, "@", plain)
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
