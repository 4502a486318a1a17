"""Raw conversations to records: nothing lost, nothing personal, no conversation in two splits."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.conversation import RawConversation, RawTurn
from distill.data.prepare import normalise, prepare, split_of
from runtime.base.jsonl import read_rows
from runtime.errors import GateError, InputError
from runtime.text.personal_data import PersonalRules
from runtime.text.records import Record

SPLITS = ("train", "valid", "test")


def talk(name: str, *messages: str, lang: str = "en", **labels: object) -> RawConversation:
    turns = tuple(
        RawTurn.model_validate(
            {
                "role": "user" if place % 2 == 0 else "assistant",
                "content": content,
                **(labels if place % 2 == 0 else {}),
            }
        )
        for place, content in enumerate(messages)
    )
    return RawConversation(conversation=name, lang=lang, turns=turns, where="t.csv:2")


def rows(folder: Path) -> list[Record]:
    files = [folder / f"{split}.jsonl" for split in SPLITS]
    return [row for file in files if file.stat().st_size for row in read_rows(Record, file)]


def test_every_reply_becomes_a_record_with_the_turns_before_it(tmp_path: Path) -> None:
    report = prepare(
        [talk("c1", "能退吗？", "可以，30天内。", "要付钱吗？", "免费。", "好的", lang="zh")], tmp_path, seed=1
    )
    first, second = rows(tmp_path)
    assert (first.query, first.response, first.context) == ("能退吗？", "可以，30天内。", ())
    assert [turn.content for turn in second.context] == ["能退吗？", "可以，30天内。"]
    assert (second.query, second.lang) == ("要付钱吗？", "zh")
    assert (report["read"], report["kept"], report["without_reply"]) == (3, 2, 1)


def test_messages_of_one_side_in_a_row_are_one(tmp_path: Path) -> None:
    turns = (
        RawTurn(role="assistant", content="Welcome"),
        RawTurn(role="user", content="Hi"),
        RawTurn(role="user", content="Where is it?", intent="tracking"),
        RawTurn(role="assistant", content="There", known=("Order NL-1234567: sent",)),
    )
    prepare([RawConversation(conversation="c", lang="en", turns=turns)], tmp_path, seed=1)
    (row,) = rows(tmp_path)
    assert row.query == "Hi\nWhere is it?\n[Order <ORDER_1>: sent]"
    assert (row.intent, row.context[0].content) == ("tracking", "Welcome")


def test_personal_data_is_gone_before_anything_is_written(tmp_path: Path) -> None:
    """Part of S11: records."""
    canaries = ["Anna Keller", "anna@home.example", "+49 151 23456789", "NL-7654321", "13812345678", "李明华"]
    conversation = talk(
        "anna@home.example",
        "My name is Anna Keller, anna@home.example, +49 151 23456789.",
        "Thanks Anna Keller, I see NL-7654321.",
        "我叫李明华，13812345678",
        "好的，李明华。NL-7654321",
        entities={"name": "Anna Keller", "product": "the kettle"},
    )
    rules = PersonalRules(order_number=(r"NL-\d{7}",))
    report = prepare([conversation], tmp_path, seed=1, rules=rules)
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert [canary for canary in canaries if canary in written] == []
    first, second = rows(tmp_path)
    assert first.entities == {"name": "<NAME_1>", "product": "the kettle"}
    assert first.response == "Thanks <NAME_1>, I see <ORDER_1>."
    assert second.response.endswith("<ORDER_1>")
    assert report["redactions"]["NAME"] >= 4


def test_conversations_named_by_a_person_get_names_of_their_own(tmp_path: Path) -> None:
    two = [talk(f"{who}@home.example", f"{who}?", "Yes.").model_copy(update={"where": who}) for who in ("ann", "ben")]
    prepare(two, tmp_path, seed=1)
    names = {row.conversation for row in rows(tmp_path)}
    assert len(names) == 2
    assert not any("@" in name or "<" in name for name in names)


def test_no_conversation_is_in_two_splits_and_adding_some_moves_none(tmp_path: Path) -> None:
    many = [talk(f"c{number}", f"Question {number}?", "Yes.", f"More {number}?", "No.") for number in range(300)]
    report = prepare(many, tmp_path / "a", seed=9)
    places: dict[str, set[str]] = {}
    for row in rows(tmp_path / "a"):
        places.setdefault(row.conversation, set()).add(row.split)
    assert all(len(splits) == 1 for splits in places.values())
    assert all(report["by_split"][split] for split in SPLITS)
    prepare(many[:100], tmp_path / "b", seed=9)
    assert all(places[row.conversation] == {row.split} for row in rows(tmp_path / "b"))
    assert [split_of(f"c{n}", 1) for n in range(300)] != [split_of(f"c{n}", 2) for n in range(300)]


def test_repeats_and_refusals_are_counted(tmp_path: Path) -> None:
    refused = InputError("column 'role' is missing", where="t.csv:7")
    same = [talk("a", "Hi?", "Yes."), talk("b", "Hi?", "Yes."), refused, talk("c", "Hi ?", "Yes.")]
    report = prepare(same, tmp_path, seed=1)
    assert (report["conversations"], report["read"], report["kept"], report["duplicates"]) == (3, 3, 2, 1)
    assert report["refused"] == ["t.csv:7: column 'role' is missing"]
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_nothing_to_keep_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record"):
        prepare([talk("a", "Hi?")], tmp_path / "out", seed=1)
    assert not (tmp_path / "out").exists()


def test_evidence_is_linked_only_where_nobody_looked(tmp_path: Path) -> None:
    conversations = [
        talk("a", "How long?", "30 days."),
        talk("b", "Who are you?", "No idea.", evidence=()),
        talk("c", "Where?", "Here.", evidence=("x#y",)),
        talk("d", "Nothing found?", "No."),
    ]
    prepare(conversations, tmp_path, seed=1, link=lambda query: "returns#how-long" if "How" in query else None)
    assert {row.conversation: row.evidence for row in rows(tmp_path)} == {
        "a": ("returns#how-long",),
        "b": (),
        "c": ("x#y",),
        "d": (),
    }


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare([talk(f"c{n}", f"Q{n}?", "A") for n in range(20)], tmp_path / name, seed=4)
    for file in ("train.jsonl", "valid.jsonl", "test.jsonl", "report.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1))
def test_chinese_text_is_left_as_it_is(text: str) -> None:
    assert normalise(text) == text


@given(st.text())
def test_normalising_is_final_and_keeps_every_letter(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    letters = [char for char in unicodedata.normalize("NFC", text) if char.isalnum()]
    assert [char for char in unicodedata.normalize("NFC", once) if char.isalnum()] == letters


def test_rare_ideographs_full_width_marks_and_emoji_survive() -> None:
    text = "𠮷野家，\uf9d0！👩‍👧 ＡＢＣ“引号”"
    assert normalise(text) == text
    assert normalise("a\x00\x1b[31mb\u202ec\ufeff\t d\r\n\r\n\r\n\r\ne") == "a[31mbc d\n\ne"
    assert normalise("cafe\u0301") == "café"


LONG = (
    "My order has not arrived and the courier says that it was handed to a neighbour whom I do not know.",
    "We are sorry. We ask the courier where it is and send another one within three working days.",
    "订单显示已签收，可是我没有收到，快递员说放在邻居那里了，我并不认识他。",
    "很抱歉。我们会联系快递公司查找，三个工作日内给您补发一件。",
)


@pytest.mark.parametrize(("question", "reply", "lang"), [(*LONG[:2], "en"), (*LONG[2:], "zh")], ids=["en", "zh"])
def test_planted_leak_fails_the_build_or_is_left_out(question: str, reply: str, lang: str, tmp_path: Path) -> None:
    """A held-out conversation that says nearly the same as one that is trained on, under another name."""
    train, test = (
        next(name for name in (f"{split}{n}" for n in range(500)) if split_of(name, 7) == split)
        for split in ("train", "test")
    )
    other = talk(f"{test}~1", "Do you sell gift cards for fifty euros in the branch?", "Yes, at every till, as paper.")
    conversations = [talk(train, question, reply, lang=lang), talk(test, question + "!", reply, lang=lang), other]
    with pytest.raises(GateError, match=f"such as {test}-1 and {train}-1"):
        prepare(conversations, tmp_path / "fails", keep_leaks=True)
    assert not (tmp_path / "fails").exists()
    report = prepare(conversations, tmp_path / "drops")
    assert report["dropped"] == {"leakage: near duplicate of a training record": 1}
    assert {row.conversation for row in rows(tmp_path / "drops")} == {train, other.conversation}
    (refused,) = map(json.loads, (tmp_path / "drops" / "refused.jsonl").read_text(encoding="utf-8").splitlines())
    assert (refused["where"], refused["detail"]) == (f"{test}-1", f"{train}-1")
