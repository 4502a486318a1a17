from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.cli.data import app
from distill.data.new_company import write_company
from runtime.errors import InputError, MissingError, UsageError

CSV = """conversation,role,content
c1,customer,"Hello, my e-mail is sam@example.com. 退货要几天？"
c1,agent,Within 30 days.
c2,nobody,What is this role?
c3,customer,How much is delivery?
c3,agent,It costs 4.90.
"""


def test_transcripts_become_redacted_records_and_bad_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(CSV, encoding="utf-8")
    done = CliRunner().invoke(app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["kept"] == 2
    assert len(report["refused"]) == 1
    assert "chats.csv:4" in report["refused"][0]
    text = "".join((tmp_path / "out" / f"{s}.jsonl").read_text(encoding="utf-8") for s in ("train", "valid", "test"))
    assert "sam@example.com" not in text
    assert "<EMAIL_1>" in text
    assert "退货要几天？" in text


def test_a_missing_column_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text("conversation,content\nc1,Hello\n", encoding="utf-8")
    with pytest.raises(InputError, match="role"):
        CliRunner().invoke(
            app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out")], catch_exceptions=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["chats.csv"]


def test_simulated_conversations_are_transcripts_again(shop: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", str(shop / "zh"), "--conversations", "5"])
    assert done.exit_code == 0, done.output
    (tmp_path / "chats.jsonl").write_text(done.stdout, encoding="utf-8")
    again = CliRunner().invoke(
        app, ["prepare", str(tmp_path / "chats.jsonl"), "--out", str(tmp_path / "out"), "--json"]
    )
    assert json.loads(again.stdout)["conversations"] == 5
    assert json.loads(again.stdout)["refused"] == []


@pytest.mark.parametrize("lang", ["EN", "zh-CN", "Chinese", "1"])
def test_language_that_is_no_two_letter_code_is_refused_before_any_work(lang: str, tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(CSV, encoding="utf-8")
    arguments = ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out"), "--lang", lang]
    with pytest.raises(UsageError, match=f"language '{lang}' is not a two-letter code") as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert error.value.where == "--lang"
    assert not (tmp_path / "out").exists()


def test_every_record_is_traced_to_its_row_and_refused_rows_have_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(CSV, encoding="utf-8")
    out = tmp_path / "out"
    assert CliRunner().invoke(app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(out)]).exit_code == 0
    shown = CliRunner().invoke(app, ["show", str(out), "c3-1", "--json"])
    found = json.loads(shown.stdout)
    assert found["record"]["response"] == "It costs 4.90."
    assert found["where"].endswith("chats.csv:5")
    (refused,) = [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]
    assert (refused["line"], refused["file"]) == (4, str(tmp_path / "chats.csv"))
    assert "unknown author" in refused["reason"]
    with pytest.raises(MissingError, match="no record 'c9'"):
        CliRunner().invoke(app, ["show", str(out), "c9"], catch_exceptions=False)


def test_data_card_counts_every_row_and_shows_no_text_of_a_customer(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(CSV, encoding="utf-8")
    out = tmp_path / "out"
    CliRunner().invoke(app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(out)])
    report = json.loads(CliRunner().invoke(app, ["card", str(out), "--json"]).stdout)
    (file,) = report["files"]
    assert (file["rows"], file["used_rows"], file["refused_rows"]) == (5, 4, 1)
    assert report["read"] == report["kept"] + report["duplicates"] + report["without_reply"]
    card = CliRunner().invoke(app, ["card", str(out)]).stdout
    page = (out / "card.html").read_text(encoding="utf-8")
    for text in (card, page):
        assert "unknown author" in text
        assert "EMAIL" in text
        assert "Hello" not in text
    assert page.count("<svg") >= 5
    assert "http" not in page


def test_recipe_of_articles_alone_is_prepared(tmp_path: Path) -> None:
    """B7."""
    (tmp_path / "articles").mkdir()
    for name, days in (("returns", 30), ("repairs", 14), ("gifts", 60), ("loans", 7), ("swaps", 21)):
        text = f"# {name.title()}\n\n## Period\n\nYou have {days} days for {name}. Bring the receipt to the till.\n"
        (tmp_path / "articles" / f"{name}.md").write_text(text)
    made = write_company(tmp_path / "articles", tmp_path / "shop")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["prepare", str(made.files[0]), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert set(report["by_source"]) == {"article", "simulated"}
    assert report["by_split"]["test"] >= 1
    assert report["not_answerable"] == report["by_source"]["simulated"] > 0
    questions = [json.loads(line) for line in (out / "questions" / "en.jsonl").read_text().splitlines()]
    assert all(each["evidence"][0].endswith("#period") for each in questions)


def test_exported_records_are_read_back_as_the_same_pairs(shop: Path, tmp_path: Path) -> None:
    """The seed form: question, reply, turns before, intent and entities go out and come in as they are."""
    run = CliRunner()
    chats = "".join(
        run.invoke(app, ["simulate", str(shop / lang), "--conversations", "12"]).stdout for lang in ("en", "zh")
    )
    (tmp_path / "chats.jsonl").write_text(chats, encoding="utf-8")
    run.invoke(app, ["prepare", str(tmp_path / "chats.jsonl"), "--out", str(tmp_path / "one")], catch_exceptions=False)
    exported = run.invoke(app, ["export", str(tmp_path / "one")], catch_exceptions=False).stdout
    (tmp_path / "pairs.jsonl").write_text(exported, encoding="utf-8")
    run.invoke(app, ["prepare", str(tmp_path / "pairs.jsonl"), "--out", str(tmp_path / "two")], catch_exceptions=False)
    again = "".join(
        run.invoke(app, ["export", str(tmp_path / "two"), "--split", split]).stdout
        for split in ("train", "valid", "test")
    )
    rows, read = ([json.loads(line) for line in text.splitlines()] for text in (exported, again))
    assert len(rows) > 20
    assert {tuple(row) for row in rows} == {("query", "response", "context", "intent", "entities")}
    assert any(row["context"] for row in rows)
    assert any(row["entities"] for row in rows)

    def key(row: dict[str, object]) -> str:
        return json.dumps(row, sort_keys=True, ensure_ascii=False)

    assert set(map(key, read)) <= set(map(key, rows))
    assert len(read) > 0.9 * len(set(map(key, rows)))


@pytest.mark.parametrize(
    ("text", "label", "lang"),
    [
        ("text,category\n{},{}\n", ("Where is my card?", "card_arrival"), "en"),
        ("文本,意图\n{},{}\n", ("卡片到哪里了？", "查询卡片"), "zh"),
        (
            "conversationId\tturnNumber\tutterance\tintent\nx1\t0\t{}\t{}\n",
            ("my mail is anna@example.com", "mail"),
            "en",
        ),
    ],
    ids=["en", "zh", "customers' turns"],
)
def test_labelled_questions_without_replies_are_kept_for_the_classifiers(
    text: str, label: tuple[str, str], lang: str, tmp_path: Path
) -> None:
    """Not as records, which need a reply; redacted, counted and traced like them."""
    path = tmp_path / ("a.tsv" if "\t" in text else "a.csv")
    path.write_text(text.format(*label) + text.format("", "nothing").splitlines()[1] + "\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["prepare", str(path), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["kept"], report["labelled"], report["refused_count"]) == (0, 1, 1)
    assert report["by_label"] == {label[1]: 1}
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "labelled.jsonl").read_text("utf-8").splitlines()]
    assert row["query"] == label[0].replace("anna@example.com", "<EMAIL_1>")
    assert (row["intent"], row["lang"]) == (label[1], lang)
    (lineage,) = [json.loads(line) for line in (tmp_path / "out" / "lineage.jsonl").read_text("utf-8").splitlines()]
    assert lineage == {"id": row["id"], "where": f"{path}:2"}
    assert label[1] in (tmp_path / "out" / "card.md").read_text("utf-8")


def test_message_with_a_label_that_nobody_answered_is_a_labelled_question(tmp_path: Path) -> None:
    (tmp_path / "chats.csv").write_text(
        "conversation,role,content,intent\n"
        "c1,customer,Where is it?,tracking\nc1,agent,On its way.,\nc1,customer,And the other one?,tracking\n"
        "c2,customer,Hello?,\n",
        encoding="utf-8",
    )
    done = CliRunner().invoke(app, ["prepare", str(tmp_path / "chats.csv"), "--out", str(tmp_path / "out"), "--json"])
    report = json.loads(done.stdout)
    assert (report["read"], report["kept"], report["labelled"], report["without_reply"]) == (3, 1, 1, 1)


def test_columns_and_authors_are_named_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("case no,who,what\n7,K,Where is it?\n7,auto,Thank you for waiting.\n7,B,On its way.\n")
    named = [word for each in ("conversation=case no", "role=who", "content=what") for word in ("--column", each)]
    sides = [word for each in ("user=K", "assistant=B", "skip=auto") for word in ("--role", each)]
    command = ["prepare", str(path), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, [*command, *named, *sides], catch_exceptions=False)
    assert json.loads(done.stdout)["kept"] == 1
    for wrong in ("K", "user=", "boss=K"):
        with pytest.raises(UsageError, match=f"'{wrong}' is not PART=NAME"):
            CliRunner().invoke(app, [*command, "--role", wrong], catch_exceptions=False)
