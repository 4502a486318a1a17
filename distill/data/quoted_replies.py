"""Replies that quote: the sentences of the article that say what was replied, in place of the words it was said in.

A small model copies a sentence long before it can put one into words of its own, and what it copies can be checked word
by word. So the replies that it learns from are made of the sections they rest on. Promises: a quoted reply holds
nothing but sentences, list items and table rows of its record's evidence, in their order; a reply that no sentence says
is left as it is, refusals and small talk among them. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from runtime.text.articles import Section
from runtime.text.records import Record
from runtime.text.tables import join_shown, shown_in_order, split_items
from runtime.text.tokens import term_agreement, terms

SENTENCES = 3
"""Of a section that a reply quotes: as many as the desk shows, since one alone often lacks its condition."""
LEAST_AGREEMENT = 0.4
"""Terms (F1, 0 to 1) that the best sentence shares with the reply; below it the reply says something else.

Of the example shop's replies, written from its articles, 99 in 100 English and 19 in 20 Chinese ones are above."""
MOST_CHARS = {"en": 420, "zh": 170}
"""Of a quoted reply, where more than one sentence is quoted: it must end within the tokens of an answer."""


def quote_replies(records: Iterable[Record], sections: Mapping[str, Section]) -> list[Record]:
    """The records, each with the reply that `quote_reply` makes."""
    return [quote_reply(record, sections) for record in records]


def quote_reply(record: Record, sections: Mapping[str, Section]) -> Record:
    """The record with its reply in the words of the first section of its evidence (`sections` by reference)."""
    section = next((sections[ref] for ref in record.evidence if ref in sections), None)
    if section is None:
        return record
    items = split_items(section.text)
    said = Counter(terms(record.response))
    agreement = [term_agreement(Counter(terms(item.shown)), said) for item in items]
    order = sorted(range(len(items)), key=lambda place: -agreement[place])
    if not order or agreement[order[0]] < LEAST_AGREEMENT:
        return record
    chosen = {order[0]}
    length = len(items[order[0]].shown)
    for place in order[1:SENTENCES]:
        length += len(items[place].shown)
        if length > MOST_CHARS.get(section.lang, MOST_CHARS["en"]):
            break
        chosen.add(place)
    quote = join_shown(shown_in_order([items[place] for place in sorted(chosen)]), section.lang)
    return record.model_copy(update={"response": quote})
