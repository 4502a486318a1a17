"""What exports teach: records to train on, corrections to check a model by, gaps to write about. Pure.

    accepted draft                    a record
    edited or rejected, with a reply  a record, and a correction: a preference pair of the draft and the reply
    handed over, no article           a knowledge gap, with the agent's answer where there is one

A record needs somebody's word that its reply is right, so a draft that nobody judged is none. A reply to a question
that no article answers is none either: a model trained on it would learn to answer without an article.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from runtime.journal.outbox import OutboxRow
from runtime.journal.turn_details import NO_ARTICLE
from runtime.text.records import Emotion, Record, Turn
from runtime.text.tokens import terms

Turns = Mapping[tuple[str, int], OutboxRow]
"""One row a turn, by conversation and number (`runtime.feedback.export_file.newest_turns`)."""
MAX_CONTEXT_TURNS = 6
"""Earlier messages of a record, as in training records."""
SAME_GAP = 0.5
"""Of the terms of two questions that count as one gap."""
MAX_GAPS = 2000
"""Groups that a question is compared with: their terms are looked up in an index, and so many are kept."""
GAP_EXAMPLES = 5
_RARE_TERMS, _GROUPS_A_TERM = 8, 200
"""What bounds the search for a question's group, however many questions there are."""


class Correction(BaseModel):
    """A draft that an agent rewrote, and what it became."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1)
    """Conversation and turn; the branch finds its own by it."""
    lang: str = Field(pattern=r"^[a-z]{2}$")
    context: tuple[Turn, ...] = ()
    question: str = Field(min_length=1)
    draft: str
    """The rejected side of the pair; empty where the desk had none."""
    reply: str = Field(min_length=1)
    citations: tuple[str, ...] = ()
    model: str = ""


class KnowledgeGap(BaseModel):
    """Something customers ask and no article answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: int
    """How often, in one way or another."""
    lang: str
    questions: tuple[str, ...]
    """Ways to ask it, the commonest first."""
    answers: tuple[str, ...] = ()
    """What agents answered."""


def correction_key(conversation: str, turn: int) -> str:
    """The name of a correction; `conversation` as it leaves the branch."""
    return f"{conversation}/{turn}"


def corrections_of(turns: Turns) -> list[Correction]:
    """Every draft that an agent rewrote, in the order of the conversations."""
    return [
        Correction(
            key=correction_key(row.conversation, row.turn),
            lang=row.lang,
            context=context,
            question=row.question,
            draft=row.draft,
            reply=row.reply,
            citations=row.citations,
            model=row.model,
        )
        for row, context in turns_with_context(turns)
        if row.verdict in ("edited", "rejected") and row.reply and row.reply != row.draft and row.handoff != NO_ARTICLE
    ]


def records_of(turns: Turns) -> list[Record]:
    """Records of the source `journal`.

    A correction is for training: it is there to be learned. Where an accepted draft goes is left to the build, which
    knows the seed, and so is the section that a rejected draft's answer rests on.
    """
    out = []
    for row, context in turns_with_context(turns):
        reply = row.draft if row.verdict == "accepted" and not row.reply else row.reply
        if row.verdict is None or not reply or row.handoff == NO_ARTICLE:
            continue
        out.append(
            Record(
                id=f"journal/{correction_key(row.conversation, row.turn)}",
                conversation=f"journal/{row.conversation}",
                turn=row.turn,
                lang=row.lang,
                context=context,
                query=row.question,
                response=reply,
                intent=row.intent,
                emotion=row.emotion if row.emotion in get_args(Emotion) else None,  # type: ignore[arg-type]
                evidence=() if row.verdict == "rejected" else row.citations,
                source="journal",
                split="train",
            )
        )
    return out


def gaps_of(turns: Iterable[OutboxRow]) -> list[KnowledgeGap]:
    """What no article answers, questions that share half of their terms as one, what is asked most first."""
    groups: list[tuple[frozenset[str], list[OutboxRow]]] = []
    index: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in turns:
        if row.handoff != NO_ARTICLE or not row.question.strip():
            continue
        said = frozenset(terms(row.question))
        # By their rarest terms, and of those a bounded number of groups: "you" is in every question.
        rare = sorted(said, key=lambda term: len(index.get((row.lang, term), ())))[:_RARE_TERMS]
        near = Counter(place for term in rare for place in index.get((row.lang, term), [])[:_GROUPS_A_TERM])
        best = next((place for place, _ in near.most_common(20) if _alike(said, groups[place][0])), None)
        if best is not None:
            groups[best][1].append(row)
        elif len(groups) < MAX_GAPS:
            for term in said:
                index[row.lang, term].append(len(groups))
            groups.append((said, [row]))
    found = [_gap(rows) for _, rows in groups]
    return sorted(found, key=lambda gap: (-gap.asked, gap.questions))


def _alike(these: frozenset[str], those: frozenset[str]) -> bool:
    return len(these & those) >= SAME_GAP * len(these | those)


def _gap(rows: Sequence[OutboxRow]) -> KnowledgeGap:
    questions = Counter(row.question for row in rows)
    answers = dict.fromkeys(row.reply for row in rows if row.reply)
    return KnowledgeGap(
        asked=len(rows),
        lang=rows[0].lang,
        questions=tuple(question for question, _ in questions.most_common(GAP_EXAMPLES)),
        answers=tuple(answers)[:GAP_EXAMPLES],
    )


def turns_with_context(turns: Turns) -> Iterator[tuple[OutboxRow, tuple[Turn, ...]]]:
    """Each turn with what was said before it: questions, and what was sent or would have been."""
    said: dict[str, list[Turn]] = defaultdict(list)
    for (conversation, _), row in sorted(turns.items()):
        yield row, tuple(said[conversation][-MAX_CONTEXT_TURNS:])
        answer = row.reply if row.reply and row.verdict != "rejected" else None
        if answer is None and row.draft and row.verdict != "rejected" and row.state == "complete" and not row.handoff:
            answer = row.draft
        if row.question and answer:
            said[conversation] += [Turn(role="user", content=row.question), Turn(role="assistant", content=answer)]
