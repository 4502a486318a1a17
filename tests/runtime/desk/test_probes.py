"""The trial of a generation: what it asks, what it takes from the last one, and what it leaves for the next start."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.bundle.bundle import Bundle
from runtime.bundle.generations import current_bundle
from runtime.desk import passed_trial
from runtime.desk.open_desk import open_desk
from runtime.desk.open_engine import FOLDER as KNOWLEDGE
from runtime.desk.passed_trial import FILE_NAME
from runtime.desk.probes import FOLDER, PROBES_FILE, ProbeReport, TrialLimits, judge, remember, run_probes
from runtime.engine.llama.self_test import FILE_NAME as VERDICT_FILE
from runtime.events import AskRequest, Done

SETTINGS = Settings(threads=1)
ENGLISH = {"question": "How long do I have to return an item?", "lang": "en", "contains": ["30 days"]}
CHINESE = {
    "question": "多长时间内可以退货？", "lang": "zh", "section": "returns-window#how-long", "contains": ["30天"],
}  # fmt: skip


@pytest.fixture
def bundle(make_home: Callable[..., Path], scripted_gguf: Path) -> Bundle:
    """An installed bundle with golden questions, whose model answers them right."""
    found = current_bundle(make_home(scripted_gguf, layout="sequential", languages=["en", "zh"]))
    write_probes(found, ENGLISH, CHINESE)
    return found


def write_probes(bundle: Bundle, *probes: object) -> None:
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in probes)
    (bundle.root / PROBES_FILE).write_text(lines, encoding="utf-8")


def home_of(bundle: Bundle) -> Path:
    return bundle.root.parents[1]


def run(bundle: Bundle, settings: Settings = SETTINGS) -> ProbeReport:
    return run_probes(bundle, home_of(bundle), settings)


def change(bundle: Bundle, name: str, old: str, new: str) -> None:
    path = bundle.articles_path / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_trial_after_one_that_was_passed_writes_only_what_articles_have_changed(bundle: Bundle) -> None:
    home = home_of(bundle)
    first = run(bundle)
    assert (first.asked, first.right, first.known, first.failure) == (2, 2, 0, "")
    assert run(bundle).known == 0, "a trial counts once it is said to be passed"
    remember(home, first)
    assert (home / FILE_NAME).stat().st_mode & 0o777 == 0o600
    again = run(bundle)
    assert (again.asked, again.right, again.known) == (2, 2, 1)
    assert again.first_word_s > 0, "that the model runs is shown by one answer at least"
    assert again.memory_mib > 0
    # The first question's article changes: it is written, the last is known.
    change(bundle, "en/returns-window.md", "most items", "nearly all items")
    assert (third := run(bundle)).known == 1
    assert third.answered != first.answered
    change(bundle, "zh/returns-window.md", "30天内退货", "14天内退货")
    both = run(bundle)
    assert (both.asked, both.known) == (2, 0)


def test_trial_finds_a_changed_article_wrong_although_the_last_was_passed(bundle: Bundle) -> None:
    remember(home_of(bundle), run(bundle))
    path = bundle.articles_path / "zh" / "returns-window.md"
    path.write_text(path.read_text(encoding="utf-8").replace("{#how-long}", "{#gone}"), encoding="utf-8")
    report = run(bundle)
    assert (report.asked, report.right) == (2, 1)
    assert "1 of 2 golden questions" in judge(report, TrialLimits(first_word_s=60, memory_mib=None))


def test_trial_asks_everything_again_once_what_answers_depend_on_has_changed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of(bundle)
    remember(home, run(bundle))
    assert run(bundle, Settings(threads=1, temperature=0.5)).known == 0
    with monkeypatch.context() as patch:
        patch.setattr(passed_trial, "processor_name", lambda: "another processor")
        assert run(bundle).known == 0
    with monkeypatch.context() as patch:
        patch.setattr(passed_trial, "build_of_llama", lambda: "another build")
        assert run(bundle).known == 0
    manifest = bundle.root / "manifest.json"
    said = manifest.read_text(encoding="utf-8")
    weights = next(one["sha256"] for one in json.loads(said)["files"] if one["path"].endswith("q4_k_m.gguf"))
    manifest.write_text(said.replace(weights, "0" * 64), encoding="utf-8")
    assert run(bundle).known == 0
    manifest.write_text(said, encoding="utf-8")
    assert run(bundle).known == 1
    (home / FILE_NAME).write_bytes(b"\xff{half")
    assert run(bundle).known == 0


def test_trial_does_not_take_a_wrong_answer_as_known(bundle: Bundle) -> None:
    write_probes(bundle, {**ENGLISH, "contains": ["90 days"]}, CHINESE)
    first = run(bundle)
    assert (first.right, len(first.answered)) == (1, 1)
    remember(home_of(bundle), first)
    again = run(bundle)
    assert (again.asked, again.right, again.known) == (2, 1, 1)


def test_trial_leaves_compiled_articles_and_the_self_tests_verdict_to_the_next_start(bundle: Bundle) -> None:
    home = home_of(bundle)
    assert run(bundle).right == 2
    assert not (home / FOLDER).exists()
    packs = {path.name: path.stat().st_mtime_ns for path in (home / KNOWLEDGE).glob("*.pack")}
    assert len(packs) >= 2
    verdict = home / KNOWLEDGE / VERDICT_FILE
    written = verdict.stat().st_mtime_ns
    with lock_home(home, "test"), open_desk(home, SETTINGS, one_question=True) as desk:
        done = list(desk.ask(AskRequest(question=str(ENGLISH["question"]), lang="en"), threading.Event()))[-1]
    assert isinstance(done, Done)
    assert done.reused_tokens > 0, "the articles that the trial has compiled are not compiled again"
    assert verdict.stat().st_mtime_ns == written, "nor is the self-test held again"
    assert {path.name for path in (home / KNOWLEDGE).glob("*.pack")} == set(packs)
