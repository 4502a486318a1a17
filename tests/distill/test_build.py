"""The chain of stages: what has not changed is not done again, what has is, and nothing half-made is ever left."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distill import build as module
from distill.build import STAGES, Build, open_build
from distill.packs import Pack
from distill.recipe import Capture, Data, Evaluate, Packing, Prompt, Recipe, Simulation, Student, Tuning
from distill.train import DistillSettings
from quantize.gguf_writer import write_gguf
from runtime.errors import InputError, MissingError, ModelError, SpaceError, UsageError
from runtime.manifest import Manifest, read_manifest, verify

TEXTS = {
    "returns": ("How long you may return it: 30 days.", "Returning costs nothing."),
    "delivery": ("Delivery costs €4.90.", "We deliver on weekdays."),
}
RAN = "done in"


@pytest.fixture
def company(small_shop: Path) -> Path:
    for name, (one, two) in TEXTS.items():
        folder = small_shop / "articles"
        folder.mkdir(exist_ok=True)
        text = f"# {name.title()}\n\n## One {{#one}}\n\n{one}\n\n## Two {{#two}}\n\n{two} 可以。\n"
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (small_shop / "rules.md").write_text("Answer from the articles.\n")
    return small_shop


@pytest.fixture
def recipe(company: Path) -> Recipe:
    return Recipe(
        name="small",
        data=Data(
            articles={"en": company / "articles"},
            house_rules={"en": company / "rules.md"},
            policy={"en": company / "en" / "policy.toml"},
            simulate=Simulation(folders=(company / "en",), conversations=60),
        ),
        prompt=Prompt(articles=2),
        packing=Packing(records=4, tokens=900, refusals=1),
        capture=Capture(packs=2, k=8),
        student=Student(layers=3),
        kd=DistillSettings(precision="f32"),
        lora=Tuning(packs=2, rank=2, precision="f32"),
        evaluate=Evaluate(packs=1),
    )


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "a work folder"


@pytest.fixture
def run(recipe: Recipe, work: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """`run(**changes of the recipe)` builds and returns the names of the stages that ran."""

    def build(*, force_from: str | None = None, **changes: Any) -> list[str]:
        capsys.readouterr()
        made = recipe.model_copy(update=changes)
        open_build(made, work, base=str(tiny_llama), force_from=force_from).run(write_gguf)
        said = capsys.readouterr()
        assert said.out == ""  # stdout is data
        return [line.split()[0] for line in said.err.splitlines() if RAN in line]

    return build


def leftovers(work: Path) -> list[str]:
    return [path.name for path in work.rglob(".*")]


def test_a_second_run_does_nothing_and_the_first_leaves_whole_folders(
    run: Callable[..., list[str]], work: Path
) -> None:
    assert run() == list(STAGES)
    for name in STAGES:
        verify(work / name, read_manifest(work / name))
        assert read_manifest(work / name).figures["seconds"] >= 0
    assert leftovers(work) == []
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*")}
    assert run() == []
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*")} == before


def test_the_figures_of_a_build_are_all_measured(run: Callable[..., list[str]], work: Path) -> None:
    run()
    figures = {name: read_manifest(work / name).figures for name in STAGES}
    assert figures["teacher"]["parity_strings"] >= 300
    assert figures["student"]["layers"][0] == 0
    assert figures["student"]["layers"][-1] == 3
    assert len(figures["student"]["influence"]) == 4
    assert figures["student"]["held_out"]["tokens"] > 0
    assert figures["merged"]["largest_logit_difference"] < 1e-3
    assert figures["capture"]["packs"] == 2
    assert json.loads((work / "merged" / "config.json").read_text())["num_hidden_layers"] == 3


def test_only_what_rests_on_a_change_runs_again(run: Callable[..., list[str]], company: Path, recipe: Recipe) -> None:
    run()
    assert run(lora=recipe.lora.model_copy(update={"rank": 4})) == ["merged"]
    lora = {"lora": recipe.lora.model_copy(update={"rank": 4})}
    assert run(kd=recipe.kd.model_copy(update={"ce_weight": 0.5}), **lora) == ["student", "merged"]
    assert run(**lora) == ["student", "merged"]
    assert run(evaluate=Evaluate(packs=2), **lora)[0] == "student"
    assert run(capture=Capture(packs=1, k=8), **lora) == ["capture", "student", "merged"]
    packing = recipe.packing.model_copy(update={"records": 3})
    assert run(packing=packing, **lora) == ["capture", "student", "merged"]
    assert run(prompt=Prompt(articles=1), **lora) == ["prompt", "capture", "student", "merged"]


def test_a_changed_article_reaches_everything_that_reads_it(run: Callable[..., list[str]], company: Path) -> None:
    """Also where no record changes: the teacher reads the article's own words."""
    run()
    path = company / "articles" / "returns.md"
    path.write_text(path.read_text(encoding="utf-8").replace("30 days", "45 days"), encoding="utf-8")
    assert run() == ["articles", "teacher", "prompt", "records", "capture", "student", "merged"]


def test_a_changed_case_changes_records_but_not_the_teacher(run: Callable[..., list[str]], company: Path) -> None:
    run()
    path = company / "en" / "cases" / "returns.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("You have 30 days.", "You have 45 days."))
    ran = run()
    assert "teacher" not in ran
    assert ran[-4:] == ["records", "capture", "student", "merged"]


def test_another_base_starts_again_from_the_teacher(
    run: Callable[..., list[str]], recipe: Recipe, work: Path, tiny_qwen2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    open_build(recipe, work, base=str(tiny_qwen2)).run(write_gguf)
    ran = [line.split()[0] for line in capsys.readouterr().err.splitlines() if RAN in line]
    assert ran == ["teacher", "prompt", "capture", "student", "merged"]
    assert json.loads((work / "merged" / "config.json").read_text())["model_type"] == "qwen2"


def test_a_build_may_be_told_to_go_on_from_a_stage(run: Callable[..., list[str]]) -> None:
    run()
    assert run(force_from="student") == ["student", "merged"]
    assert run() == []


def test_a_stage_there_is_not_is_refused(run: Callable[..., list[str]], work: Path) -> None:
    with pytest.raises(UsageError, match=r"--from: no stage 'studnet'"):
        run(force_from="studnet")
    assert not work.exists()


def test_a_stage_folder_that_was_lost_or_lost_its_manifest_is_made_again(
    run: Callable[..., list[str]], work: Path
) -> None:
    run()
    shutil.rmtree(work / "merged")
    assert run() == ["merged"]
    (work / "merged" / "manifest.json").write_text("{")
    assert run() == ["merged"]


def test_without_layers_the_base_itself_is_tuned(run: Callable[..., list[str]], work: Path) -> None:
    assert run(student=Student()) == ["articles", "teacher", "prompt", "records", "merged"]
    assert json.loads((work / "merged" / "config.json").read_text())["num_hidden_layers"] == 4


@contextmanager
def stopped(*_: Any, **__: Any) -> Iterator[Callable[[int], None]]:
    """A progress bar under which somebody presses Ctrl-C."""

    def advance(_amount: int) -> None:
        raise KeyboardInterrupt

    yield advance


@pytest.mark.parametrize("stage", ["capture", "student", "merged"])
def test_ctrl_c_in_the_middle_of_a_stage_leaves_nothing_of_it_and_all_before_it(
    stage: str, run: Callable[..., list[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = {"capture": "capturing", "student": "distilling", "merged": "tuning"}
    real = module.bar
    monkeypatch.setattr(
        module, "bar", lambda what, *a, **k: (stopped if what.startswith(bars[stage]) else real)(what, *a, **k)
    )
    with pytest.raises(KeyboardInterrupt):
        run()
    assert leftovers(work) == []
    done = list(STAGES[: STAGES.index(stage)])
    assert sorted(path.name for path in work.iterdir()) == sorted(done)
    monkeypatch.undo()
    assert run() == list(STAGES[len(done) :])


@pytest.mark.parametrize(
    ("error", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left on device"), SpaceError)],
    ids=["Ctrl-C", "full disk"],
)
def test_a_stage_that_ends_early_keeps_the_folder_of_the_last_run(
    error: BaseException, seen: type[BaseException], recipe: Recipe, work: Path, tiny_llama: Path, company: Path
) -> None:
    open_build(recipe, work, base=str(tiny_llama)).run(write_gguf)
    before = read_manifest(work / "teacher")
    path = company / "articles" / "returns.md"
    path.write_text(path.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")

    def interrupted(_checkpoint: Path, out: Path) -> None:
        out.write_bytes(b"half")
        raise error

    with pytest.raises(seen):
        open_build(recipe, work, base=str(tiny_llama)).run(interrupted)
    assert leftovers(work) == []
    assert read_manifest(work / "teacher") == before
    verify(work / "teacher", before)


def test_a_base_that_llama_cpp_cuts_differently_is_refused_before_anything_is_learned(
    recipe: Recipe, work: Path, tiny_llama: Path, tiny_qwen2: Path
) -> None:
    with pytest.raises(ModelError, match="differently"):
        open_build(recipe, work, base=str(tiny_llama)).run(lambda _checkpoint, out: write_gguf(tiny_qwen2, out))
    assert [path.name for path in work.iterdir()] == ["articles"]


def test_too_little_space_is_said_before_the_first_stage(
    recipe: Recipe, work: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime import files

    usage = shutil.disk_usage("/")
    build = open_build(recipe, work, base=str(tiny_llama))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError, match="the build"):
        build.run(write_gguf)
    assert list(work.iterdir()) == []


def test_a_base_there_is_not_makes_no_work_folder(recipe: Recipe, work: Path) -> None:
    with pytest.raises(MissingError, match="no base model"):
        open_build(recipe, work, base="no-such-model")
    assert not work.exists()


def test_records_that_fit_no_pack_are_said(run: Callable[..., list[str]]) -> None:
    with pytest.raises(InputError, match="fits a prompt") as error:
        run(packing=Packing(tokens=128))
    assert "packing.tokens" in error.value.hint


def test_packs_hold_both_languages_and_the_seed_decides_their_order(
    recipe: Recipe, work: Path, company: Path, tiny_llama: Path
) -> None:
    zh = company / "zh-articles"
    zh.mkdir()
    for name in TEXTS:
        text = f"---\nlang: zh\n---\n# 退货{name}\n\n## 一 {{#one}}\n\n30天内可以退货。\n\n## 二 {{#two}}\n\n免费。\n"
        (zh / f"{name}.md").write_text(text, encoding="utf-8")
    data = recipe.data
    both = recipe.model_copy(
        update={
            "languages": ("en", "zh"),
            "student": Student(),
            "data": data.model_copy(
                update={
                    "articles": {**data.articles, "zh": zh},
                    "house_rules": {**data.house_rules, "zh": company / "rules.md"},
                    "policy": {**data.policy, "zh": company / "zh" / "policy.toml"},
                    "simulate": Simulation(folders=(company / "en", company / "zh"), conversations=60),
                }
            ),
        }
    )
    build = open_build(both, work, base=str(tiny_llama))
    manifests: dict[str, Manifest] = build.run(write_gguf)
    assert manifests["articles"].figures["articles"] == {"en": 2, "zh": 2}
    packs = build.packs("train", seed=1, limit=1000)
    chinese = [pack for pack in packs if "退货" in build.tokenizer.decode(pack.tokens[: pack.prefix])]
    assert 0 < len(chinese) < len(packs)
    assert packs == build.packs("train", seed=1, limit=1000)
    assert packs != build.packs("train", seed=2, limit=1000)
    assert build.packs("train", seed=1, limit=2) == packs[:2]
    assert not names(packs) & names(build.packs("test", seed=1, limit=1000))


def names(packs: list[Pack]) -> set[str]:
    return {name for pack in packs for name in pack.records}


def test_a_build_is_frozen(recipe: Recipe, work: Path, tiny_llama: Path) -> None:
    build = open_build(recipe, work, base=str(tiny_llama))
    assert isinstance(build, Build)
    with pytest.raises(AttributeError):
        build.work = work.parent  # type: ignore[misc]
