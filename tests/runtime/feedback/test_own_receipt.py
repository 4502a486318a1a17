"""A branch finds its own corrections in a bundle's receipt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.manifest import write_manifest
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.errors import InputError
from runtime.feedback.own_receipt import own_receipt
from runtime.feedback.receipt import CorrectionOutcome, ImprovementReceipt
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import Feedback


def with_receipt(root: Path, text: str) -> Bundle:
    (root / "report").mkdir()
    (root / "report" / "receipt.json").write_text(text, encoding="utf-8")
    write_manifest(root, "bundle", {}, {"name": "shop"})
    return open_bundle(root, verify=True)


def test_receipt_shows_a_branch_its_own_corrections_and_of_others_only_the_number(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        outcomes = [CorrectionOutcome(key="0123456789abcdef/1", passes=True)]
        for name, reply in (("talk", "30 days."), ("说", "30天。"), ("forgotten", "31 days.")):
            key = journal.ask(name, f"How long? {name}", "en")
            journal.end(key, "complete", "14 days.")
            journal.feed_back(key, Feedback("edited", reply))
            outcomes.append(CorrectionOutcome(key=f"{journal.alias(name)}/1", passes=name == "talk"))
        with journal.transaction() as db:
            for table in ("outbox", "feedback", "turn"):
                db.execute(f"DELETE FROM {table} WHERE conversation = 'forgotten'")
        text = ImprovementReceipt(release="shop 2", corrections=tuple(outcomes)).model_dump_json()
        seen = own_receipt(with_receipt(make_bundle(), text), journal)
    assert (seen.release, seen.corrections, seen.passed) == ("shop 2", 4, 2)
    assert {(one.conversation, one.reply, one.passes) for one in seen.own} == {
        ("talk", "30 days.", True), ("说", "30天。", False),
    }  # fmt: skip
    assert "days" not in text, "no word of a conversation travels"


def test_bundle_without_a_receipt_has_none_and_a_damaged_one_is_named(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert own_receipt(open_bundle(make_bundle("plain"), verify=True), journal).release == ""
        with pytest.raises(InputError, match=r"receipt\.json"):
            own_receipt(with_receipt(make_bundle(), "{}"), journal)
