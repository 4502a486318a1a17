"""Whatever form a company's export has, it is read right or refused by name: T1 to T7 and their like."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from distill.data.conversation import RawConversation
from distill.data.importers.account import FileAccount
from distill.data.importers.grouping import MAX_MESSAGE_CHARS
from distill.data.importers.transcripts import read_transcripts
from distill.recipe.transcript_settings import Transcripts
from runtime.errors import InputError

ROWS = [
    ("a", "customer", "What does delivery to Austria cost?", "2026-01-02T10:00:00Z"),
    ("a", "agent", "It costs 9.90 euros; see our list.", "2026-01-02T10:01:00Z"),
    ("b", "顾客", "退货要付运费吗？", "2026-01-02T11:00:00Z"),
    ("b", "客服", "退货免运费；30天内有效。", "2026-01-02T11:02:00Z"),
]
HEADER = ("conversation", "role", "content", "created_at")
WANTED = [
    ("a", [("user", ROWS[0][2]), ("assistant", ROWS[1][2])]),
    ("b", [("user", ROWS[2][2]), ("assistant", ROWS[3][2])]),
]


def read(path: Path, **options: Any) -> tuple[list[RawConversation], list[InputError], FileAccount]:
    """What is read, what is refused; every row is accounted for."""
    account = FileAccount()
    items = list(read_transcripts(Transcripts(path=path, **options), account))
    assert account.rows == account.used_rows + account.skipped_rows + account.refused_rows
    good = [item for item in items if isinstance(item, RawConversation)]
    assert account.conversations == len(good)
    return good, [item for item in items if isinstance(item, InputError)], account


def turns(conversations: list[RawConversation]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(each.conversation, [(turn.role, turn.content) for turn in each.turns]) for each in conversations]


def as_csv(rows: list[Any], delimiter: str = ",", newline: str = "\r\n", **options: Any) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=newline, **options).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
@pytest.mark.parametrize(
    ("name", "delimiter", "before"),
    [
        ("a.csv", ",", ""),
        ("a.CSV", ";", ""),
        ("a.csv", "|", ""),
        ("a.csv", "\t", ""),
        ("a.tsv", "\t", ""),
        ("a.csv", ";", "sep=;\r\n"),
        ("a.csv", ",", "\r\n"),
    ],
)
def test_table_is_read_in_every_dialect_and_encoding(
    name: str, delimiter: str, before: str, encoding: str, tmp_path: Path
) -> None:
    """T5 to T7."""
    (tmp_path / name).write_bytes((before + as_csv([HEADER, *ROWS], delimiter)).encode(encoding))
    conversations, refused, account = read(tmp_path / name)
    assert (turns(conversations), refused, account.rows) == (WANTED, [], 4)
    assert [each.lang for each in conversations] == ["en", "zh"]


def test_western_text_is_told_from_chinese_by_its_letters(tmp_path: Path) -> None:
    """T6: German in Windows-1252 decodes as GB18030 too, as rare ideographs."""
    rows = [
        ("conversation", "role", "content"),
        ("a", "customer", "Für größere Möbel – was kostet’s?"),
        ("a", "agent", "5 €"),
    ]
    (tmp_path / "a.csv").write_bytes(as_csv(rows).encode("cp1252"))
    conversations, _, _ = read(tmp_path / "a.csv")
    assert conversations[0].turns[0].content == rows[1][2]
    assert conversations[0].turns[1].content == "5 €"


@pytest.mark.parametrize("encoding", ["big5", "cp1251", "cp1250", "shift_jis"])
def test_other_encodings_are_refused_by_a_name_that_can_be_given(encoding: str, tmp_path: Path) -> None:
    texts = {
        "big5": "我想退貨，請問運費是多少？謝謝您的幫忙，我們會再聯絡。",
        "cp1251": "Сколько стоит доставка в Москву?",
        "cp1250": "Kolik stojí doručení? Příliš žluťoučký kůň",
        "shift_jis": "返品したいのですが、送料はいくらですか。",
    }
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv([HEADER[:3], ("a", "user", texts[encoding])]).encode(encoding))
    with pytest.raises(InputError, match="not UTF-8; it looks like"):
        read(path)
    conversations, _, _ = read(path, encoding=encoding)
    assert conversations[0].turns[0].content == texts[encoding]


def test_two_encodings_in_one_file_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"conversation,role,content\n" + "a,user,Für größere\n".encode() + "a,agent,Für\n".encode("cp1252")
    )
    with pytest.raises(InputError, match="two encodings in one file: line 2 is UTF-8, line 3 is not"):
        read(path)


@pytest.mark.parametrize(
    "dates",
    [
        ["2026-01-02T10:01:00Z", "2026-01-02T10:00:00Z"],
        ["2.1.2026 10:01", "2.1.2026 10:00"],
        ["1767348060", "1767348000"],
        ["2026年1月2日 下午1:05", "2026年1月2日 上午11:05"],
        ["13/1/2026 1:00 PM", "13/1/2026 9:00 AM"],
        ["1/13/2026 1:00 PM", "1/13/2026 9:00 AM"],
        ["Fri, 2 Jan 2026 10:01:00 +0100", "Fri, 2 Jan 2026 10:00:00 +0100"],
    ],
)
def test_newest_first_export_is_put_in_order_by_its_times(dates: list[str], tmp_path: Path) -> None:
    """T1: a reply is never paired with the question that came after it."""
    rows = [("a", "agent", "Yes, it is free.", dates[0]), ("a", "user", "Is returning free?", dates[1])]
    (tmp_path / "a.csv").write_text(as_csv([HEADER, *rows]), encoding="utf-8")
    conversations, _, _ = read(tmp_path / "a.csv")
    assert [turn.content for turn in conversations[0].turns] == ["Is returning free?", "Yes, it is free."]


def test_messages_of_one_second_keep_the_order_of_the_file_whichever_way_it_runs(tmp_path: Path) -> None:
    rows = [("a", "agent", "Third.", "10:02"), ("a", "agent", "Second.", "10:01"), ("a", "user", "First?", "10:01")]
    dated = [(name, role, text, f"2026-01-02 {time}") for name, role, text, time in rows]
    (tmp_path / "a.csv").write_text(as_csv([HEADER, *dated]), encoding="utf-8")
    conversations, _, _ = read(tmp_path / "a.csv")
    assert [turn.content for turn in conversations[0].turns] == ["First?", "Second.", "Third."]


def test_reversed_export_without_times_is_refused(tmp_path: Path) -> None:
    """T1."""
    rows = []
    for name in "abcd":
        rows += [(name, "agent", "Yes, it is free."), (name, "user", "Is returning free?")]
    (tmp_path / "a.csv").write_text(as_csv([HEADER[:3], *rows]), encoding="utf-8")
    with pytest.raises(InputError, match="replies come before their questions") as error:
        read(tmp_path / "a.csv")
    assert error.value.where.endswith("a.csv:2")


@pytest.mark.parametrize("date", ["3/4/2026 10:00", "yesterday", "2026-13-45"])
def test_time_that_can_be_read_two_ways_or_none_costs_its_conversation(date: str, tmp_path: Path) -> None:
    rows = [("a", "user", "Is it?", date), ("a", "agent", "Yes.", date)]
    (tmp_path / "a.csv").write_text(as_csv([HEADER, *rows]), encoding="utf-8")
    conversations, refused, _ = read(tmp_path / "a.csv")
    assert conversations == []
    assert refused[0].where.endswith("a.csv:2")


@pytest.mark.parametrize("name", ["1.23457E+15", "1,23457E+15", "#N/A", "#REF!", "NaN", ""])
def test_id_that_a_spreadsheet_spoiled_melts_no_customers_together(name: str, tmp_path: Path) -> None:
    """T2."""
    rows = [(name, "user", "Is it?"), (name, "agent", "Yes."), ("b", "user", "And?"), ("b", "agent", "No.")]
    (tmp_path / "a.csv").write_text(as_csv([HEADER[:3], *rows]), encoding="utf-8")
    conversations, refused, account = read(tmp_path / "a.csv")
    assert [each.conversation for each in conversations] == ["b"]
    assert [error.where.rsplit(":", 1)[1] for error in refused] == ["2", "3"]
    assert account.refused_rows == 2


def test_ids_cut_to_fifteen_digits_refuse_the_file(tmp_path: Path) -> None:
    """T2: what a spreadsheet leaves of long numbers."""
    rows = [("1234567890123450000", role, text) for _, role, text, _ in ROWS[:2]]
    (tmp_path / "a.csv").write_text(as_csv([HEADER[:3], *rows]), encoding="utf-8")
    with pytest.raises(InputError, match="a spreadsheet cut them"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(("shown", "kept"), [("It is free.", "margin 40 %"), ("免费。", "毛利40%")])
@pytest.mark.parametrize("form", ["<p>{shown}{hidden}</p>", "{shown}{hidden}"], ids=["mark-up", "plain"])
def test_comments_and_hidden_parts_of_a_message_are_no_reply(tmp_path: Path, shown: str, kept: str, form: str) -> None:
    """T3: what the customer never saw. A sign of a comment that is none stays."""
    hidden = f"<!-- {kept} -->"
    if form.startswith("<p>"):
        hidden += f'<span style="display: none">{kept}</span><span hidden>{kept}</span>'
    reply = form.format(shown=shown, hidden=hidden)
    rows = [HEADER[:3], ("a", "customer", "Type <!-- please?"), ("a", "agent", reply)]
    (tmp_path / "a.csv").write_text(as_csv(rows), encoding="utf-8")
    good, refused, _ = read(tmp_path / "a.csv", lang="en")
    assert refused == []
    assert turns(good) == [("a", [("user", "Type <!-- please?"), ("assistant", shown)])]


def test_notes_bots_html_quotes_and_signatures_are_no_replies(tmp_path: Path) -> None:
    """T3."""
    html = "<div><p>It is <b>free</b>.</p><blockquote>What does it cost?</blockquote></div>"
    mail = (
        "You have 30 days.\n\nKind regards,\nAnna\nShop Ltd\n\n"
        "On Mon, 3 Nov 2025 Bob <bob@example.com> wrote:\n> How long?"
    )
    rows = [
        ("a", "end-user", "What does it cost?", "true"),
        ("a", "Bot", "Hello, I am a robot.", "true"),
        ("a", "admin", "he is annoying", "false"),
        ("a", "admin", html, "true"),
        ("a", "system", "ticket assigned", "true"),
        ("b", "end-user", "How long?", "true"),
        ("b", "agent", mail, "true"),
        ("b", "agent", "> How long?", "true"),
    ]
    (tmp_path / "a.csv").write_text(as_csv([("ticket id", "author type", "body", "public"), *rows]), encoding="utf-8")
    conversations, refused, account = read(tmp_path / "a.csv")
    assert refused == []
    assert turns(conversations) == [
        ("a", [("user", "What does it cost?"), ("assistant", "It is free.")]),
        ("b", [("user", "How long?"), ("assistant", "You have 30 days.")]),
    ]
    assert dict(account.skipped) == {
        "bot or system message": 2, "private note": 1, "only a quote or a signature": 1,
    }  # fmt: skip


@pytest.mark.parametrize("column", ["is_private", "Private", "internal", "内部"])
def test_private_notes_are_told_by_whatever_column_marks_them(column: str, tmp_path: Path) -> None:
    """T3."""
    rows = [("a", "user", "Is it?", "0"), ("a", "agent", "do not tell him", "1"), ("a", "agent", "Yes.", "0")]
    (tmp_path / "a.csv").write_text(as_csv([(*HEADER[:3], column), *rows]), encoding="utf-8")
    conversations, _, _ = read(tmp_path / "a.csv")
    assert turns(conversations) == [("a", [("user", "Is it?"), ("assistant", "Yes.")])]


def test_author_that_is_not_understood_costs_its_conversation_and_is_named(tmp_path: Path) -> None:
    rows = [("a", "user", "Is it?"), ("a", "wizard", "Yes."), ("b", "user", "And?"), ("b", "agent", "No.")]
    (tmp_path / "a.csv").write_text(as_csv([HEADER[:3], *rows]), encoding="utf-8")
    conversations, refused, _ = read(tmp_path / "a.csv")
    assert [each.conversation for each in conversations] == ["b"]
    assert "unknown author 'wizard'" in refused[0].what
    mapped, refused, _ = read(tmp_path / "a.csv", roles={"assistant": ["Wizard"]})
    assert (len(mapped), refused) == (2, [])


def test_one_long_cell_costs_its_own_conversation_alone(tmp_path: Path) -> None:
    """T5."""
    rows = [("a", "user", "x" * 140_000), ("a", "agent", "Yes."), ("b", "user", "And?"), ("b", "agent", "No.")]
    (tmp_path / "a.csv").write_text(as_csv([HEADER[:3], *rows]), encoding="utf-8")
    conversations, refused, _ = read(tmp_path / "a.csv")
    assert [each.conversation for each in conversations] == ["b"]
    assert f"140,000 characters, at most {MAX_MESSAGE_CHARS:,}" in refused[0].what


def test_conversations_without_ids_are_parted_by_customer_and_pause(tmp_path: Path) -> None:
    rows = [
        ("c1", "user", "Is it open?", "2026-01-02 10:00"),
        ("c2", "user", "And the lamp?", "2026-01-02 10:01"),
        ("c1", "agent", "Yes.", "2026-01-02 10:02"),
        ("c2", "agent", "Sold.", "2026-01-02 10:03"),
        ("c1", "user", "Where is my parcel?", "2026-01-05 09:00"),
        ("c1", "agent", "On its way.", "2026-01-05 09:01"),
    ]
    (tmp_path / "a.csv").write_text(as_csv([("customer id", "role", "message", "time"), *rows]), encoding="utf-8")
    conversations, _, _ = read(tmp_path / "a.csv")
    assert [(each.conversation, each.turns[0].content) for each in conversations] == [
        ("c1-1", "Is it open?"), ("c1-2", "Where is my parcel?"), ("c2", "And the lamp?"),
    ]  # fmt: skip
    together, _, _ = read(tmp_path / "a.csv", pause_minutes=100_000)
    assert [each.conversation for each in together] == ["c1", "c2"]


def test_columns_named_in_the_recipe_go_before_everything(tmp_path: Path) -> None:
    rows = [("x", "k1", "K", "Is it?"), ("y", "k1", "B", "Yes.")]
    (tmp_path / "a.csv").write_text(as_csv([("content", "Vorgang", "Wer", "Nachricht"), *rows]), encoding="utf-8")
    columns = {"conversation": "vorgang", "role": "wer", "content": "nachricht"}
    conversations, _, _ = read(tmp_path / "a.csv", columns=columns, roles={"user": ["K"], "assistant": ["B"]})
    assert turns(conversations) == [("k1", [("user", "Is it?"), ("assistant", "Yes.")])]
    with pytest.raises(InputError, match="no column 'Kunde'"):
        read(tmp_path / "a.csv", columns={**columns, "customer": "Kunde"})


ZENDESK = {"id": 7, "requester_id": 1, "comments": [
    {"author_id": 1, "plain_body": "Is it?", "public": True, "created_at": "2026-01-02T10:00:00Z"},
    {"author_id": 2, "plain_body": "ask Bob", "public": False, "created_at": "2026-01-02T10:01:00Z"},
    {"author_id": 2, "html_body": "<p>Yes.</p>", "public": True, "created_at": "2026-01-02T10:02:00Z"}]}  # fmt: skip
INTERCOM = {"id": "7", "source": {"author": {"type": "user"}, "body": "<p>Is it?</p>"}, "created_at": 1767348000,
    "conversation_parts": {"conversation_parts": [
        {"part_type": "note", "body": "<p>ask Bob</p>", "author": {"type": "admin"}, "created_at": 1767348001},
        {"part_type": "assignment", "body": None, "author": {"type": "bot"}, "created_at": 1767348002},
        {"part_type": "comment", "body": "<p>Yes.</p>", "author": {"type": "admin"}, "created_at": 1767348003}]}}  # fmt: skip  # noqa: E501
FRESHDESK = {"id": 7, "requester_id": 1, "description_text": "Is it?", "created_at": "2026-01-02T10:00:00Z",
    "conversations": [
        {"body_text": "ask Bob", "incoming": False, "private": True, "created_at": "2026-01-02T10:01:00Z"},
        {"body_text": "Yes.", "incoming": False, "private": False, "created_at": "2026-01-02T10:02:00Z"}]}  # fmt: skip
ZAMMAD = {"id": 7, "articles": [
    {"sender": "Customer", "internal": False, "body": "Is it?", "type": "email", "created_at": "2026-01-02T10:00:00Z"},
    {"sender": "System", "internal": False, "body": "received", "created_at": "2026-01-02T10:00:01Z"},
    {"sender": "Agent", "internal": True, "body": "ask Bob", "type": "note", "created_at": "2026-01-02T10:01:00Z"},
    {"sender": "Agent", "internal": False, "body": "Yes.", "type": "email", "created_at": "2026-01-02T10:02:00Z"}]}  # fmt: skip  # noqa: E501
CHATWOOT = {"id": 7, "messages": [
    {"content": "Yes.", "message_type": 1, "private": False, "created_at": 1767348003, "sender": {"type": "user"}},
    {"content": "ask Bob", "message_type": 1, "private": True, "created_at": 1767348002, "sender": {"type": "user"}},
    {"content": "assigned", "message_type": 2, "private": False, "created_at": 1767348001},
    {"content": "Is it?", "message_type": 0, "private": False, "created_at": 1767348000, "sender": {"type": "contact"}}]}  # fmt: skip  # noqa: E501
OPENAI = {"id": "7", "messages": [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": [{"type": "text", "text": "Is it?"}]},
    {"role": "assistant", "content": None, "tool_calls": []},
    {"role": "tool", "content": "{}"},
    {"role": "assistant", "content": "Yes."}]}  # fmt: skip
SHAREGPT = {"id": "7", "conversations": [{"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "Yes."}]}


@pytest.mark.parametrize(
    ("preset", "ticket"),
    [
        ("zendesk", ZENDESK), ("intercom", INTERCOM), ("freshdesk", FRESHDESK), ("zammad", ZAMMAD),
        ("chatwoot", CHATWOOT), ("openai", OPENAI), ("", OPENAI), ("sharegpt", SHAREGPT), ("", SHAREGPT),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["lines", "list", "pretty", "wrapped", "one"])
def test_help_desk_export_is_read_in_every_shape_of_json(
    preset: str, ticket: dict[str, Any], form: str, tmp_path: Path
) -> None:
    """T3 and T5."""
    two = [ticket, {**ticket, "id": "8"}]
    text = {
        "lines": "".join(json.dumps(each) + "\n" for each in two),
        "list": json.dumps(two),
        "pretty": json.dumps(two, indent=2),
        "wrapped": json.dumps({"tickets": two, "count": 2}, indent=1),
        "one": json.dumps(ticket, indent=2),
    }[form]
    path = tmp_path / ("a.jsonl" if form == "lines" else "a.json")
    path.write_text(text, encoding="utf-8")
    conversations, refused, _ = read(path, preset=preset)
    wanted = [("user", "Is it?"), ("assistant", "Yes.")]
    assert refused == []
    assert turns(conversations) == [(name, wanted) for name in (["7"] if form == "one" else ["7", "8"])]


def test_seed_form_and_tables_of_questions_and_answers_are_pairs(tmp_path: Path) -> None:
    seed = {
        "query": "And for free?", "response": "Yes.", "intent": "price", "entities": {"order_id": "1"},
        "context": [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "Yes."}],
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(seed) + "\n" + json.dumps({"query": "x"}) + "\n")
    conversations, refused, _ = read(tmp_path / "a.jsonl")
    assert conversations[0].only_last
    assert conversations[0].turns[-2].intent == "price"
    assert conversations[0].turns[-2].entities == {"order_id": "1"}
    assert refused[0].where.endswith("a.jsonl:2")
    (tmp_path / "b.csv").write_text("问题,答案\n能退吗？,30天内可以。\n", encoding="gb18030")
    conversations, _, _ = read(tmp_path / "b.csv")
    assert [turn.content for turn in conversations[0].turns] == ["能退吗？", "30天内可以。"]


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
def test_workbook_and_parquet_are_read_like_a_table(form: str, tmp_path: Path) -> None:
    """T5; numbers and times keep their values, a formula's stored result counts."""
    from datetime import datetime

    rows = [(12 if name == "a" else 13, role, text, datetime.fromisoformat(time)) for name, role, text, time in ROWS]
    path = tmp_path / f"a.{form}"
    if form == "xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        page = book.active
        page.append(HEADER)
        for name, role, text, time in rows:
            page.append((name, role, text, time.replace(tzinfo=None)))
        page.append((14, "user", '=CMD|"/c calc"!A1', None))
        book.save(path)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({key: [row[place] for row in rows] for place, key in enumerate(HEADER)}), path)
    conversations, refused, _ = read(path)
    assert turns(conversations) == [("12", WANTED[0][1]), ("13", WANTED[1][1])]
    assert len(refused) == (form == "xlsx")


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (b"\xd0\xcf\x11\xe0" + bytes(600), "a.xls", "an old Office file"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "a.csv", "an old Office file"),
        (b"%PDF-1.7 ...", "a.pdf", "a PDF"),
        (b"\x1f\x8b\x08\x00abc", "a.csv.gz", "gzip"),
        (b"<html><table></table></html>", "a.xls", "XML or HTML"),
        (b"SQLite format 3\0" + bytes(90), "a.db", "SQLite"),
        (b"conversation,role,content\n", "a.xlsx", "its name says xlsx"),
        (b"{\\rtf1}", "a.txt", "rich text"),
    ],
)
def test_form_that_is_not_read_is_named(content: bytes, name: str, what: str, tmp_path: Path) -> None:
    """T5."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=what) as error:
        read(tmp_path / name)
    assert error.value.hint
