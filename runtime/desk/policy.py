"""The desk's rules, read from policy.toml: what is decided before and instead of the model.

    [refusal]    text            said when nothing is found; default: the sentence in the bundle's prompt.json
    [hand_off]   name = [phrases]   a phrase in the question hands the conversation to a person; the name is the reason
    [reply]      hand_off, quote    what is said on a hand-off, and before a section that is quoted; optional
    [tone.NAME]  phrases, say       what is said first to a customer whose question holds one of the phrases, or whose
                                    emotion the head is sure is NAME
    [intent], [emotion]   high, medium, hand_off   from which probability a guess counts, and which go to a person
    [[answer]]   id, text, phrases, questions, intents, evidence   a fixed answer: what must be said word for word
    [[canned]]   id, title, text    a reply that agents insert
    [curated]    min_similarity     how near a question must be to one of an answer's `questions`
    [retrieval]  min_similarity     below this cosine of the best section, nothing counts as found
                 disputed           hand_off or mark, where another article gives other figures for the same
    [intent] unfamiliar             the share of questions of known kinds that may count as of none
    [answerable] wrong_refusals     the share of answerable questions that may be handed off as unanswerable
    [journal]    keep_days, redact_after_days   how long conversations are kept, and in clear; 0 = for ever
    [outbox]     max_turns, drop               how many turns wait to leave the branch at most, and which go first
    [personal]   order_number, customer_id, names_not_personal   what is personal data at this company alone

docs/reference/policy.md tells it at length. Rules come first, then thresholds. Pure: the same question and the same
hits always decide the same. Knows nothing of models and files but its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.base.toml_file import read_toml
from runtime.base.validation import first_problem
from runtime.errors import InputError
from runtime.journal.outbox_queue import DropFirst
from runtime.journal.turn_details import DISPUTED, NO_ARTICLE
from runtime.text.normalize import nfkc
from runtime.text.personal_data import NO_RULES, PersonalRules

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle

UNFAMILIAR_WEIGHT = 3
"""So many times the share of wrong refusals bounds a question that is unlike all known ones as well. Chosen on the
example shop: one more of its 278 answerable hand-written questions is refused, and of CLINC's out-of-scope questions
.89 instead of .80 (docs/decisions/032-doubts-that-the-desk-acts-on.md)."""
MANIPULATION = "manipulation"
"""When the question gives orders to the model (`runtime.understanding.prompt_injection`)."""
WITHHELD = "withheld"
"""When the model recited the house rules."""
_HAND_OFF = {"en": "I am handing you over to a colleague.", "zh": "我这就为您转接同事。"}
_QUOTE = {"en": "This is what our article says:", "zh": "以下是相关资料的原文："}


class Refusal(BaseModel):
    """What is said when nothing is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = ""


class Reply(BaseModel):
    """The desk's own sentences; empty ones are said in the question's language."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hand_off: str = ""
    quote: str = ""


class RetrievalRule(BaseModel):
    """When a section counts as found, and what happens where articles disagree."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    min_similarity: float = Field(default=0.0, ge=-1, le=1)
    disputed: Literal["hand_off", "mark"] = "hand_off"
    """Where another article gives other figures than the best section: to a person, or only a mark for the agent."""


class Tone(BaseModel):
    """What is said first to a customer in this mood."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    phrases: tuple[str, ...] = Field(default=(), min_length=1)
    """Any of these in a question says so, whatever the emotion head thinks; without any, the head alone does."""
    say: str = Field(min_length=1)


class Thresholds(BaseModel):
    """From which calibrated probability a head's guess is called high or medium, and what follows from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    high: float = Field(default=0.8, ge=0, le=1)
    medium: float = Field(default=0.5, ge=0, le=1)
    hand_off: tuple[str, ...] = ()
    """Labels that go to a person when they are guessed with high confidence."""

    @model_validator(mode="after")
    def _ordered(self) -> Thresholds:
        if self.medium > self.high:
            raise ValueError("medium must not be above high")
        return self


class IntentThresholds(Thresholds):
    """The same for intents, and from when on a question is of no known kind."""

    unfamiliar: float = Field(default=0.02, ge=0, le=0.5)
    """The share of questions of known kinds that may count as of none; 0 = none does."""


class Canned(BaseModel):
    """A reply that agents insert with a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[\w.-]{1,64}$")
    title: str = Field(min_length=1)
    text: str = Field(min_length=1)


class FixedAnswer(BaseModel):
    """An answer that somebody wrote and nobody rewrites."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[\w.-]{1,64}$")
    text: str = Field(min_length=1)
    phrases: tuple[str, ...] = ()
    """Any of these in a question, and the answer is given."""
    questions: tuple[str, ...] = ()
    """A question as near to one of these as `[curated]` says gets the answer."""
    intents: tuple[str, ...] = ()
    """A question that has one of these intents with high confidence gets it: for rare intents."""
    evidence: tuple[str, ...] = ()
    """`article#section` references that are cited with it."""

    @model_validator(mode="after")
    def _reachable(self) -> FixedAnswer:
        if not (self.phrases or self.questions or self.intents):
            raise ValueError("needs phrases, questions or intents, or nobody would ever hear it")
        return self


class AnswerableRule(BaseModel):
    """When a question counts as one that the articles do not answer, whatever was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    wrong_refusals: float = Field(default=0.05, ge=0, le=0.5)
    """The share of answerable questions that may be handed off for it; 0 = none is, the check is off."""


class Curated(BaseModel):
    """When a fixed answer's questions count as asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    min_similarity: float = Field(default=0.95, ge=0, le=1)
    """Cosine of the two questions. The encoder's scale is its own: look at a few pairs before lowering it."""


class Retention(BaseModel):
    """How long the journal keeps conversations."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    keep_days: int = Field(default=0, ge=0, le=36500)
    """Days after its last turn a conversation is deleted; 0 = never."""
    redact_after_days: int = Field(default=0, ge=0, le=36500)
    """Days after its last turn the personal data in it becomes placeholders; 0 = never."""


class OutboxCap(BaseModel):
    """How many turns may wait to leave the branch."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_turns: int = Field(default=20_000, ge=0)
    """More of them are dropped, which is counted; 0 = any number."""
    drop: DropFirst = "unjudged"
    """Which go first: those that no agent judged and nobody was handed, the oldest, or the newest."""


class Policy(BaseModel):
    """One language's policy.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refusal: Refusal = Refusal()
    hand_off: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    reply: Reply = Reply()
    retrieval: RetrievalRule = RetrievalRule()
    journal: Retention = Retention()
    outbox: OutboxCap = OutboxCap()
    personal: PersonalRules = NO_RULES
    tone: dict[str, Tone] = Field(default_factory=dict)
    answer: tuple[FixedAnswer, ...] = ()
    curated: Curated = Curated()
    answerable: AnswerableRule = AnswerableRule()
    intent: IntentThresholds = IntentThresholds()
    emotion: Thresholds = Thresholds()
    canned: tuple[Canned, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Policy:
        lists = [*self.hand_off.values(), *(tone.phrases for tone in self.tone.values())]
        lists += [one.phrases for one in self.answer]
        if any(not _normal(phrase) for phrases in lists for phrase in phrases):
            raise ValueError("an empty phrase would match every question")
        names = [one.id for one in self.answer]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two answers are called '{twice}'")
        names = [one.id for one in self.canned]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two canned replies are called '{twice}'")
        return self

    def hand_off_text(self, lang: str) -> str:
        """What the customer is told on a hand-off."""
        return self.reply.hand_off or _HAND_OFF.get(lang, _HAND_OFF["en"])

    def quote_text(self, lang: str) -> str:
        """What stands before a section that is quoted."""
        return self.reply.quote or _QUOTE.get(lang, _QUOTE["en"])


def read_policy(path: Path) -> Policy:
    """A policy file; `InputError` names what is wrong in it."""
    try:
        return Policy.model_validate(read_toml(path, hint="see examples/shop/en/policy.toml"))
    except ValidationError as error:
        problem = first_problem(error, "key", Policy)
        raise InputError(
            problem.sentence, where=str(path), hint=problem.hint or "see docs/reference/policy.md"
        ) from None


def personal_rules(bundle: Bundle) -> PersonalRules:
    """What any of a bundle's policies calls personal, since one journal holds every language."""
    rules = [read_policy(path).personal for path in sorted(bundle.root.glob("policy*.toml"))]
    return functools.reduce(PersonalRules.__or__, rules, NO_RULES)


def retention(bundle: Bundle) -> Retention:
    """The strictest of a bundle's policies, since one journal holds every language."""
    rules = [read_policy(path).journal for path in sorted(bundle.root.glob("policy*.toml"))]

    def strictest(days: list[int]) -> int:
        return min((one for one in days if one), default=0)

    return Retention(
        keep_days=strictest([rule.keep_days for rule in rules]),
        redact_after_days=strictest([rule.redact_after_days for rule in rules]),
    )


def outbox_cap(bundle: Bundle) -> OutboxCap:
    """The smallest of a bundle's policies, since one journal holds every language."""
    rules = [read_policy(path).outbox for path in sorted(bundle.root.glob("policy*.toml"))]
    return min((rule for rule in rules if rule.max_turns), key=lambda rule: rule.max_turns, default=rules[0])


def hand_off_reasons(policies: Iterable[Policy]) -> frozenset[str]:
    """Every reason for which a desk with these policies hands over; an agent's own words are none of them."""
    named = {
        name for policy in policies for name in (*policy.hand_off, *policy.intent.hand_off, *policy.emotion.hand_off)
    }
    return frozenset({NO_ARTICLE, DISPUTED, MANIPULATION, WITHHELD} | named)


@dataclass(frozen=True)
class Decision:
    """What to do with a question, and the reason for a hand-off."""

    action: Literal["hand_off", "retrieve", "refuse", "quote", "generate", "fixed"]
    reason: str | None = None
    """Of a hand-off, or the fixed answer's id."""


class ConfidentLabels(NamedTuple):
    """What the classifiers say with high confidence."""

    intent: str | None = None
    emotion: str | None = None


def decide(
    policy: Policy,
    *,
    question: str,
    lang: str,
    languages: Sequence[str],
    similarities: Sequence[float] | None,
    orders: bool = False,
    curated: tuple[str, float] | None = None,
    confident: ConfidentLabels | None = None,
    answerable: float | None = None,
    unfamiliar: bool = False,
    disputed: bool = False,
) -> Decision:
    """What to do next; `similarities` are the hits' cosines, or None before the search.

    `curated` is the fixed answer whose questions come nearest to this one, and how near (cosine);
    `confident` is what the classifiers say with high confidence; `answerable` is the share of answerable questions that
    look less answerable than this one (`runtime.understanding.answerable_classifier`), None where nobody knows;
    `unfamiliar` says that the intent classifier knows no questions like it, which counts towards a refusal; `disputed`
    that another article gives other figures than the best section.

    1. a hand-off phrase: to a person, whatever else is true
    2. a fixed answer's phrase: that answer
    3. an intent or an emotion that is certain and goes to a person: to a person
    4. a certain intent with a fixed answer: that answer
    5. not searched yet: search
    6. a fixed answer's question near enough: that answer
    7. `orders` to the model in the question: refuse and offer a person
    8. nothing similar enough, or less answerable than the policy lets pass: refuse and offer a person
    9. articles that disagree, where the policy does not only mark them: to a person
    10. a language the model does not write: quote the best section
    11. else let the model answer
    """
    confident = confident or ConfidentLabels()
    if rule := matching_rule(policy, question):
        return Decision("hand_off", rule)
    if fixed := next((one.id for one in policy.answer if _holds(question, one.phrases)), None):
        return Decision("fixed", fixed)
    if confident.intent in policy.intent.hand_off:
        return Decision("hand_off", confident.intent)
    if confident.emotion in policy.emotion.hand_off:
        return Decision("hand_off", confident.emotion)
    if fixed := next((one.id for one in policy.answer if confident.intent in one.intents), None):
        return Decision("fixed", fixed)
    if similarities is None:
        return Decision("retrieve")
    if curated and curated[1] >= policy.curated.min_similarity:
        return Decision("fixed", curated[0])
    if orders:
        return Decision("refuse", MANIPULATION)
    if not similarities or max(similarities) < policy.retrieval.min_similarity:
        return Decision("refuse", NO_ARTICLE)
    bound = policy.answerable.wrong_refusals * (UNFAMILIAR_WEIGHT if unfamiliar else 1)
    if answerable is not None and answerable < bound:
        return Decision("refuse", NO_ARTICLE)
    if disputed and policy.retrieval.disputed == "hand_off":
        return Decision("hand_off", DISPUTED)
    return Decision("generate" if lang in languages else "quote")


def matching_rule(policy: Policy, question: str) -> str | None:
    """The first rule with a phrase in the question: whole words for alphabets, anywhere in Chinese."""
    return next((name for name, phrases in policy.hand_off.items() if _holds(question, phrases)), None)


def matching_tone(policy: Policy, question: str) -> str | None:
    """The first tone with a phrase in the question."""
    return next((name for name, tone in policy.tone.items() if _holds(question, tone.phrases)), None)


def _holds(question: str, phrases: Sequence[str]) -> bool:
    text = _normal(question)
    return any(re.search(_pattern(phrase), text) for phrase in phrases)


def _pattern(phrase: str) -> str:
    normal = _normal(phrase)
    before = r"(?<![a-z0-9])" if normal[0].isascii() and normal[0].isalnum() else ""
    after = r"(?![a-z0-9])" if normal[-1].isascii() and normal[-1].isalnum() else ""
    return before + re.escape(normal) + after


def _normal(text: str) -> str:
    return " ".join(nfkc(text).casefold().split())
