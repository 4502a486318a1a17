"""A company of two articles and eighty conversations, and builds of its model: what tests of the stages start from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.pipeline.build import open_build
from distill.pipeline.stage_table import STAGE_NAMES
from distill.recipe.recipe import Capture, Data, Evaluate, Packing, PromptChoice, Recipe, Student, Transcripts, Tuning
from distill.recipe.settings import DistillSettings
from quantize.formats.gguf_writer import write_gguf

TEXTS = {
    "returns": ("How long you may return it: 30 days.", "Returning costs nothing."),
    "delivery": ("Delivery costs €4.90.", "We deliver on weekdays."),
}
RAN = "done in"
RUN = [name for name in STAGE_NAMES if name != "teacher_replies"]
"""What a recipe without `capture.samples` runs."""
LEARNING = ["tuned_teacher", "capture", "pruned", "student", "merged"]
"""Stages that rest on the records."""


def chats(ask: str, reply: str, start: int) -> str:
    """Forty conversations as CSV, no two alike."""
    rows = [f"c{n},user,{ask} {n}?\nc{n},assistant,{reply} {n}." for n in range(start, start + 40)]
    return "conversation,role,content\n" + "\n".join(rows) + "\n"


def write_company(root: Path) -> None:
    """Two articles, house rules, policies, and transcripts in two languages."""
    (root / "articles").mkdir(parents=True)
    for name, (one, two) in TEXTS.items():
        text = f"# {name.title()}\n\n## One {{#one}}\n\n{one}\n\n## Two {{#two}}\n\n{two} 可以。\n"
        (root / "articles" / f"{name}.md").write_text(text, encoding="utf-8")
    (root / "en.csv").write_text(chats("May I return item", "It costs nothing to return item", 100))
    (root / "zh.csv").write_text(chats("可以退货吗", "免费退货", 500), encoding="utf-8")
    (root / "rules.md").write_text("Answer from the articles.\n")
    (root / "policy.toml").write_text('[refusal]\ntext = "I do not know. 不知道。"\n', encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every test has its company and its work folder: stages know files by their paths."""
    return tmp_path_factory.mktemp("build") / "here"


@pytest.fixture(scope="module")
def recipe(root: Path) -> Recipe:
    company = root / "company"
    return Recipe(
        name="small",
        data=Data(
            articles={"en": company / "articles"},
            house_rules={"en": company / "rules.md"},
            policy={"en": company / "policy.toml"},
            transcripts=(Transcripts(path=company / "en.csv"),),
        ),
        prompt=PromptChoice(articles=2),
        packing=Packing(records=4, tokens=900, refusals=1),
        teacher=Tuning(packs=1, rank=2, precision="f32"),
        capture=Capture(packs=2, k=8),
        student=Student(layers=3),
        kd=DistillSettings(precision="f32"),
        lora=Tuning(packs=2, rank=2, precision="f32"),
        evaluate=Evaluate(packs=1, attacks=2),
    )


@pytest.fixture
def company(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    write_company(root / "company")
    return root / "company"


@pytest.fixture
def work(root: Path, company: Path) -> Path:
    """Where nothing has been built yet."""
    return root / "a work folder"


@pytest.fixture(scope="module")
def finished(root: Path, recipe: Recipe, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder after its first build, kept aside."""
    shutil.rmtree(root, ignore_errors=True)
    write_company(root / "company")
    open_build(recipe, root / "a work folder", base=str(tiny_llama)).run(write_gguf)
    return shutil.copytree(root / "a work folder", tmp_path_factory.mktemp("finished") / "work")


@pytest.fixture
def built(finished: Path, work: Path) -> Path:
    """A work folder after its first build."""
    return shutil.copytree(finished, work)


@pytest.fixture
def run(recipe: Recipe, work: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """`run(**changes of the recipe)` builds and returns the names of the stages that ran."""

    def build(*, force_from: str | None = None, base: Path = tiny_llama, **changes: Any) -> list[str]:
        capsys.readouterr()
        made = recipe.model_copy(update=changes)
        open_build(made, work, base=str(base), force_from=force_from).run(write_gguf)
        said = capsys.readouterr()
        assert said.out == ""  # stdout is data
        return [line.split()[0] for line in said.err.splitlines() if RAN in line]

    return build


def leftovers(work: Path) -> list[str]:
    return [path.name for path in work.rglob(".*")]
