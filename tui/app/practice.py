"""Practice: a simulated customer asks what the branch's own articles answer, and says whether the reply helped.

The customer is made from a section, a mood and a seed, and is pure; `Practice` lets one sit in front of a console.
Promises: the same seed is the same customer; whether a reply helped is judged by the section alone (its figures said,
or the section quoted), no model judges; a practice conversation is named `practice-…`: its verdicts are not stored and
it never leaves the branch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from runtime.events import Citation
from runtime.grounding.citations import cite, source_text
from runtime.grounding.claim_check import unsupported_claims
from runtime.text.articles import Section
from runtime.text.quantities import quantities
from tui.app.boxes import Boxes
from tui.app.view import View
from tui.base.i18n import LANGUAGES, Catalogue
from tui.screens.page import Block
from tui.state import NewConversation, Typed

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
    """Plays a customer in front of the console, one at a time."""

    def __init__(self, view: View, boxes: Boxes, send: Callable[[], None]) -> None:
        """`send` sends what is typed, as the agent's send key does."""
        self._view = view
        self._boxes = boxes
        self._send = send
        self._customer: Customer | None = None
        self._name = ""
        self._heard = 0
        """Replies that the customer has reacted to."""

    def begin(self) -> None:
        """The next customer comes in."""
        self._boxes.run(self._begin(self._view.state.asked))

    async def _begin(self, seed: int) -> None:
        view = self._view
        lang = view.words.lang
        sections = await view.server.search(TOPICS[lang], lang)
        if not sections:
            view.say("practice_empty")
            return
        self._customer = make_customer(seed, sections, lang)
        self._name, self._heard = f"practice-{uuid4().hex[:12]}", 0
        view.dispatch(NewConversation(practice=self._name))
        self._speak(self._customer)

    def follow(self) -> None:
        """After a verdict: react to the reply, if it went to a practice customer."""
        state, customer = self._view.state, self._customer
        if customer is None or state.conversation != self._name or state.busy:
            return
        replies = [turn for turn in state.turns if turn.verdict]
        if len(replies) <= self._heard:
            return
        self._heard = len(replies)
        self._customer = customer = hear_reply(customer, replies[-1].reply)
        if customer.over:
            self._customer = None
            self._show_score(customer)
        else:
            self._speak(customer)

    def _speak(self, customer: Customer) -> None:
        self._view.dispatch(Typed(next_message(customer)))
        self._send()

    def _show_score(self, customer: Customer) -> None:
        async def load(words: Catalogue) -> Sequence[Block]:
            rows = [
                words("practice.helped", helped=customer.helped, asked=len(customer.sections)),
                words("practice.claimed", count=customer.claimed),
                words("practice.stars", stars=customer.stars),
            ]
            return [(words(f"practice.mood_{customer.mood}"), rows)]

        self._boxes.open_page("practice.title", load, "practice")


def next_message(customer: Customer) -> str:
    """What the customer says next, in their language and mood; they must have a question left."""
    words = Catalogue(customer.lang if customer.lang in LANGUAGES else LANGUAGES[0])
    wanted = customer.sections[customer.asked]
    about = wanted.heading if wanted.heading not in ("", wanted.title) else wanted.title
    kind = "again" if customer.tries else "first" if not customer.asked else "next"
    return words(f"practice.{kind}_{customer.mood}", title=wanted.title, about=about.rstrip("?？"))
