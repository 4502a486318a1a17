from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runtime.journal.journal import Journal
from runtime.journal.outbox import outbox_rows
from runtime.journal.stored_turn import Feedback
from runtime.journal.turn_details import TurnDetails

PLANTED = ("Wetherby", "wetherby@example.com", "13912345678", "王小明", "4111 1111 1111 1111")


def test_nothing_personal_leaves_and_one_value_has_one_name_through_a_conversation(tmp_path: Path) -> None:
    """Part of S11: the outbox."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        first = journal.ask("Wetherby-talk", "I am Ms Wetherby (wetherby@example.com). Hotline 0800 555 0199?", "en")
        journal.end(
            first, "complete", "Ms Wetherby, yes.", model="m", details=TurnDetails(citations=("a#b",), intent="call")
        )
        second = journal.ask("Wetherby-talk", "我叫王小明，电话13912345678，卡号4111 1111 1111 1111", "zh")
        journal.end(second, "complete", "王小明您好")
        journal.feed_back(second, Feedback("rejected", "王小明，请打电话", "wrong for Wetherby", 1, 3.0, "ann"))
        rows = [row for _, row in outbox_rows(journal, public="Our hotline: 0800 555 0199", limit=10)]
    said = "\n".join(row.model_dump_json() for row in rows)
    assert not [value for value in PLANTED if value in said]
    assert "0800 555 0199" in rows[0].question
    assert rows[0].draft == "<NAME_1>, yes."
    assert (rows[0].citations, rows[0].intent) == (("a#b",), "call")
    assert rows[1].draft == "<NAME_2>您好"
    assert rows[1].reason == "wrong for <NAME_1>"
    assert (rows[1].verdict, rows[1].rating, rows[1].revision) == ("rejected", 1, 2)
    assert rows[0].conversation == rows[1].conversation
    assert len({row.key for row in rows}) == 2


@pytest.mark.parametrize("name", ["+31612345678", "13912345678"])
def test_conversation_name_leaves_as_a_hash_that_no_list_of_numbers_finds(tmp_path: Path, name: str) -> None:
    """Part of S11: a client names its conversations by phone numbers."""
    rows = []
    for home in ("one", "other"):
        with Journal(tmp_path / home / "journal.sqlite") as journal:
            journal.end(journal.ask(name, "How long?", "en"), "complete", "30 days")
            rows += [row for _, row in outbox_rows(journal, public="", limit=10)]
            assert journal.alias(name) == rows[-1].conversation
        with Journal(tmp_path / home / "journal.sqlite") as journal:
            (again,) = [row for _, row in outbox_rows(journal, public="", limit=10)]
            assert again == rows[-1], "the same row under the same key after a restart"
    assert rows[0].conversation != rows[1].conversation, "the hash is keyed with a secret of each journal"
    assert not any(hashlib.new(kind, name.encode()).hexdigest()[:16] in rows[0].key for kind in ("sha256", "md5"))


def test_outbox_row_forgotten_while_the_rows_are_made_is_left_out(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        for name in ("gone", "kept"):
            journal.end(journal.ask(name, "How long?", "en"), "complete", "30 days")
        rows = outbox_rows(journal, public="", limit=10)
        with journal.transaction() as db:
            db.execute("DELETE FROM outbox WHERE conversation = 'gone'")
            db.execute("DELETE FROM turn WHERE conversation = 'gone'")
        assert [key.conversation for key, _ in rows] == ["kept"]
