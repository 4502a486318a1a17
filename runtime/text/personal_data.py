"""Finds personal values in text by their form or by the words before them, in English, Chinese and their neighbours.

    fold        one spelling for full-width letters, no-break spaces, zero-width marks, digits as Chinese numerals
    rules       surest first; what one takes is hidden from the next, so that each character is taken once
    PersonalRules   order numbers, customer ids and names that only the company knows, from its policy.toml

Promises: time is linear in the text; checksums decide where a form alone cannot (cards by Luhn, IBANs by ISO 13616,
Chinese resident ids by GB 11643, Dutch BSNs by the 11-test); prices, dates, hours, model codes and toll-free hotlines
are not taken. A single given name that no cue announces is not found. Knows nothing of placeholders and conversations.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, field_validator

from runtime.text import free_names, names
from runtime.text.folding import fold
from runtime.text.pattern_safety import pattern_problem
from runtime.text.personal_checks import as_found
from runtime.text.personal_patterns import (
    ADDRESSES,
    CUED,
    FORMS,
    MAX_ADDRESS_CHARS,
    PHONES,
    Rule,
    in_han_place,
    rule,
)
from runtime.text.personal_patterns import KINDS as KINDS
from runtime.text.personal_patterns import Kind as Kind

MAX_PIECE_CHARS = 50_000
"""Longer text is searched in pieces of this size, cut at white space, so that memory stays bounded."""


class PersonalRules(BaseModel):
    """`[personal]` of a policy: what is personal at this company, and what is not though it looks so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order_number: tuple[str, ...] = ()
    """Regular expressions of order numbers."""
    customer_id: tuple[str, ...] = ()
    """Regular expressions of customer numbers and user names."""
    names_not_personal: tuple[str, ...] = ()
    """Words that a cue may precede and that name nobody: the company, its brands, its assistant."""

    @field_validator("order_number", "customer_id")
    @classmethod
    def _safe(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if why := pattern_problem(pattern):
                raise ValueError(f"'{pattern}' {why}")
        return patterns

    def __or__(self, other: PersonalRules) -> PersonalRules:
        """The rules of both: one journal holds every language of a branch."""
        return PersonalRules(
            order_number=tuple(dict.fromkeys((*self.order_number, *other.order_number))),
            customer_id=tuple(dict.fromkeys((*self.customer_id, *other.customer_id))),
            names_not_personal=tuple(dict.fromkeys((*self.names_not_personal, *other.names_not_personal))),
        )


NO_RULES = PersonalRules()


class Span(NamedTuple):
    """A personal value and where it is."""

    kind: Kind
    start: int
    end: int
    value: str


def spans_in(text: str, rules: PersonalRules = NO_RULES) -> list[Span]:
    """The personal values of a text in reading order; none overlaps another."""
    folded = fold(text)
    found = []
    for start, piece in pieces(folded.text):
        for kind, first, end in find_spans(piece, rules):
            place = folded.span(start + first, start + end)
            found.append(Span(kind, *place, text[place[0] : place[1]]))
    return sorted(found, key=lambda span: span.start)


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """(start, piece) of a text of any length; no piece is longer than `MAX_PIECE_CHARS`."""
    start = 0
    while start < len(text):
        end = start + MAX_PIECE_CHARS
        if end < len(text):
            cut = max(text.rfind("\n", start + 1, end), text.rfind(" ", start + 1, end))
            end = cut if cut > start + MAX_PIECE_CHARS // 2 else end
        yield start, text[start:end]
        start = end


HIDDEN = "\x00"
"""Stands in for each character of a value that was taken; no rule matches it."""


def hide(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with these ordered spans hidden, of the same length."""
    out, last = [], 0
    for start, end in spans:
        out += [text[last:start], HIDDEN * (end - start)]
        last = end
    return "".join((*out, text[last:]))


_WITHOUT_FIGURES = frozenset({"NAME", "EMAIL", "ACCOUNT", "PASSWORD", "ORDER", "ID", "ADDRESS"})
"""Kinds whose values may lack figures; a company's own order numbers and ids are among them."""


def find_spans(folded: str, rules: PersonalRules = NO_RULES) -> Iterator[tuple[Kind, int, int]]:
    """(kind, start, end) of the values in folded text, surest rules first."""
    figures = any(char.isdigit() for char in folded)
    for each in _rules(rules):
        if not (figures or each.kind in _WITHOUT_FIGURES):
            continue  # most texts have none: half the rules need not be tried
        taken: list[tuple[int, int]] = []
        for match in each.pattern.finditer(folded):
            group = 1 if match.re.groups else 0
            written = match[group]
            value = each.check(written).strip()
            if not value:
                continue
            start = match.start(group) + written.index(value)
            end = start + len(value)
            floor = taken[-1][1] if taken else 0
            if each.grows_back:
                while start > floor and end - start < MAX_ADDRESS_CHARS and in_han_place(folded[start - 1]):
                    start -= 1
            if start >= floor:
                taken.append((start, end))
                yield each.kind, start, end
        if taken:
            folded = hide(folded, taken)


@functools.lru_cache(maxsize=32)
def _rules(rules: PersonalRules) -> tuple[Rule, ...]:
    """All rules in their order; the company's own come before those that only look at digits."""
    never = frozenset(word.casefold() for word in rules.names_not_personal)

    def latin(text: str) -> str:
        return names.latin_name(text, not_names=never)

    def any_case(text: str) -> str:
        return names.latin_name(text, lower=True, not_names=never)

    def han(text: str) -> str:
        return names.han_name(text, never)

    def speaking(text: str) -> str:
        name = latin(text)
        return name if " " in name or names.SPEAKING.match(text, len(name)) else ""

    def here(text: str) -> str:
        return text if latin(text) == text else ""

    def known(text: str) -> str:
        return free_names.known_name(text, never)

    def anybody(text: str) -> str:
        return free_names.any_name(text, never)

    own = [rule("ORDER", _bounded(pattern)) for pattern in rules.order_number]
    own += [rule("ID", _bounded(pattern)) for pattern in rules.customer_id]
    people = [Rule("NAME", pattern, any_case) for pattern in names.FREE_CUES]
    people += [Rule("NAME", pattern, latin) for pattern in names.CAPITAL_CUES]
    people += [Rule("NAME", names.THIS_IS, speaking), Rule("NAME", names.HERE, here)]
    people += [Rule("NAME", pattern, han) for pattern in (*names.HAN_CUES, *names.HAN_CLOSED_CUES)]
    people += [Rule("NAME", pattern, as_found) for pattern in (names.HAN_SURNAME_CUE, names.HAN_TITLE)]
    people += [Rule("NAME", pattern, anybody) for pattern in (free_names.BELONGING, free_names.PERSONAL_VERB)]
    people += [
        Rule("NAME", free_names.LATIN_PAIR, known),
        *(Rule("NAME", pattern, han) for pattern in free_names.HAN_FREE),
    ]
    # A name before a phone number is known by the number, so names come before phones are hidden.
    before_phones = [rule for rule in people if rule.pattern is names.HAN_CLOSED_CUES[1]]
    rest = [rule for rule in people if rule not in before_phones]
    return (*FORMS[:3], *own, *FORMS[3:], *CUED, *before_phones, *PHONES, *ADDRESSES, *rest)


def _bounded(pattern: str) -> str:
    """A company's pattern where no letter or digit touches it; all of the match is the value."""
    return rf"(?<![A-Za-z0-9])((?:{pattern}))(?![A-Za-z0-9])"
