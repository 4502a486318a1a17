"""Practice: a simulated customer asks what the branch's own articles answer, and says whether the reply helped.

The customer is made from a section, a mood and a seed, and is pure; `Practice` lets one sit in front of a console.
Promises: the same seed is the same customer; whether a reply helped is judged by the section alone (its figures said,
or the section quoted), no model judges; a practice conversation is named `practice-…`: its verdicts are not stored and
it never leaves the branch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from runtime.events import Citation
from runtime.grounding.citations import cite, source_text
from runtime.grounding.claim_check import unsupported_claims
from runtime.text.articles import Section
from runtime.text.quantities import quantities
from tui.state import NewConversation, Typed

if TYPE_CHECKING:
    from tui.app.console import Console

MOODS = ("calm", "angry", "confused", "hurried")
PATIENCE = 2
"""Replies that do not help before a customer gives up."""
QUESTIONS = 3
TOPICS = {"en": "delivery price return warranty payment", "zh": "配送 价格 退货 保修 付款"}


@dataclass(frozen=True)
class Customer:
    """A simulated customer, between two messages."""

    lang: str
    mood: str
    sections: tuple[Citation, ...]
    """What they want to know, in order."""
    asked: int = 0
    tries: int = 0
    helped: int = 0
    claimed: int = 0
    """Claims of the replies that their section does not support."""

    @property
    def over(self) -> bool:
        """Whether they have no more to ask, or no more patience."""
        return self.asked >= len(self.sections) or self.tries >= PATIENCE

    @property
    def stars(self) -> int:
        """What they thought of it, 1 to 5."""
        share = self.helped / max(1, len(self.sections))
        return max(1, min(5, 1 + round(4 * share) - (1 if self.claimed else 0)))


def make_customer(seed: int, sections: Sequence[Citation], lang: str) -> Customer:
    """A customer who wants to know what some of these sections say."""
    dice = random.Random(seed)  # noqa: S311 - a play, no secret
    public = [one for one in sections if one.audience == "public"] or list(sections)
    chosen = dice.sample(public, min(QUESTIONS, len(public)))
    return Customer(lang, dice.choice(MOODS), tuple(chosen))


def hear_reply(customer: Customer, reply: str) -> Customer:
    """The customer after a reply: helped and on to the next question, or less patient."""
    wanted = customer.sections[customer.asked]
    section = Section(wanted.article, wanted.section, wanted.title, wanted.heading, wanted.text, wanted.lang)
    claimed = customer.claimed + len(unsupported_claims(reply, [source_text(section)]))
    said, known = quantities(reply), quantities(wanted.text)
    helped = any(known_one.supports(one) for one in said for known_one in known) if known else False
    if helped or cite(reply, [section]):
        return replace(customer, asked=customer.asked + 1, tries=0, helped=customer.helped + 1, claimed=claimed)
    return replace(customer, tries=customer.tries + 1, claimed=claimed)


class Practice:
    """Lets a customer sit in front of the console, one at a time."""

    def __init__(self, app: Console) -> None:
        self._app = app
        self._customer: Customer | None = None
        self._name = ""
        self._heard = 0

    async def begin(self, seed: int) -> None:
        """The next customer comes in."""
        app = self._app
        lang = app.words.lang
        sections = await app.desk.search(TOPICS[lang], lang)
        if not sections:
            app.say("practice_empty")
            return
        self._customer = make_customer(seed, sections, lang)
        self._name, self._heard = f"practice-{uuid4().hex[:12]}", 0
        app.dispatch(NewConversation(practice=self._name))
        self._speak()

    def follow(self) -> None:
        """After every change: answer a reply that is new."""
        state, customer = self._app.state, self._customer
        if customer is None or state.conversation != self._name or state.busy:
            return
        replies = [turn for turn in state.turns if turn.verdict]
        if len(replies) <= self._heard:
            return
        self._heard = len(replies)
        self._customer = customer = hear_reply(customer, replies[-1].reply)
        if customer.over:
            self._customer = None
            self._app.doing.show_score(customer)
        else:
            self._speak()

    def _speak(self) -> None:
        customer = self._customer
        assert customer is not None
        self._app.dispatch(Typed(line(customer, self._app)))
        self._app.doing.send()


def line(customer: Customer, app: Console) -> str:
    """What the customer says next, in their language and mood."""
    from tui.base.i18n import Catalogue

    words = Catalogue(customer.lang) if customer.lang in ("en", "zh") else app.words
    wanted = customer.sections[customer.asked]
    about = wanted.heading if wanted.heading not in ("", wanted.title) else wanted.title
    kind = "again" if customer.tries else "first" if not customer.asked else "next"
    return words(f"practice.{kind}_{customer.mood}", title=wanted.title, about=about.rstrip("?？"))
