"""Transcripts from three forms; nothing malformed passes, nothing is dropped without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from distill.data.conversation import RawConversation
from distill.data.importers.account import FileAccount
from distill.data.importers.taubench import parse_chat
from distill.data.importers.transcripts import read_transcripts
from distill.data.prepare import prepare
from distill.recipe.transcript_settings import Transcripts
from runtime.errors import EdgedeskError, InputError, MissingError
from tests.support.paths import SHARED_DATA

TAU = SHARED_DATA / "en_taubench" / "few_shot_data"


def read(path: Path, **options: Any) -> tuple[list[RawConversation], list[str]]:
    """What is read and what is refused; every row is accounted for."""
    account = FileAccount()
    items = list(read_transcripts(Transcripts(path=path, **options), account))
    assert account.rows == account.used_rows + account.skipped_rows + account.refused_rows
    return (
        [item for item in items if not isinstance(item, InputError)],
        [str(item) for item in items if isinstance(item, InputError)],
    )


def test_csv_rows_become_conversations_in_order(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "conversation,role,content,intent,agent\n"
        'a,customer,"Hello,\nwhere is it?",delivery,\n'
        "b,顾客,包裹到哪了？,,\n"
        "a,agent,On its way.,,7\n"
        "b,客服,在路上。,,7\n",
        encoding="utf-8-sig",
    )
    conversations, refused = read(path)
    assert refused == []
    assert [(each.conversation, each.lang, each.where) for each in conversations] == [
        ("a", "en", f"{path}:2"),
        ("b", "zh", f"{path}:4"),
    ]
    assert [(turn.role, turn.content) for turn in conversations[0].turns] == [
        ("user", "Hello,\nwhere is it?"),
        ("assistant", "On its way."),
    ]
    assert conversations[0].turns[0].intent == "delivery"
    assert conversations[1].turns[0].content == "包裹到哪了？"


@pytest.mark.parametrize("column", ["conversation", "role", "content"])
def test_a_missing_column_is_named_with_file_and_line(tmp_path: Path, column: str) -> None:
    path = tmp_path / "t.csv"
    columns = [name for name in ("conversation", "role", "content") if name != column]
    path.write_text(",".join(columns) + "\nx,y\n")
    with pytest.raises(InputError, match=f"t.csv:1: column '{column}' is missing"):
        read(path)


def test_a_malformed_row_takes_its_conversation_with_it_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "conversation,role,content\na,user,Hi\na,robot,Hello\nb,user,Hi\nb,assistant,Hello\nc,user\n,user,Hi\nd,user,\n"
    )
    conversations, refused = read(path)
    assert [each.conversation for each in conversations] == ["b"]
    assert len(refused) == 4
    assert any(f"{path}:3: column 'role'" in each and "conversation 'a' is left out" in each for each in refused)
    assert any(f"{path}:6: 2 cells" in each for each in refused)
    assert any(f"{path}:7: column 'conversation' is empty" in each for each in refused)
    report = prepare(read_transcripts(Transcripts(path=path)), tmp_path / "out", seed=1)
    assert (report["kept"], len(report["refused"])) == (1, 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"  \n\n", "empty"),
        ("t.csv", "conversation,role,content\na,user,Привет, как дела\n".encode("cp1251"), "cp1251"),
        ("t.csv", b'conversation,role,content\na,user,"open\n', r"t\.csv:2: a quote that is opened here is not closed"),
        ("t.jsonl", b"", "empty"),
        ("t.jsonl", b"PK\x03\x04 and nothing else", "damaged"),
    ],
)
def test_a_file_that_is_no_transcript_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read(path)
    assert error.value.hint


def test_a_missing_file_and_an_unknown_form_say_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read(tmp_path / "none.csv")
    with pytest.raises(ValidationError, match="form"):
        read(tmp_path / "none.csv", form="xml")


def test_malformed_jsonl_rows_are_handed_on_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    good = {"conversation": "a", "lang": "zh", "turns": [{"role": "user", "content": "能退吗？", "evidence": []}]}
    rows = [
        json.dumps(good, ensure_ascii=False),
        "{",
        '{"conversation": "b"}',
        '{"conversation": "c", "turns": [{"role": "x", "content": "y"}]}',
        '{"conversation": "d", "turns": [{"role": "user", "content": " "}]}',
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    conversations, refused = read(path)
    assert [each.conversation for each in conversations] == ["a"]
    assert conversations[0].turns[0].evidence == ()
    assert [each.split(": ")[0] for each in refused] == [f"{path}:{number}" for number in (2, 3, 4, 5)]


def test_tool_results_become_what_the_agent_knew() -> None:
    order = {
        "order_id": "#W123456",
        "status": "pending",
        "user_id": "ann_lee_1234",
        "items": [{"name": "Lamp", "price": 12.5, "options": {"color": "red"}}],
        "payment_history": [{"transaction_type": "payment", "amount": 12.5}],
    }
    user = {"name": {"first_name": "Ann", "last_name": "Lee"}, "email": "ann@example.com", "payment_methods": {}}
    chat = parse_chat(
        "user: Where is it?\nassistant: None\n"
        f"tool: {json.dumps(user)}\nassistant: None\ntool: {json.dumps(order)}\n"
        "assistant: Pending:\nuser: is no role here\nuser: Thanks ###STOP###",
        "c1",
    )
    assert [turn.role for turn in chat.turns] == ["user", "assistant", "user", "user"]
    assert chat.turns[1].known[-1] == "Order #W123456: pending; Lamp (red) $12.5; payment $12.5"
    assert ("NAME", "Ann Lee") in chat.personal
    assert ("ID", "ann_lee_1234") in chat.personal
    assert chat.turns[-1].content == "Thanks"


def test_the_retail_chats_of_tau_bench_become_records_without_personal_data(tmp_path: Path) -> None:
    """Part of S11, on text that nobody here wrote."""
    source = TAU / "MockRetailDomainEnv-few_shot.jsonl"
    if not source.exists():
        pytest.skip("../shared/data/en_taubench is not there")
    conversations, refused = read(source)
    assert (len(conversations), refused) == (69, [])
    report = prepare(conversations, tmp_path, seed=1)
    left_out = report["duplicates"] + report["without_reply"] + sum(report["dropped"].values())
    assert report["kept"] + left_out == report["read"]
    assert report["kept"] > 400
    text = "".join((tmp_path / f"{split}.jsonl").read_text() for split in ("train", "valid", "test"))
    personal = {value for each in conversations for kind, value in each.personal if len(value) > 5 and kind != "NAME"}
    assert len(personal) > 150
    assert [value for value in personal if value in text] == []
    names = {value for each in conversations for kind, value in each.personal if kind == "NAME"}
    assert len(names) > 30
    assert [value for value in names if value in text] == []
    assert "###STOP###" not in text
    assert '"None"' not in text


@pytest.mark.parametrize("display", ["", "nothing here", "tool: {}"])
def test_a_chat_without_a_message_is_refused(display: str) -> None:
    with pytest.raises(EdgedeskError, match="no message"):
        parse_chat(display, "c")


@pytest.mark.parametrize(
    ("cell", "lang"),
    [("zh", "zh"), ("ZH", "zh"), ("zh-CN", "zh"), ("zh_Hans", "zh"), ("Chinese", "zh"), ("中文", "zh"),
     ("English", "en"), ("en-GB", "en"), ("fr", "fr"), ("", "en")],
)  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_language_of_a_transcript_is_understood_as_other_systems_write_it(
    cell: str, lang: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / f"chats.{form}"
    turns = [{"role": "user", "content": "Is it open?"}, {"role": "assistant", "content": "Yes."}]
    rows = "".join(f"c,{turn['role']},{turn['content']},{cell}\n" for turn in turns)
    line = json.dumps({"conversation": "c", "lang": cell, "turns": turns}, ensure_ascii=False)
    path.write_text("conversation,role,content,lang\n" + rows if form == "csv" else line + "\n", encoding="utf-8")
    (conversation,) = read_transcripts(Transcripts(path=path))
    assert isinstance(conversation, RawConversation), conversation
    assert conversation.lang == lang


@pytest.mark.parametrize("cell", ["1", "Klingon", "e", "???"])
def test_language_that_is_not_understood_costs_its_conversation_alone(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    path.write_text(
        "conversation,role,content,lang\n"
        f"a,user,Is it open?,{cell}\na,assistant,Yes.,{cell}\nb,user,And now?,en\nb,assistant,No.,en\n"
    )
    refused, read = read_transcripts(Transcripts(path=path))
    assert isinstance(refused, InputError)
    assert "'lang'" in refused.what
    assert "'a' is left out" in refused.what
    assert refused.where == f"{path}:2"
    assert isinstance(read, RawConversation)
