"""The circle: a branch answers wrong, an agent corrects it, and the next release answers right and says so.

Every step is the product's own, on a tiny random model: journal, export, import, a build that tunes the last release
on the correction, bundle, receipt.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.recipe.recipe import (
    BaseChoice,
    Data,
    Evaluate,
    LastRelease,
    Packing,
    PromptChoice,
    Quantize,
    Recipe,
    Transcripts,
    Tuning,
)
from edgedesk_build import BuildReport, Chain
from runtime.base.settings import Settings
from runtime.bundle.generations import install
from runtime.cli.feedback import app
from runtime.desk.open_desk import open_desk
from runtime.events import AskRequest, Done
from runtime.feedback.learning import Correction
from runtime.feedback.receipt import ImprovementReceipt, answers_right
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import Feedback
from tests.support.company import write_company

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1800)]  # two builds
QUESTION = "How long may I return it?"
RIGHT = "You may return it within 30 days."


def feedback(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def build(recipe: Recipe, work: Path, **options: str) -> BuildReport:
    return Chain(recipe, work, **options).run()  # type: ignore[arg-type]


def ask(home: Path, question: str) -> str:
    with open_desk(home, Settings(threads=1, compile="off")) as desk:
        events = list(desk.ask(AskRequest(question=question, conversation="talk"), threading.Event()))
    assert isinstance(events[-1], Done), events[-1]
    with Journal(home / "journal.sqlite") as journal:
        return journal.turns("talk")[-1].draft


def test_correction_of_a_branch_is_answered_right_by_the_next_release_and_the_receipt_says_so(
    tmp_path: Path, tiny_llama: Path, tiny_encoder: Path
) -> None:
    write_company(tmp_path / "company")
    company = tmp_path / "company"
    recipe = Recipe(
        name="small",
        version="1",
        base=BaseChoice(model=str(tiny_llama), embedder=str(tiny_encoder)),
        data=Data(
            articles={"en": company / "articles"},
            house_rules={"en": company / "rules.md"},
            policy={"en": company / "policy.toml"},
            transcripts=(Transcripts(path=company / "en.csv"),),
        ),
        prompt=PromptChoice(articles=2, answer_tokens=24),
        packing=Packing(records=4, tokens=900, refusals=1),
        lora=Tuning(packs=1, rank=2, precision="f32"),
        quantize=Quantize(formats=("q8_0",), default="q8_0", onnx=False),
        evaluate=Evaluate(packs=1, questions=0),
    )
    first = build(recipe, tmp_path / "first")
    assert first.corrections == {}
    home = tmp_path / "home"
    install(first.bundle, home)
    wrong = ask(home, QUESTION)
    with Journal(home / "journal.sqlite") as journal:
        (turn,) = journal.turns("talk")
        journal.feed_back(turn.key, Feedback("edited", RIGHT, agent="ann"))
    correction = Correction(key="x/1", lang="en", question=QUESTION, draft=wrong, reply=RIGHT)
    assert not answers_right(correction, wrong)

    feedback("export", tmp_path / "out.jsonl", "--home", home)
    feedback("import", tmp_path / "out.jsonl", "--out", tmp_path / "imported")
    shutil.copytree(tmp_path / "first", tmp_path / "second")  # what has not changed is not made again
    second = build(
        recipe.model_copy(
            update={
                "version": "2",
                "base": BaseChoice(model=str(tmp_path / "first" / "merged"), embedder=str(tiny_encoder)),
                "data": recipe.data.model_copy(update={"feedback": tmp_path / "imported"}),
                "last_release": LastRelease(work=tmp_path / "first", replay=2),
                "lora": Tuning(packs=4, rank=16, epochs=60, learning_rate=0.01, precision="f32"),
            }
        ),
        tmp_path / "second",
    )
    assert second.corrections == {"corrections": 1, "passed": 1}
    install(second.bundle, home)
    right = ask(home, QUESTION)
    assert answers_right(correction, right), right
    receipt = ImprovementReceipt.model_validate_json((second.bundle / "report" / "receipt.json").read_bytes())
    assert (receipt.release, receipt.passed) == ("small 2", 1)
    with Journal(home / "journal.sqlite") as journal:
        assert receipt.corrections[0].key == f"{journal.alias('talk')}/1", "the branch finds its own correction"
    assert (
        json.loads((tmp_path / "second" / "records" / "manifest.json").read_text())["figures"]["feedback"]["new"] == 1
    )
