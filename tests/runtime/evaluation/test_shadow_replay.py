"""A candidate answers a branch's questions beside the current bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.base.jsonl import write_rows
from runtime.base.manifest import write_manifest
from runtime.cli.feedback import app
from runtime.errors import MissingError
from runtime.evaluation.answer_metrics import Answered
from runtime.evaluation.shadow_replay import WORDS, compare_answers, shadow_figures, shadow_page
from runtime.feedback.import_exports import ReplayedQuestion
from runtime.feedback.learning import Correction
from runtime.text.records import Question, Turn
from tests.support.branch import POLICY, make_gguf

HOSTILE = "<script>x</script>"


def answered(key: str, text: str, *, handed_off: bool = False, claims: int = 0) -> Answered:
    question = Question(id=key, lang="en", question=f"Question {key}? {HOSTILE}")
    return Answered(question, text, True, 1.0, handed_off, handed_off, ("9",) * claims)


CURRENT = [
    answered("a", "You have 30 days."),
    answered("b", "You have 14 days."),
    answered("c", "It costs 5 EUR."),
    answered("d", "Yes."),
]
CANDIDATE = [
    answered("a", "You have 30 days!"),
    answered("b", "You have 30 days."),
    answered("c", "", handed_off=True),
    answered("d", "Yes, 99 of 100.", claims=2),
]
CORRECTION = Correction(key="b", lang="en", question="?", draft="You have 14 days.", reply="You have 30 days.")


def test_shadow_replay_shows_first_what_should_be_read_before_a_release() -> None:
    compared = compare_answers(CURRENT, CANDIDATE, [CORRECTION])
    assert {one.key: one.marks for one in compared} == {
        "b": ["fixed"], "c": ["now_handed_off"], "d": ["unsupported"], "a": [],
    }  # fmt: skip
    assert compared[-1].key == "a"
    assert shadow_figures(compared) == {
        "questions": 4, "same": 1, "now_handed_off": 1, "now_answered": 0, "unsupported": [0, 1],
        "corrections": 1, "corrections_right": [0, 1],
    }  # fmt: skip
    back = compare_answers(CANDIDATE, CURRENT, [CORRECTION])
    assert {mark for one in back for mark in one.marks} == {"broken", "now_answered"}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_shadow_replay_page_is_in_one_language_and_shows_texts_as_text(lang: str) -> None:
    page = shadow_page(compare_answers(CURRENT, CANDIDATE, [CORRECTION]), ("shop <1>", "shop 2"), lang=lang)
    assert all(WORDS[lang][name] in page for name in ("title", "same", "fixed", "now_handed_off", "differences"))
    assert "<script>" not in page
    assert "shop &lt;1&gt;" in page
    assert WORDS[lang]["none"] in shadow_page(compare_answers(CURRENT, CURRENT), ("1", "2"), lang=lang)
    assert WORDS["en"].keys() == WORDS["zh"].keys()


@pytest.fixture
def bundles(make_bundle: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Two bundles whose models say different things, whatever they are asked."""
    made = []
    for version, said in (("1", "You have 14 days."), ("2", "You have 30 days.")):
        model = make_gguf(tmp_path / f"model-{version}.gguf", script=said)
        root = make_bundle(f"bundle-{version}", version)
        for quantization in ("q8_0", "q4_k_m"):
            shutil.copyfile(model, root / "model" / f"{quantization}.gguf")
        (root / "policy.toml").write_text(POLICY.format(min_similarity=0.3), encoding="utf-8")
        write_manifest(root, "bundle", {}, {"name": "shop", "version": version})
        made.append(root)
    return made[0], made[1]


def test_shadow_replay_asks_two_real_bundles_what_a_branch_was_asked(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    imported = tmp_path / "imported"
    before = (Turn(role="user", content="I bought a lamp."), Turn(role="assistant", content="Good."))
    questions = [
        ReplayedQuestion(
            key="x/1", asked="2026-11-29T09:00", lang="en", question="How long can I return an item?", context=before
        ),
        ReplayedQuestion(key="x/2", asked="2026-11-29T10:00", lang="en", question="I want a human agent"),
        ReplayedQuestion(key="old/1", asked="2026-10-01T10:00", lang="en", question="Old?"),
    ]
    write_rows(imported / "questions.jsonl", questions)
    correction = CORRECTION.model_copy(update={"key": "x/1"})
    write_rows(imported / "corrections.jsonl", [correction])
    arguments = ["shadow", imported, "--current", bundles[0], "--candidate", bundles[1], "--since", "2026-11-29"]
    page = tmp_path / "shadow.html"
    done = CliRunner().invoke(app, [*map(str, arguments), "--out", str(page), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["figures"]["questions"] == 2
    assert said["figures"]["corrections_right"] == [0, 1]
    first, second = said["answers"]
    assert (first["key"], first["current"], first["candidate"]) == ("x/1", "You have 14 days.", "You have 30 days.")
    assert second["handed_off"] == [True, True]
    assert "shop 2" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o777 == 0o600
    with pytest.raises(MissingError, match="no question was asked since"):
        CliRunner().invoke(app, [*map(str, arguments[:-1]), "2026-12-24"], catch_exceptions=False)
