"""What head office learns from turns: records, corrections and gaps, in English and Chinese."""

from __future__ import annotations

import time

from runtime.feedback.learning import corrections_of, gaps_of, records_of
from runtime.journal.outbox import OutboxRow
from runtime.text.records import Turn
from tests.support.feedback_rows import row


def by_turn(*rows: OutboxRow) -> dict[tuple[str, int], OutboxRow]:
    return {(one.conversation, one.turn): one for one in rows}


def test_correction_is_a_pair_with_what_was_said_before_it() -> None:
    turns = by_turn(
        row(1, verdict="accepted", citations=["returns#period"], intent="returns", emotion="calm"),
        row(2, question="And for a sale?", draft="14 days.", verdict="edited", reply="30 days too.", citations=["a#b"]),
        row(
            3,
            question="真的？",
            lang="zh",
            draft="不能退。",
            verdict="rejected",
            reply="可以，30天内。",
            emotion="bored",
        ),
        row(4, verdict="edited", reply="You have 30 days."),
    )
    second, third = corrections_of(turns)
    assert (second.key, second.draft, second.reply) == ("c/2", "14 days.", "30 days too.")
    assert second.context == (
        Turn(role="user", content="How long?"),
        Turn(role="assistant", content="You have 30 days."),
    )
    assert third.context[-1].content == "30 days too."
    records = records_of(turns)
    assert [record.response for record in records] == [
        "You have 30 days.", "30 days too.", "可以，30天内。", "You have 30 days.",
    ]  # fmt: skip
    assert {record.source for record in records} == {"journal"}
    assert [record.evidence for record in records] == [("returns#period",), ("a#b",), (), ()]
    assert (records[0].intent, records[0].emotion, records[2].emotion) == ("returns", "calm", None)
    assert records[3].context[-1].content == "30 days too.", "a rejected draft was never said to the customer"


def test_turn_that_nobody_judged_or_no_article_answers_is_no_record() -> None:
    turns = by_turn(
        row(1), row(2, verdict="rejected"), row(3, handoff="no_article", verdict="rejected", reply="Yes, 9 EUR.")
    )
    assert (records_of(turns), corrections_of(turns)) == ([], [])


def test_gaps_that_are_asked_in_other_words_are_one() -> None:
    rows = [
        row(1, question="Do you sell garden boats?", handoff="no_article"),
        row(2, question="Do you sell boats for the garden?", handoff="no_article", verdict="rejected", reply="No."),
        row(3, question="Do you sell garden boats?", handoff="no_article"),
        row(4, question="你们卖船吗？", lang="zh", handoff="no_article"),
        row(5, question="你们卖不卖船？", lang="zh", handoff="no_article"),
        row(6, question="Can I pay with bitcoin?", handoff="no_article"),
        row(7, question="I want my lawyer", handoff="legal"),
        row(8),
    ]
    gaps = gaps_of(rows)
    assert gaps[0].asked == 3
    assert gaps[0].questions == ("Do you sell garden boats?", "Do you sell boats for the garden?")
    assert gaps[0].answers == ("No.",)
    assert sum(gap.asked for gap in gaps) == 6
    assert {gap.lang for gap in gaps} == {"en", "zh"}


def test_gaps_of_many_questions_with_the_same_common_words_are_compared_with_few() -> None:
    """A bounded number of comparisons a question: ten times as many questions take no hundred times as long."""

    def seconds(count: int) -> float:
        rows = [
            row(n, question=f"can you tell me about thing{n} number{n}", handoff="no_article") for n in range(count)
        ]
        began = time.process_time()
        assert sum(gap.asked for gap in gaps_of(rows)) <= count
        return time.process_time() - began

    assert seconds(4000) < 60 * seconds(400)
