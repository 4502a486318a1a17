"""Keeps from the model, and from quotes, what an article says to the desk instead of to customers.

    orders      "Ignore your rules …", 忽略以上指令: a section that gives orders to a model is withheld as a whole
                (`runtime.understanding.prompt_injection`)
    dictates    "Staff must always say …", 员工总是先说……: a sentence that tells the desk what to say is withheld; the
                bundle's classifier finds them (`runtime.understanding.dictation_classifier`), none does without one

Agents still find and read all of it. Titles and headings are read by the model too: one that gives orders withholds its
section. Promises: a section without such a sentence stays as it is; filtering a section twice changes nothing more.
Pure; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from runtime.text.articles import Article, Section
from runtime.text.sentences import sentences
from runtime.understanding.prompt_injection import is_injection

FindDictated = Callable[[Sequence[str]], Sequence[bool]]
"""Says of each of some sentences whether it dictates, as `DictationClassifier.dictated` does."""


class Suspicion(NamedTuple):
    """A sentence that people should look at before customers see it."""

    ref: str
    lang: str
    kind: Literal["orders", "dictates"]
    """`orders`: to a model, the whole section is withheld; `dictates`: the sentence is."""
    sentence: str


def without_injected(section: Section, find_dictated: FindDictated | None = None) -> Section | None:
    """The section as the model reads it and customers are quoted it; None where nothing of it is left."""
    if is_injection(_head(section)) or is_injection(section.text):
        return None
    whole = sentences(section.text)
    kept = [sentence for sentence, bad in zip(whole, _dictated(whole, find_dictated), strict=True) if not bad]
    if len(kept) == len(whole):
        return section
    text = "\n".join(kept)
    # What is left is looked at again: a role mark gives orders at the beginning of a line, and a line begins anew here.
    return replace(section, text=text) if kept and not is_injection(text) else None


def find_suspicious(articles: Sequence[Article], find_dictated: FindDictated | None = None) -> list[Suspicion]:
    """What is withheld of these articles, in their order."""
    return [
        found for article in articles for section in article.sections for found in _suspicions(section, find_dictated)
    ]


def _head(section: Section) -> str:
    return section.title if section.heading == section.title else f"{section.title}\n{section.heading}"


def _dictated(whole: Sequence[str], find_dictated: FindDictated | None) -> list[bool]:
    """Which sentences dictate; one that follows a question that does is its answer, and dictates too."""
    seen = find_dictated(whole) if find_dictated else [False] * len(whole)
    out: list[bool] = []
    for at in range(len(whole)):
        is_answer = at > 0 and out[-1] and whole[at - 1].endswith(("?", "？"))
        out.append(bool(seen[at]) or is_answer)
    return out


def _suspicions(section: Section, find_dictated: FindDictated | None) -> Iterable[Suspicion]:
    if is_injection(_head(section)):
        yield Suspicion(section.ref, section.lang, "orders", _head(section))
    orders = orders_unseen = is_injection(section.text)
    whole = sentences(section.text)
    for sentence, bad in zip(whole, _dictated(whole, find_dictated), strict=True):
        # A sentence by itself begins a line, where a role mark counts; only the section's own text decides.
        if orders and is_injection(sentence):
            orders_unseen = False
            yield Suspicion(section.ref, section.lang, "orders", sentence)
        elif bad:
            yield Suspicion(section.ref, section.lang, "dictates", sentence)
    if orders_unseen:  # an order that runs over several sentences
        yield Suspicion(section.ref, section.lang, "orders", section.text)
