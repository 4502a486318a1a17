"""The stages of the distill half in the order they run in, as data; what makes each stale is derived from its row.

A stage runs again when the files of a stage that it `reads` have changed, or one of its `inputs`. Both mistakes are
silent and dear: an input too few is a stale result, one too many captures a 13B teacher a second time. So there is one
table of stages and one of inputs, and `tests/distill/pipeline/test_stage_table.py` holds each key of a recipe against
the stages that it makes stale. Knows nothing of how a stage works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.dataset import gather_articles, hash_data
from distill.data.feedback_records import make_all_records
from distill.pipeline.stages import (
    capture_teacher,
    distil_student,
    prove_teacher,
    prune_teacher,
    tune_student,
    tune_teacher,
    write_prompt,
    write_teacher_gguf,
)
from distill.pipeline.teacher_replies import sample_teacher, sample_text_teacher
from distill.pipeline.workspace import StageContext, Workspace
from distill.recipe.recipe import Recipe
from distill.recipe.settings import TrainSettings
from runtime.base.build_stage import files_digest
from runtime.base.files import sha256_file
from runtime.base.manifest import Manifest, digest


def _last_release(recipe: Recipe) -> Any:
    """The records that are replayed, and how many; the checkpoint itself is the base."""
    last = recipe.last_release
    if last is None:
        return None
    records = last.work / "records"
    return {
        "replay": last.replay,
        "files": {path.name: sha256_file(path) for path in sorted(records.rglob("*.jsonl"))},
    }


INPUTS: Mapping[str, Callable[[Workspace], Any]] = {
    "base": lambda work: work.base.fingerprint,
    "student model": lambda work: work.student and work.student.fingerprint,
    "text teacher": lambda work: work.text_teacher and work.text_teacher.fingerprint,
    "vocabulary": lambda work: work.vocabulary,
    "last release": lambda work: _last_release(work.recipe),
    "article files": lambda work: hash_data(work.recipe.data, "articles"),
    "prompt files": lambda work: hash_data(work.recipe.data, "prompt"),
    "conversation files": lambda work: hash_data(work.recipe.data, "records"),
    "languages": lambda work: work.recipe.languages,
    "template": lambda work: work.recipe.prompt.template and sha256_file(work.recipe.prompt.template),
    "prompt": lambda work: work.recipe.prompt.model_dump(mode="json"),
    "branch layout": lambda work: work.recipe.layout,
    # What only branches do with the prompt makes no training stale: another layout costs no second capture.
    "prompt text": lambda work: digest(work.spec.model_dump(exclude={"layout", "min_agreement"})),
    "packing": lambda work: work.recipe.packing.model_dump(exclude={"layout"}),
    "replay": lambda work: work.recipe.data.replay and sha256_file(work.recipe.data.replay),
    "student layout": lambda work: work.recipe.packing.layout,
    "capture layout": lambda work: work.recipe.packing.layout if work.recipe.capture.layout == "packing" else None,
    "positions": lambda work: work.recipe.student.rope_factor,
    "held out": lambda work: work.recipe.evaluate.packs,
    "packs before refit": lambda work: work.shares()[0],
    "packs before capture": lambda work: work.shares()[1],
    "teacher": lambda work: work.recipe.teacher and work.recipe.teacher.model_dump(),
    "capture": lambda work: work.recipe.capture.model_dump(),
    "student": lambda work: work.recipe.student.model_dump(exclude={"rope_factor"}),
    "kd": lambda work: work.recipe.kd.model_dump(),
    "lora": lambda work: work.recipe.lora.model_dump(),
    # What a text teacher is asked: the questions of the packs that its student is tuned on.
    "text packs": lambda work: work.recipe.lora.packs if work.text_teacher else None,
}
"""Everything but files of earlier stages that a stage may depend on, by the name it has in a manifest."""

_PACKS_READ = ("articles", "records", "tuned_teacher")
_PACKS = ("base", "prompt text", "packing", "replay")
"""What decides the tokens of every pack and who reads them: inputs of every stage that learns or teaches."""


@dataclass(frozen=True)
class Stage:
    """One stage: what it is made from and how."""

    name: str
    make: Callable[[Workspace, Path, StageContext], Mapping[str, Any]]
    """Fills a folder and returns figures."""
    reads: tuple[str, ...] = ()
    """Earlier stages whose files it reads; those that a recipe leaves out do not count."""
    inputs: tuple[str, ...] = ()
    """Names of `INPUTS`."""
    when: Callable[[Workspace], bool] = lambda _work: True
    """Whether a build has the stage."""
    trains: Callable[[Recipe], TrainSettings] | None = None
    """Of a stage that trains, its settings: a launcher may start it in several processes."""
    finish: Callable[[Path, StageContext], None] | None = None
    """What one process does once `make` is through."""

    def inputs_of(self, work: Workspace, done: Mapping[str, Manifest]) -> dict[str, Any]:
        """What its manifest is compared with; `done` are the stages before it."""
        files = {name: files_digest(done[name]) for name in self.reads if name in done}
        return {"reads": files} | {name: INPUTS[name](work) for name in self.inputs}


def _learns(work: Workspace) -> bool:
    return work.recipe.student.learns


STAGES = (
    Stage("articles", lambda work, out, _: gather_articles(work.recipe.data, out), inputs=("article files",)),
    Stage("teacher", prove_teacher, ("articles",), ("base", "template")),
    Stage(
        "prompt",
        write_prompt,
        (),
        ("base", "student model", "prompt files", "languages", "prompt", "branch layout", "template"),
    ),
    Stage(
        "records",
        lambda work, out, _: make_all_records(work.recipe, work.folder / "articles", out),
        ("articles",),
        ("conversation files", "languages", "last release"),
    ),
    Stage(
        "tuned_teacher",
        tune_teacher,
        _PACKS_READ[:2],
        (*_PACKS, "teacher"),
        when=lambda work: _learns(work) and work.recipe.teacher is not None,
        trains=lambda recipe: recipe.teacher or recipe.lora,
        finish=write_teacher_gguf,
    ),
    Stage(
        "teacher_replies",
        lambda work, out, context: (sample_text_teacher if work.text_teacher else sample_teacher)(work, out, context),
        _PACKS_READ,
        (*_PACKS, "capture", "packs before capture", "text teacher", "text packs"),
        when=lambda work: work.text_teacher is not None or (_learns(work) and work.recipe.capture.samples > 0),
    ),
    Stage(
        "capture",
        capture_teacher,
        (*_PACKS_READ, "teacher_replies"),
        (*_PACKS, "held out", "capture", "capture layout", "packs before capture", "vocabulary"),
        when=_learns,
    ),
    Stage(
        "pruned",
        prune_teacher,
        _PACKS_READ,
        (*_PACKS, "held out", "student", "student layout", "packs before refit"),
        when=lambda work: work.recipe.student.layers is not None,
    ),
    Stage(
        "student",
        distil_student,
        ("capture", "pruned"),
        ("base", "student model", "kd", "student layout", "positions"),
        when=_learns,
        trains=lambda recipe: recipe.kd,
    ),
    Stage(
        "merged",
        tune_student,
        (*_PACKS_READ, "teacher_replies", "student"),
        (*_PACKS, "held out", "lora", "student layout", "branch layout", "positions"),
        trains=lambda recipe: recipe.lora,
    ),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
PREPARATION = ("articles", "teacher", "prompt", "records")
"""The stages before a model learns or teaches anything."""


def stages_from(name: str | None) -> frozenset[str]:
    """A stage and all that follow it; none without a name."""
    return frozenset() if name is None else frozenset(STAGE_NAMES[STAGE_NAMES.index(name) :])
