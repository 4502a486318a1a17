"""What comes after the must-haves: wrapping up, snoozing, export, practice, pages, settings of the branch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.client.answers import Conversation, Explanation, ReceiptAnswer
from runtime.events import Citation
from tests.support.console import CHINESE, INTERNAL, RETURNS, fill
from tui.app import reports
from tui.app.practice import hear_reply, make_customer
from tui.base.i18n import Catalogue
from tui.screens.page import PageScreen
from tui.screens.wrap import WrapScreen
from tui.services import export
from tui.services.reply_check import unsupported_parts
from tui.testing.fake_server import FakeServer

WHY = {
    "decided": "rule:legal",
    "intent": {"name": "refund_request", "confidence": "low"},
    "emotion": {"name": "angry", "confidence": "high", "corrected": True},
    "reasons": ["tone.angry"],
    "query": "退款多久到账",
    "sections": [
        {"ref": "a#b", "score": 1.234, "title": "Refunds", "heading": "When", "audience": "internal", "cited": True}
    ],
    "cited": [{"ref": "a#b", "sentences": ["It takes 5 days."]}],
    "unsupported": ["7 days"],
    "layout": "parallel",
    "layout_reason": "",
    "prompt_tokens": 812, "reused_tokens": 790, "computed_tokens": 22, "answer_tokens": 31,
    "model": "shop-2/q4_k_m",
    "times": {"queued_s": 0.5, "ttft_s": 0.61, "took_s": 2.5, "tokens_per_s": 40.0},
}  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_why_says_intent_rule_sources_reuse_bundle_and_times(lang: str) -> None:
    text = "\n".join(
        "\n".join([head, *lines]) for head, lines in reports.why_page(Explanation.parse(WHY), Catalogue(lang))
    )
    parts = [
        Catalogue(lang)("handoff.legal"),
        "refund_request",
        "angry",
        "退款多久到账",
        "1.23  Refunds > When",
        "It takes 5 days.",
        "7 days",
    ]
    for part in [*parts, "parallel", "790", "22", "shop-2/q4_k_m", "0.61", "40"]:
        assert part in text, part
    assert Catalogue(lang)("turn.internal") in text


async def test_the_privacy_lens_shows_every_field_that_would_leave_and_can_be_saved(
    open_console: Any, plain: FakeServer, tmp_path: Path
) -> None:
    row = {
        "key": "abc/1/2",
        "turn": 1,
        "question": "I am <NAME_1>",
        "draft": "30 天",
        "verdict": "edited",
        "rating": None,
    }
    plain.journal.pages["outbox"] = {"rows": [row]}
    async with open_console(plain, folder=tmp_path, size=(100, 40)) as console:
        await console.press("ctrl+l")
        await console.sees("1 rows waiting")
        for name, value in row.items():
            if value is not None:
                assert str(value) in console.text(), name
        await console.press("s")
        await console.sees("Saved as")
    assert "I am <NAME_1>" in (tmp_path / "exports" / "would-leave.txt").read_text(encoding="utf-8")


def test_a_hand_off_for_missing_knowledge_is_a_ticket_with_its_right_answer() -> None:
    rows = [
        {"handoff": "no_article", "question": "Do you ship to Zürich?", "lang": "en", "asked": "2026", "reply": "Yes."},
        {"handoff": "legal", "question": "I will sue"},
        {"handoff": "no_article", "question": "可以开发票吗", "lang": "zh", "asked": "2026"},
    ]
    blocks = reports.gaps_page(rows, Catalogue("en"))
    assert [head for head, _ in blocks[1:]] == ["Do you ship to Zürich?", "可以开发票吗"]
    assert "Right answer: Yes." in blocks[1][1]


@pytest.mark.parametrize(("lang", "head"), [("en", "shop 2 answers 1 of this branch's 2"), ("zh", "2 条更正中的 1 条")])
def test_improvement_receipt_is_one_line_and_a_list(lang: str, head: str) -> None:
    own = [
        {"conversation": "a", "turn": 1, "question": "How long?", "reply": "31 days.", "passes": False},
        {"conversation": "b", "turn": 2, "question": "多久？[/]", "reply": "30天。", "passes": True},
    ]
    receipt = ReceiptAnswer.parse({"release": "shop 2", "corrections": 9, "passed": 4, "own": own})
    words = Catalogue(lang)
    blocks = reports.receipt_page(receipt, words)
    assert head in blocks[0][0]
    assert blocks[0][1] == [words("receipt.all", passed=4, count=9)]
    assert [question for question, _ in blocks[1:]] == ["多久？[/]", "How long?"]
    assert blocks[1][1] == [words("receipt.right"), words("gaps.right", text="30天。")]
    assert reports.receipt_page(ReceiptAnswer(), words)[0][0] == words("receipt.none")


async def test_wrapping_up_sends_what_changed_and_closes(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain, size=(100, 30)) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("f12")
        await console.until(lambda: isinstance(console.app.screen, WrapScreen))
        await console.press("4", "tab", *"vip,退货", "tab", *"call back", "ctrl+s")
        await console.sees("Saved.")
        assert console.app.state.thread.meta.tags == ("vip", "退货")
    body = next(body for method, _, body in plain.journal.written if method == "PATCH")
    assert (body["satisfaction"], body["tags"], body["notes"]) == (4, ["vip", "退货"], "call back")
    assert (body["status"], body["summary"]) == ("closed", "How long?")


async def test_a_snoozed_conversation_goes_to_the_end_and_comes_back(open_console: Any, plain: FakeServer) -> None:
    fill(plain)
    async with open_console(plain, size=(140, 40)) as console:
        await console.ask("How long?")
        await console.phase("done")
        await console.press("ctrl+p", *"snooze", "enter")
        await console.sees("in 30 minutes")
        await console.press("enter")
        await console.sees("Snoozed. It will come back by itself.")
        await console.sees("snoozed until 10:10")
        plain.journal.states["c1"]["snooze_until"] = "2026-11-26T09:39:00.000+00:00"
        await console.until(lambda: console.app.state.inbox[0].conversation == "c1")
        assert console.app.state.inbox[0].status == "open"


async def test_export_writes_markdown_and_json(open_console: Any, plain: FakeServer, tmp_path: Path) -> None:
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("# How long?\x1b[2J")
        await console.phase("done")
        await console.press("f5")
        await console.until(lambda: console.app.state.unsaved() == [])
        await console.press("ctrl+p", *"export", "enter")
        await console.sees("Saved as")
    told = json.loads((tmp_path / "exports" / "c1.json").read_text(encoding="utf-8"))
    assert told["turns"][0]["feedback"]["verdict"] == "accepted"
    page = (tmp_path / "exports" / "c1.md").read_text(encoding="utf-8")
    assert "> # How long?" in page
    assert "\x1b" not in page
    assert "**Your reply**\n\n> You may return it within 30 days." in page


def test_export_names_are_safe_and_chinese_is_kept() -> None:
    assert export.file_name("../../退", "md") == "_______.md"
    feedback = {"verdict": "rejected", "reason": "过时", "reply": "14天"}
    turn = {"turn": 1, "state": "complete", "question": "多久", "draft": "30天", "feedback": feedback}
    page = export.as_markdown(Conversation.parse({"conversation": "c", "turns": [turn]}), Catalogue("zh"))
    assert "**正确答案**\n\n> 14天" in page
    assert "*已拒绝*: 过时" in page


@pytest.mark.parametrize(
    ("reply", "citations", "found"),
    [
        ("You have 30 days.", [RETURNS], []),
        ("You have 45 days.", [RETURNS], [("unsupported", "45 days")]),
        ("加急运费全额退还，请在7天内告诉我们。", [CHINESE], []),
        ("我们赔偿500元。", [CHINESE], [("unsupported", "500元"), ("unsupported", "我们赔偿500元。")]),
        ("Order 4711 is on its way.", [RETURNS], []),
        ("Up to 20 euros without asking.", [RETURNS, INTERNAL], [("internal", "Goodwill > How far you may go")]),
        ("I can give you 20 euros.", [RETURNS, INTERNAL], [("internal", "20 euros")]),
    ],
)  # fmt: skip
def test_the_guard_marks_what_no_public_source_supports(
    reply: str, citations: list[Citation], found: list[tuple[str, str]]
) -> None:
    got = unsupported_parts(reply, ["Where is order 4711?"], citations)
    assert set(found) <= set(got)
    assert bool(found) == bool(got)


def test_the_same_seed_is_the_same_customer_and_only_an_answer_helps() -> None:
    one, two = (make_customer(7, [RETURNS, INTERNAL, CHINESE], "en") for _ in range(2))
    assert one == two
    assert INTERNAL not in one.sections
    customer = make_customer(0, [RETURNS], "en")
    helped = hear_reply(customer, "You have 30 days.")
    assert (helped.over, helped.stars) == (True, 5)
    annoyed = hear_reply(hear_reply(customer, "No idea."), "Ask elsewhere for 99 euros.")
    assert (annoyed.over, annoyed.helped, annoyed.stars) == (True, 0, 1)
    assert annoyed.claimed


async def test_practice_brings_a_customer_and_ends_with_a_score(open_console: Any, plain: FakeServer) -> None:
    plain.search_hits = [RETURNS]
    async with open_console(plain, size=(140, 30)) as console:
        await console.press("ctrl+p", *"practise", "enter")
        await console.sees("PRACTICE: nothing is kept or sent")
        await console.phase("done")
        await console.sees("How long you have?")
        await console.press("f5")
        await console.until(lambda: isinstance(console.app.screen, PageScreen))
        await console.sees("1 of 1 questions answered")
        await console.sees("Satisfaction: 5 of 5")
        await console.until(lambda: console.app.state.unsaved() == [])
        assert "practice" in console.text()
        await console.press("escape", "ctrl+p", *"overview", "enter")
        await console.sees("not taken yet: 0")
        assert "Drafts of the latest" not in console.text(), "practice is counted"
    assert plain.asked[0][1].startswith("practice-")
    assert not [path for _, path, _ in plain.journal.written if path.endswith("feedback")]


async def test_the_branch_at_a_glance_and_the_shift(open_console: Any, plain: FakeServer) -> None:
    fill(plain)
    async with open_console(plain, size=(100, 40)) as console:
        await console.until(lambda: len(console.app.state.inbox) == 7)
        await console.press("ctrl+p", *"overview", "enter")
        await console.sees("sent as drafted: 1 (100 %)")
        assert "not taken yet: 2" in console.text()
        await console.press("escape", "ctrl+p", *"shift", "enter")
        await console.sees("4 waiting for an answer")
        await console.sees("1 snoozed")
        await console.press("escape", "ctrl+t")
        await console.sees("the customer asks for a person")


async def test_asking_again_after_a_broken_draft(open_console: Any, plain: FakeServer) -> None:
    plain.hold()
    async with open_console(plain) as console:
        await console.ask("How long?")
        plain.release(5)
        await console.sees("You may return it")
        await console.press("escape", "ctrl+u")
        await console.until(lambda: console.app.state.composer == "")
        plain.release(20)
        await console.press("ctrl+r")
        await console.phase("done")
    assert [question for question, _ in plain.asked] == ["How long?", "How long?"]
