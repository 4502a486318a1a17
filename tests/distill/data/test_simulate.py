"""Simulated conversations: the same from the same seed, true to their cases, with gold labels and personal data."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from distill.data.answer_matching import match_answer
from distill.data.conversation import RawConversation
from distill.data.importers.transcripts import read_transcripts
from distill.data.prepare import prepare
from distill.data.simulate import Shares, simulate
from distill.recipe.transcript_settings import Transcripts
from runtime.base.jsonl import write_rows
from runtime.errors import InputError
from tests.support.paths import SHOP

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])


def written(path: Path, conversations: list[RawConversation]) -> bytes:
    write_rows(path, conversations)
    return path.read_bytes()


@LANGS
def test_same_seed_same_bytes(small_shop: Path, tmp_path: Path, lang: str) -> None:
    def run(seed: int) -> bytes:
        return written(tmp_path / "out.jsonl", list(simulate(small_shop / lang, conversations=50, seed=seed)))

    assert run(3) == run(3)
    assert run(3) != run(4)


@LANGS
def test_every_question_comes_up_before_any_comes_up_twice(small_shop: Path, lang: str) -> None:
    plain = Shares(
        turns=(1.0,),
        unanswerable=0,
        greeting=0,
        personal=0,
        lower=0,
        typo=0,
        slang=0,
        no_full_stop=0,
        moods={"calm": 1},
    )
    conversations = list(simulate(small_shop / lang, conversations=8, seed=1, shares=plain))
    asked = [conversation.turns[0].evidence for conversation in conversations]
    assert len(set(asked[:4])) == len(set(asked[4:])) == 4


@LANGS
def test_answers_and_gold_are_the_cases_own(small_shop: Path, lang: str) -> None:
    answers = {"en": {"returns": "You have 30 days.", "delivery": "Delivery costs €4.90."}}
    answers["zh"] = {"returns": "30天内可以退。", "delivery": "运费4.90欧元。"}
    seen = set()
    for conversation in simulate(small_shop / lang, conversations=80, seed=5):
        for user, reply in zip(conversation.turns[::2], conversation.turns[1::2], strict=True):
            assert (user.role, reply.role) == ("user", "assistant")
            seen.add(user.intent)
            if user.evidence:
                assert reply.content == answers[lang][user.evidence[0].split("#")[0]]
            elif user.intent == "out_of_scope":
                assert reply.content == "I do not know. 不知道。"
            for value in user.entities.values():
                assert value.lower() in user.content.lower()
            assert "{" not in user.content
    assert seen == {"returns_inquiry", "delivery_inquiry", "out_of_scope", "small_talk"}


def test_one_customer_has_one_order_and_one_name(small_shop: Path) -> None:
    for conversation in simulate(small_shop / "en", conversations=100, seed=2):
        orders = {turn.entities["order_id"] for turn in conversation.turns if "order_id" in turn.entities}
        assert len(orders) <= 1


def test_an_unfilled_slot_is_named_with_its_file(small_shop: Path) -> None:
    case = small_shop / "en" / "cases" / "returns.toml"
    case.write_text(case.read_text().replace("{product}", "{gadget}"))
    with pytest.raises(InputError, match=r"cases/returns\.toml: slot '\{gadget\}'"):
        list(simulate(small_shop / "en", conversations=1, seed=1))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("cases/returns.toml", "intent", "indent", "unknown key 'case.0..indent'"),
        ("cases/returns.toml", "returns#one", "delivery#one", "of another article"),
        ("cases/returns.toml", "[[case]]", "[[case]", "not TOML"),
        ("simulate.toml", "[moods.angry]", "", "mood 'angry' is missing"),
        ("policy.toml", "text", "tekst", "text is missing"),
    ],
)
def test_malformed_files_are_refused_by_name(small_shop: Path, file: str, old: str, new: str, message: str) -> None:
    path = small_shop / "en" / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        list(simulate(small_shop / "en", conversations=1, seed=1))
    assert file in error.value.where


@LANGS
def test_the_shop_gives_1500_conversations_in_seconds_and_no_planted_value_gets_through(
    tmp_path: Path, lang: str
) -> None:
    """Part of S11."""
    if not (SHOP / lang / "simulate.toml").exists():
        pytest.skip("the example shop is not there")
    start = time.monotonic()
    conversations = list(simulate(SHOP / lang, conversations=1500, seed=7))
    assert time.monotonic() - start < 10
    planted = {
        value
        for conversation in conversations
        for turn in conversation.turns
        for key, value in turn.entities.items()
        if key in ("name", "email", "phone", "order_id", "address")
    }
    users = [turn for conversation in conversations for turn in conversation.turns if turn.role == "user"]
    off = sum(turn.intent == "out_of_scope" for turn in users)
    assert len(planted) > 400
    assert 0.12 < off / len(users) < 0.18
    report = prepare(conversations, tmp_path / "records", seed=7)
    assert report["kept"] > 2500
    text = "".join((tmp_path / "records" / f"{split}.jsonl").read_text() for split in ("train", "valid", "test"))
    assert [value for value in planted if value in text] == []


def test_what_is_written_reads_back(small_shop: Path, tmp_path: Path) -> None:
    conversations = list(simulate(small_shop / "zh", conversations=5, seed=1))
    written(tmp_path / "t.jsonl", conversations)
    back = [
        each.model_copy(update={"where": ""})
        for each in read_transcripts(Transcripts(path=tmp_path / "t.jsonl"))
        if not isinstance(each, InputError)
    ]
    assert back == conversations


def test_the_answer_that_fits_is_given() -> None:
    parking = ("Parking is free for 90 minutes. After that it costs €1.50.", "The height limit is 2.05 metres.")
    rng = random.Random(0)
    for _ in range(5):
        assert match_answer("How long can I park for free?", parking, rng) == parking[0]
        assert match_answer("What height may my van have?", parking, rng) == parking[1]
    chinese = ("保管期为7天，请带好证件。", "逾期未取的包裹会退回，不退运费。")
    assert match_answer("没去取，运费退吗？", chinese, rng) == chinese[1]
    same = ("You have 30 days to return it.", "You have 30 days for returning it.")
    assert {match_answer("How long?", same, random.Random(seed)) for seed in range(20)} == set(same)
