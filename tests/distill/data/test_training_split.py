"""The training records as a whole: near duplicates out, intents balanced, held-out records untouched."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from distill.data.conversation import RawConversation, RawTurn
from distill.data.lineage import find_record
from distill.data.prepare import Preparation, prepare, split_of
from distill.data.training_split import MAX_VARIANTS, ShapedTraining, TrainingShape, shape_training
from runtime.base.jsonl import read_rows
from runtime.text.records import Record

EN = "My dishwasher leaks from the door and the floor is wet, what should I do about it?"
ZH = "我的洗碗机从门的下面一直往外漏水，厨房的地板都湿透了，请问现在我应该怎么办才好呢？"


REPLY = "Turn off the tap first, then call us."


def record(
    name: str,
    query: str,
    *,
    intent: str = "leak",
    lang: str = "en",
    reply: str = REPLY,
    source: Literal["transcript", "simulated"] = "transcript",
) -> Record:
    return Record(
        id=name, conversation=name, turn=1, lang=lang, query=query, response=reply, intent=intent,
        evidence=("washers#leaks",), source=source, split="train",
    )  # fmt: skip


def shaped_by(records: list[Record], shape: TrainingShape, seed: int = 7) -> tuple[list[Record], ShapedTraining]:
    """Those that stay, and what changes."""
    shaped = shape_training(lambda: records, shape, seed=seed)
    gone = {dropped.where for _, dropped in shaped.dropped}
    return [one for one in records if one.id not in gone], shaped


@pytest.mark.parametrize(
    ("text", "changed", "lang"), [(EN, EN.replace("wet", "soaked"), "en"), (ZH, ZH + "谢谢", "zh")]
)
def test_training_record_that_nearly_repeats_another_goes_with_its_twin(text: str, changed: str, lang: str) -> None:
    other = record("c", "Where is my parcel? It was to arrive on Monday.", reply="It is on its way to you now.")
    kept, shaped = shaped_by([record("a", text, lang=lang), other, record("b", changed, lang=lang)], TrainingShape())
    assert [one.id for one in kept] == ["a", "c"]
    ((step, dropped),) = shaped.dropped
    assert (step, dropped.where, dropped.detail) == ("duplicates", "b", "of a")


def test_near_duplicates_of_templates_short_pairs_and_other_languages_stay() -> None:
    records = [
        record("a", EN, source="simulated"),
        record("b", EN.replace("wet", "soaked"), source="simulated"),
        record("c", "Thanks!", reply="You're welcome!"),
        record("d", "Thanks!!", reply="You're welcome!!"),
        record("e", EN),
        record("f", EN, reply="We cannot help with machines of another maker, so please ask where it was bought."),
    ]
    assert shaped_by(records, TrainingShape())[0] == records
    near = [record("a", EN), record("b", EN.replace("wet", "soaked"))]
    assert shaped_by(near, TrainingShape(near_duplicates=False))[0] == near


def test_large_intents_are_capped_and_small_ones_asked_in_other_ways() -> None:
    many = [
        record(f"m{n}", f"Can I return the order number {n} without its box?", intent="return", source="simulated")
        for n in range(40)
    ]
    few = [
        record("f1", "Can you deliver the parcel to my neighbour on Tuesday?", intent="deliver"),
        record("f2", "你们可以把快递送到我的门店吗？需要多少钱？", intent="deliver", lang="zh"),
    ]
    shape = TrainingShape(cap=20, floor=10)
    kept, shaped = shaped_by([*many, *few], shape)
    counts = Counter(one.intent for one in [*kept, *shaped.made])
    assert counts == {"return": 20, "deliver": 10}
    assert len(shaped.dropped) == 20
    queries = [one.query for one in [*few, *shaped.made]]
    assert len(set(queries)) == len(queries)
    for one in shaped.made:
        (origin,) = [each for each in few if one.id.startswith(f"{each.id}~")]
        assert (one.response, one.evidence, one.lang, one.conversation) == (
            origin.response, origin.evidence, origin.lang, origin.conversation,
        )  # fmt: skip
        assert one.source == "simulated"
    assert shaped_by([*many, *few], shape) == (kept, shaped)
    assert shaped_by([*many, *few], shape, seed=8)[0] != kept


def test_a_question_is_asked_in_no_more_ways_than_its_words_allow() -> None:
    _, shaped = shaped_by([record("a", "ok?", intent="x")], TrainingShape(floor=1000))
    assert len(shaped.made) <= MAX_VARIANTS


def test_account_names_what_went_and_what_was_made(tmp_path: Path) -> None:
    """Held-out records are those that were brought; every made record leads back to its own."""

    def talk(name: str, question: str, intent: str) -> RawConversation:
        turns = (
            RawTurn(role="user", content=question, intent=intent),
            RawTurn(role="assistant", content="Please ring us, and we will see to it at once."),
        )
        return RawConversation(conversation=name, lang="en", turns=turns, where="t.csv:2")

    things = ("lamp", "table", "kettle", "mirror", "carpet", "blender", "sofa bed", "hair dryer", "printer", "tent")
    ways = ("I want to return the {}, it has a scratch", "What does it cost to deliver a {} to an island by boat?")
    talks = [
        talk(f"{intent}{n}", way.format(thing), intent)
        for intent, way in zip(("return", "deliver"), ways, strict=True)
        for n, thing in enumerate(things)
    ]
    twice = [talk(f"again{n}", ways[0].format("lamp") + " on it", "return") for n in range(2)]
    plain = prepare([*talks, *twice], tmp_path / "plain", how=Preparation(7, training=TrainingShape(False)))
    shape = TrainingShape(floor=8)
    report = prepare([*talks, *twice], tmp_path / "shaped", how=Preparation(7, training=shape))
    for split in ("valid", "test"):
        assert (tmp_path / "shaped" / f"{split}.jsonl").read_text() == (
            tmp_path / "plain" / f"{split}.jsonl"
        ).read_text()
    gone = report["duplicates"] + report["without_reply"] + sum(report["dropped"].values())
    assert report["read"] + report["made"] == report["kept"] + gone
    assert report["made"] > 0
    assert report["dropped"].get("duplicates: nearly the same as an earlier training record", 0) > 0
    assert plain["made"] == 0
    train = list(read_rows(Record, tmp_path / "shaped" / "train.jsonl"))
    assert Counter(one.intent for one in train) == {"return": 8, "deliver": 8}
    made = [one for one in train if "~" in one.id]
    found, where = find_record(tmp_path / "shaped", made[0].id)
    assert found == made[0]
    assert where == f"another way to ask {made[0].id.rpartition('~')[0]}"
    assert split_of(made[0].conversation, 7) == "train"
    refused = [json.loads(line) for line in (tmp_path / "shaped" / "refused.jsonl").read_text().splitlines()]
    assert any(row["step"] == "duplicates" and row["detail"].startswith("of ") for row in refused)
