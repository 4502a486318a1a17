"""The stages as data: every key of a recipe makes stale the stages that depend on it, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from distill.models.catalogue import Base
from distill.pipeline.stage_table import INPUTS, STAGE_NAMES, STAGES, stages_from
from distill.pipeline.workspace import Workspace
from distill.recipe.recipe import Capture, LastRelease, Recipe, Student
from runtime.base.manifest import Manifest
from runtime.prompting.prompt_spec import ChatPieces, PromptSpec

LEARN = {"tuned_teacher", "teacher_replies", "capture", "pruned", "merged"}
"""Stages that read packs; `student` reads the capture."""
OTHER_HALF = {
    "name", "version", "base.embedder", "evaluate.questions", "evaluate.attacks", "evaluate.layout_keeps",
    "data.questions", "speech",
}  # fmt: skip
"""Keys that quantize or the front door reads."""
PIECES = ChatPieces(
    system_open="<s>", system_close="</s>", user_open="<u>", user_close="</u>", assistant_open="<a>",
    assistant_close="</a>", stop=("</a>",),
)  # fmt: skip


@pytest.fixture
def workspace(recipe: Recipe, company: Path, tmp_path: Path) -> Workspace:
    """No model and no stage is needed to ask what a stage depends on, only the prompt."""
    assert company.is_dir()
    recipe = recipe.model_copy(update={"capture": Capture(samples=1)})
    write_prompt(tmp_path, recipe)
    return Workspace(recipe, tmp_path, Base("base", tmp_path, None, "1" * 64, "MIT"))


def write_prompt(folder: Path, recipe: Recipe) -> None:
    spec = PromptSpec(
        pieces=PIECES,
        system=dict.fromkeys(recipe.languages, "Help."),
        refusal={},
        languages=recipe.languages,
        articles=recipe.prompt.articles,
        context_tokens=recipe.prompt.context_tokens,
        answer_tokens=recipe.prompt.answer_tokens,
        layout=recipe.layout,
        min_agreement=recipe.prompt.min_agreement,
    )
    (folder / "prompt").mkdir(exist_ok=True)
    (folder / "prompt" / "prompt.json").write_text(spec.model_dump_json())


def stale(before: Workspace, after: Workspace) -> set[str]:
    """Stages whose own inputs differ, earlier stages aside."""
    first = {stage.name: stage.inputs_of(before, {}) for stage in STAGES}
    write_prompt(after.folder, after.recipe)
    return {stage.name for stage in STAGES if stage.inputs_of(after, {}) != first[stage.name]}


def leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a recipe and what its field is annotated with."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.annotation


def changed(model: Any, key: str, annotation: Any) -> Any:
    """The model with another value under a dotted key."""
    name, _, rest = key.partition(".")
    value = getattr(model, name)
    return model.model_copy(update={name: changed(value, rest, annotation) if rest else other(value, annotation)})


def other(value: Any, annotation: Any) -> Any:
    """A value of the field's type that is not the one it has."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if kind is not type(None)]
    for kind in kinds:
        if get_origin(kind) is Literal:
            return next(choice for choice in get_args(kind) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, "x") if "str" in str(annotation) else value[1:]
    if isinstance(value, dict):
        return {}
    plain = next(kind for kind in kinds if kind in (int, float, str, Path))
    return {int: 3, float: 0.5, str: "x", Path: Path(__file__)}[plain]


def test_stage_table_every_key_of_a_recipe_makes_a_stage_stale(workspace: Workspace) -> None:
    keys = dict(leaves(workspace.recipe))
    ignored = {key for key in keys if key.startswith(("quantize.", "gate."))} | OTHER_HALF
    # Models count by what is in their files, which the fingerprints of the workspace say.
    ignored |= {"base.model", "student.model", "data.simulate", "data.faq", "last_release"}
    ignored |= {"data.engine"}  # the same records, whatever makes them
    forgotten = []
    for key, annotation in keys.items():
        if key not in ignored:
            after = replace(workspace, recipe=changed(workspace.recipe, key, annotation))
            forgotten += [] if stale(workspace, after) else [key]
    assert forgotten == []
    assert len(keys) > 90


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"kd": {"ce_weight": 0.5}}, {"student"}),
        ({"lora": {"rank": 4}}, {"merged"}),
        ({"lora": {"packs": 9}}, {"merged"}),
        ({"teacher": {"rank": 4}}, {"tuned_teacher"}),
        ({"teacher": {"packs": 9}}, {"tuned_teacher", "teacher_replies", "capture", "pruned"}),
        ({"student": {"repair_packs": 0}}, {"teacher_replies", "capture", "pruned"}),
        ({"student": {"layers": 2}}, {"pruned"}),
        ({"student": {"rope_factor": 2.0}}, {"student", "merged"}),
        ({"evaluate": {"packs": 2}}, {"capture", "pruned", "merged"}),
        ({"capture": {"k": 9}}, {"capture", "teacher_replies"}),
        ({"packing": {"records": 3}}, LEARN),
        ({"packing": {"layout": "parallel"}}, {"prompt", "pruned", "student", "merged"}),
        ({"prompt": {"layout": "parallel"}}, {"prompt", "merged"}),
        ({"prompt": {"min_agreement": 0.5}}, {"prompt"}),
        ({"prompt": {"articles": 1}}, {"prompt", *LEARN}),
    ],
)
def test_stage_table_a_change_makes_stale_what_depends_on_it_and_no_more(
    change: dict[str, dict[str, Any]], wanted: set[str], workspace: Workspace
) -> None:
    ((table, values),) = change.items()
    part = getattr(workspace.recipe, table).model_copy(update=values)
    after = replace(workspace, recipe=workspace.recipe.model_copy(update={table: part}))
    assert stale(workspace, after) == wanted


def test_stage_table_general_conversations_are_part_of_every_pack(workspace: Workspace, tmp_path: Path) -> None:
    """The records do not change with them, so the stages that read packs have to know the file itself."""
    replay = tmp_path / "replay.jsonl"
    replay.write_text("one")
    data = workspace.recipe.data.model_copy(update={"replay": replay})
    before = replace(workspace, recipe=workspace.recipe.model_copy(update={"data": data}))
    first = {stage.name: stage.inputs_of(before, {}) for stage in STAGES}
    replay.write_text("two")
    again = {stage.name for stage in STAGES if stage.inputs_of(before, {}) != first[stage.name]}
    assert again == LEARN


def test_stage_table_another_base_makes_all_stale_that_read_it(workspace: Workspace) -> None:
    after = replace(workspace, base=replace(workspace.base, fingerprint="2" * 64))
    assert stale(workspace, after) == {"teacher", "prompt", "student", *LEARN}


def test_stage_table_reads_earlier_stages_only_and_names_inputs_that_exist() -> None:
    for place, stage in enumerate(STAGES):
        assert set(stage.reads) <= set(STAGE_NAMES[:place]), stage.name
        assert set(stage.inputs) <= set(INPUTS), stage.name
    assert {name for stage in STAGES for name in stage.inputs} == set(INPUTS)


def test_stage_table_counts_files_of_stages_that_ran(workspace: Workspace) -> None:
    merged = STAGES[-1]
    manifest = Manifest(kind="student", inputs={}, files=(), figures={})
    assert merged.inputs_of(workspace, {})["reads"] == {}
    assert set(merged.inputs_of(workspace, {"student": manifest, "teacher": manifest})["reads"]) == {"student"}


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({}, set()),
        ({"capture": Capture()}, {"teacher_replies"}),
        ({"teacher": None}, {"tuned_teacher"}),
        ({"student": Student()}, {"tuned_teacher", "teacher_replies", "capture", "pruned", "student"}),
        ({"student": Student(model="other")}, {"pruned"}),
    ],
)
def test_stage_table_a_recipe_has_the_stages_it_asks_for(
    changes: dict[str, Any], left_out: set[str], workspace: Workspace
) -> None:
    work = replace(workspace, recipe=workspace.recipe.model_copy(update=changes))
    assert {stage.name for stage in STAGES if not stage.when(work)} == left_out


def test_stage_table_a_text_teacher_is_asked_for_replies(workspace: Workspace) -> None:
    recipe = workspace.recipe.model_copy(update={"student": Student(), "capture": Capture()})
    work = replace(workspace, recipe=recipe, text_teacher=workspace.base)
    names = [stage.name for stage in STAGES if stage.when(work)]
    assert names == ["articles", "teacher", "prompt", "records", "teacher_replies", "merged"]


def test_stages_from_a_stage_are_that_stage_and_all_later_ones() -> None:
    assert stages_from(None) == frozenset()
    assert stages_from("student") == {"student", "merged"}


def test_stage_table_records_depend_on_the_last_release_and_how_much_of_it_is_replayed(
    workspace: Workspace, tmp_path: Path
) -> None:
    records = tmp_path / "last" / "records"
    records.mkdir(parents=True)
    (records / "train.jsonl").write_text("{}\n")
    without = workspace.recipe.model_copy(update={"student": Student(), "teacher": None})
    plain = replace(workspace, recipe=without)
    last = LastRelease(work=tmp_path / "last", replay=1)
    tuned = replace(workspace, recipe=without.model_copy(update={"last_release": last}))
    assert stale(plain, tuned) == {"records"}
    more = without.model_copy(update={"last_release": last.model_copy(update={"replay": 2.0})})
    assert stale(tuned, replace(workspace, recipe=more)) == {"records"}
    before = {stage.name: stage.inputs_of(tuned, {}) for stage in STAGES}
    (records / "train.jsonl").write_text("{}\n{}\n")
    assert [stage.name for stage in STAGES if stage.inputs_of(tuned, {}) != before[stage.name]] == ["records"]
