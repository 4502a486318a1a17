"""A build that cannot go on says why before hours are spent, and one that ends early leaves nothing half-made."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.data.prepare import split_of
from distill.pipeline import stages as module
from distill.pipeline.build import open_build
from distill.recipe.recipe import Capture, Data, Packing, Recipe, Student
from quantize.formats.gguf_writer import write_gguf
from runtime.base.manifest import read_manifest, verify
from runtime.errors import InputError, IntegrityError, MissingError, ModelError, SpaceError, UsageError
from tests.support.company import RUN, leftovers

SEED = Data.model_fields["seed"].default


def test_a_stage_there_is_not_is_refused(run: Callable[..., list[str]], work: Path) -> None:
    with pytest.raises(UsageError, match=r"--from: no stage 'studnet'"):
        run(force_from="studnet")
    assert not work.exists()


@contextmanager
def stopped(*_: Any, **__: Any) -> Iterator[Callable[[int], None]]:
    """A progress bar under which somebody presses Ctrl-C."""

    def advance(_amount: int) -> None:
        raise KeyboardInterrupt

    yield advance


@pytest.mark.parametrize("stage", ["tuned_teacher", "capture", "student", "merged"])
def test_ctrl_c_in_the_middle_of_a_stage_leaves_nothing_of_it_and_all_before_it(
    stage: str, run: Callable[..., list[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = {"tuned_teacher": "tuning the", "capture": "capturing", "student": "distilling", "merged": "tuning with"}
    real = module.bar
    monkeypatch.setattr(
        module, "bar", lambda what, *a, **k: (stopped if what.startswith(bars[stage]) else real)(what, *a, **k)
    )
    with pytest.raises(KeyboardInterrupt):
        run()
    assert leftovers(work) == []
    done = RUN[: RUN.index(stage)]
    assert sorted(path.name for path in work.iterdir()) == sorted(done)
    monkeypatch.undo()
    assert run() == RUN[len(done) :]


def test_a_capture_that_was_cut_off_goes_on_and_another_recipe_does_not_take_it_over(
    run: Callable[..., list[str]], recipe: Recipe, work: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = 0

    @contextmanager
    def second_pack(what: str, *_: Any, **__: Any) -> Iterator[Callable[[int], None]]:
        def advance(_amount: int) -> None:
            nonlocal packs
            packs += what.startswith("capturing")
            if packs > 1:
                raise KeyboardInterrupt

        yield advance

    build = replace(open_build(recipe, work, base=str(tiny_llama)), part_packs=1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "bar", second_pack)
        with pytest.raises(KeyboardInterrupt):
            build.run(write_gguf)
    assert (work / "capture.parts" / "part-00000.parquet").is_file()
    with pytest.raises(IntegrityError, match="capture changed"):
        run(capture=Capture(packs=2, k=4))
    made = build.run(write_gguf)
    assert made["capture"].figures["packs"] == 2
    assert not (work / "capture.parts").exists()


@pytest.mark.parametrize(
    ("error", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left on device"), SpaceError)],
    ids=["Ctrl-C", "full disk"],
)
def test_a_stage_that_ends_early_keeps_the_folder_of_the_last_run(
    error: BaseException, seen: type[BaseException], recipe: Recipe, built: Path, tiny_llama: Path, company: Path
) -> None:
    before = read_manifest(built / "teacher")
    path = company / "articles" / "returns.md"
    path.write_text(path.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")

    def interrupted(_checkpoint: Path, out: Path) -> None:
        out.write_bytes(b"half")
        raise error

    with pytest.raises(seen):
        open_build(recipe, built, base=str(tiny_llama)).run(interrupted)
    assert leftovers(built) == []
    assert read_manifest(built / "teacher") == before
    verify(built / "teacher", before)


def test_a_base_that_llama_cpp_cuts_differently_is_refused_before_anything_is_learned(
    recipe: Recipe, work: Path, tiny_llama: Path, tiny_qwen2: Path
) -> None:
    with pytest.raises(ModelError, match="differently"):
        open_build(recipe, work, base=str(tiny_llama)).run(lambda _checkpoint, out: write_gguf(tiny_qwen2, out))
    assert [path.name for path in work.iterdir()] == ["articles"]


def test_too_little_space_is_said_before_the_first_stage(
    recipe: Recipe, work: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.base import files

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


def test_records_that_fit_no_pack_are_said(run: Callable[..., list[str]], company: Path) -> None:
    (company / "rules.md").write_text("Answer from the articles. " * 100)
    with pytest.raises(InputError, match="fits a prompt") as error:
        run(packing=Packing(tokens=128))
    assert "packing.tokens" in error.value.hint


@pytest.mark.parametrize("layers", [3, None])
def test_that_nothing_is_held_out_is_said_before_the_long_stages(
    layers: int | None, run: Callable[..., list[str]], company: Path, work: Path
) -> None:
    """Two conversations: from three on, the one nearest to the test split is moved there."""
    names = [name for name in (f"c{n}" for n in range(40)) if split_of(name, SEED) == "train"][:2]
    rows = [f"{name},user,May I return item {name}?\n{name},assistant,Item {name} costs nothing." for name in names]
    (company / "en.csv").write_text("conversation,role,content\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match="held out"):
        run(student=Student(layers=layers))
    assert not {"capture", "merged"} & {path.name for path in work.iterdir()}


def test_that_no_held_out_record_fits_a_pack_is_said_before_the_capture(
    run: Callable[..., list[str]], company: Path, work: Path
) -> None:
    rows = []
    for name in (f"c{n}" for n in range(100, 140)):
        asked = "May I return item " * (900 if split_of(name, SEED) == "test" else 1)
        rows.append(f"{name},user,{asked} {name}?\n{name},assistant,Item {name} costs nothing.")
    (company / "en.csv").write_text("conversation,role,content\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match="no test record"):
        run()
    assert not (work / "capture").exists()
