"""Simulates support conversations from templates: `cases/*.toml` say what is asked and answered, `simulate.toml` how.

For a shop without transcripts of its own, and for tests: every message carries its gold intent, emotion, entities and
evidence, and planted personal data. Promises: the same folder and seed give the same conversations, byte for byte;
every question of every case comes up before any comes up twice; answers are the cases' own words, never noised, and of
a case's answers the one that fits the question. Knows nothing of models.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from distill.data.answer_matching import match_answer
from distill.data.conversation import RawConversation, RawTurn
from distill.data.simulation_templates import SLOT, Case, SimulationTemplates, check_slots, load_cases, load_templates
from runtime.text.records import Emotion

Item = TypeVar("Item")

_LEADING_SLOT = re.compile(r"(^|[.!?] )\{(\w+)\}")


@dataclass(frozen=True)
class Shares:
    """How often what happens; each a probability a message or conversation."""

    turns: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    """Conversations of one, two, three … customer messages."""
    unanswerable: float = 0.15
    follow_up: float = 0.4
    """After an answered question: one that only makes sense after it."""
    same_article: float = 0.15
    small_talk: float = 0.12
    """The last message of a longer conversation: thanks instead of a question."""
    greeting: float = 0.45
    personal: float = 0.18
    """A message that gives a name, number or address which nobody asked for."""
    mood_shift: float = 0.25
    empathy: float = 0.5
    """A reply to a customer in distress that begins with a word about it."""
    lower: float = 0.12
    typo: float = 0.08
    slang: float = 0.12
    no_full_stop: float = 0.15
    moods: dict[Emotion, float] = field(
        default_factory=lambda: {
            "calm": 0.5,
            "happy": 0.1,
            "confused": 0.12,
            "anxious": 0.1,
            "frustrated": 0.12,
            "angry": 0.06,
        }
    )


class Deck(Generic[Item]):
    """Deals every card once, in random order, before it shuffles again."""

    def __init__(self, cards: list[Item], rng: random.Random) -> None:
        self._cards, self._rng = cards, rng
        self._left: list[Item] = []

    def deal(self) -> Item:
        """Take the next card."""
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


def simulate(folder: Path, *, conversations: int, seed: int, shares: Shares | None = None) -> Iterator[RawConversation]:
    """Simulate conversations of the shop in `folder` (cases/, simulate.toml, policy.toml), in its language.

    `InputError` for a malformed file or a slot that simulate.toml does not fill.
    """
    cases = load_cases(folder / "cases")
    scene, refusal = load_templates(folder)
    check_slots(folder, scene, cases)
    writer = _Writer(cases, scene, refusal, shares or Shares(), random.Random(f"{seed}:{scene.lang}"))  # noqa: S311
    for number in range(conversations):
        yield writer.conversation(f"sim-{scene.lang}-{seed}-{number:05d}")


class _Writer:
    """Writes one conversation after the other, out of decks that last through all of them."""

    def __init__(
        self, cases: list[Case], scene: SimulationTemplates, refusal: str, shares: Shares, rng: random.Random
    ) -> None:
        self._scene, self._refusal, self._shares, self._rng = scene, refusal, shares, rng
        self._asks = Deck([(case, ask) for case in cases for ask in case.ask], rng)
        self._by_article: dict[str, list[Case]] = {}
        for case in cases:
            self._by_article.setdefault(case.article, []).append(case)
        self._unanswerable = Deck(list(scene.unanswerable), rng)
        self._greetings = Deck(list(scene.greetings), rng)

    def conversation(self, name: str) -> RawConversation:
        rng, shares = self._rng, self._shares
        filled: dict[str, str] = {}
        emotion = self._mood()
        last: Case | None = None
        turns: list[RawTurn] = []
        length = rng.choices(range(1, len(shares.turns) + 1), shares.turns)[0]
        for place in range(length):
            if place and rng.random() < shares.mood_shift:
                emotion = self._mood()
            if place and place == length - 1 and rng.random() < shares.small_talk:
                turns += self._small_talk(filled)
                break
            if rng.random() < shares.unanswerable:
                last, ask, intent = None, self._unanswerable.deal(), "out_of_scope"
                evidence: tuple[str, ...] = ()
                answer = self._refusal
            else:
                last, ask = self._next(last)
                intent, evidence = last.intent, last.evidence
                answer = match_answer(ask, last.answer, rng)
                if emotion in self._scene.empathy and rng.random() < shares.empathy:
                    answer = self._join(rng.choice(self._scene.empathy[emotion]), answer)
            text, entities = self._message(ask, emotion, filled, first=place == 0)
            turns.append(
                RawTurn(role="user", content=text, intent=intent, emotion=emotion, evidence=evidence, entities=entities)
            )
            turns.append(RawTurn(role="assistant", content=answer))
        return RawConversation(conversation=name, lang=self._scene.lang, turns=tuple(turns), source="simulated")

    def _mood(self) -> Emotion:
        moods = self._shares.moods
        return self._rng.choices(list(moods), list(moods.values()))[0]

    def _next(self, last: Case | None) -> tuple[Case, str]:
        chance = self._rng.random()
        if last is not None and chance < self._shares.follow_up + self._shares.same_article:
            others = [case for case in self._by_article[last.article] if case is not last]
            if chance < self._shares.follow_up:
                if asks := [(case, ask) for case in others for ask in case.follow_up]:
                    return self._rng.choice(asks)
            elif others:
                case = self._rng.choice(others)
                return case, self._rng.choice(case.ask)
        return self._asks.deal()

    def _small_talk(self, filled: dict[str, str]) -> list[RawTurn]:
        talk = self._scene.small_talk
        said = self._fill(self._noise(self._rng.choice(talk.say)), filled, {})
        return [
            RawTurn(role="user", content=said, intent="small_talk", emotion="happy", evidence=()),
            RawTurn(role="assistant", content=self._rng.choice(talk.answer)),
        ]

    def _message(
        self, ask: str, emotion: Emotion, filled: dict[str, str], *, first: bool
    ) -> tuple[str, dict[str, str]]:
        """One customer message around a question, and the entities it names."""
        rng, scene = self._rng, self._scene
        mood = scene.moods[emotion]
        parts = [rng.choice(mood.before), ask, rng.choice(mood.after)]
        if first and rng.random() < self._shares.greeting:
            parts.insert(0, self._greetings.deal())
        if rng.random() < self._shares.personal:
            parts.insert(rng.choice((parts.index(ask), len(parts))), rng.choice(scene.personal))
        entities: dict[str, str] = {}
        return self._fill(self._noise(self._join(*parts)), filled, entities), entities

    def _join(self, *parts: str) -> str:
        """Sentences in a row; where nothing is put between them, a comma stands in for a missing full stop."""
        said = [part for part in parts if part]
        if not self._scene.joiner:
            said = [part if part[-1] in "，。！？、：,.!?:" else f"{part}，" for part in said[:-1]] + said[-1:]
        return self._scene.joiner.join(said)

    def _noise(self, template: str) -> str:
        """How people type: all lower case, a slip, short forms, no full stop. Slots stay whole, so values do too."""
        rng, shares = self._rng, self._shares
        if rng.random() < shares.slang:
            for word, short in self._scene.slang.items():
                pattern = rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word)
                template = re.sub(pattern, short, template)
        if rng.random() < shares.typo:
            template = _slip(template, rng)
        if rng.random() < shares.lower:
            template = template.lower()
        if rng.random() < shares.no_full_stop:
            template = template.rstrip(".?!。？！") or template
        return template

    def _fill(self, template: str, filled: dict[str, str], entities: dict[str, str]) -> str:
        """Fill the slots. Within a conversation a slot keeps its value: one customer, one order."""

        def value(slot: str) -> str:
            if slot not in filled:
                text = SLOT.sub(lambda match: value(match[1]), self._rng.choice(self._scene.slots[slot]))
                filled[slot] = "".join(self._rng.choice(string.digits[1:]) if char == "#" else char for char in text)
            return filled[slot]

        for slot in SLOT.findall(template):
            entities[slot] = value(slot)
        text = _LEADING_SLOT.sub(lambda match: match[1] + _capital(value(match[2])), template)
        return SLOT.sub(lambda match: value(match[1]), text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slip(template: str, rng: random.Random) -> str:
    """Two neighbouring letters of one long plain word change places."""
    words = [match.span() for match in re.finditer(r"(?<![\w{])[a-z]{5,}(?![\w}])", template)]
    if not words:
        return template
    start, end = rng.choice(words)
    place = rng.randrange(start + 1, end - 2)
    return template[:place] + template[place + 1] + template[place] + template[place + 2 :]
