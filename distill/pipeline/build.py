"""The distill half of `edgedesk build`: from a recipe to a merged checkpoint, each stage a folder with a manifest.

    articles   the company's articles, one form       tuned_teacher    the base, tuned on the records
    teacher    the base's GGUF, proof of parity       teacher_replies  replies that the teacher writes itself
    prompt     prompt.json and policies               capture          its top-k log-probabilities
    records    train, valid, test                     pruned           fewer layers, refitted
                                                      student          after distillation
                                                      merged           student + LoRA, one checkpoint

A stage runs again only when what went into it has changed (`distill.pipeline.stage_table`). How a GGUF is written
belongs to quantize; the front door passes it in, so that neither package imports the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.models.catalogue import Base, open_base, open_endpoint_teacher, open_gguf_teacher
from distill.models.openai_endpoint import Endpoint, EndpointTeacher, is_endpoint, open_endpoint, prove_same_tokens
from distill.models.shape import checkpoint_shape
from distill.models.vocabulary_match import shared_vocabulary
from distill.pipeline.launch import launch_processes
from distill.pipeline.preflight import check_shapes
from distill.pipeline.stage_table import PREPARATION, STAGE_NAMES, STAGES, Stage, stages_from
from distill.pipeline.workspace import StageContext, Workspace, WriteGguf
from distill.recipe.recipe import Recipe, Student
from runtime import __version__
from runtime.base.build_stage import StageRunner
from runtime.base.files import need_space
from runtime.base.manifest import Manifest
from runtime.base.progress import bar, say
from runtime.engine.tools.tokenizer_parity import PROBES, prove_parity
from runtime.errors import InputError, ModelError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer

Connect = Callable[[str], AbstractContextManager[Endpoint]]
WORK_BYTES_PER_WEIGHT_BYTE = 6
"""Space that a build needs besides the base's own weights: student, merged, f16, quantized, ONNX."""


@dataclass(frozen=True)
class Build(Workspace):
    """A work folder and the stages that fill it."""

    def run(self, write_gguf: WriteGguf) -> dict[str, Manifest]:
        """Run every stage that is stale; returns the manifests by stage name."""
        weights = sum(path.stat().st_size for path in self.base.checkpoint.glob("*.safetensors"))
        need_space(self.folder, WORK_BYTES_PER_WEIGHT_BYTE * weights, "the build")
        runner = self._prepare(write_gguf)
        for row in STAGES:
            if row.name not in PREPARATION and row.when(self):
                self._run(runner, row, write_gguf)
        return runner.manifests

    def predict(self, write_gguf: WriteGguf, records: int) -> dict[str, float]:
        """What the capture will cost, from about `records` records; leaves only the stages before it.

        `UsageError` for a recipe that captures nothing.
        """
        from distill.teacher.capture_estimate import estimate_capture, sample_packs

        if not self.recipe.student.learns:
            raise UsageError("this recipe captures no teacher", where="student", hint="set student.layers or .model")
        self._prepare(write_gguf)
        wanted = self.recipe.capture
        packs = self.packs("train", limit=wanted.packs, skip=self.shares()[1])
        tokens = sum(len(pack.tokens) for pack in sample_packs(packs, records))
        # The base stands in for the tuned teacher, which reads no slower.
        with self.teacher_open(self.base.checkpoint) as teacher, bar("capturing a sample", tokens) as advance:
            return estimate_capture(
                teacher, packs, self.folder, records=records, k=wanted.k, states=wanted.states, advance=advance
            )

    def _prepare(self, write_gguf: WriteGguf) -> StageRunner:
        """The stages up to the records; `InputError` where none is held out, before hours are spent."""
        runner = StageRunner(say, force=self.forced_stages)
        for row in STAGES:
            if row.name in PREPARATION:
                self._run(runner, row, write_gguf)
        if not runner.manifests["records"].figures["by_split"]["test"]:
            raise InputError(
                "no record is held out, so nothing could be measured",
                where=str(self.folder / "records"),
                hint="bring more conversations: one in ten is held out, by its name and data.seed",
            )
        return runner

    def _run(self, runner: StageRunner, row: Stage, write_gguf: WriteGguf) -> None:
        inputs = {**row.inputs_of(self, runner.manifests), "edgedesk": __version__}
        context = StageContext(inputs, write_gguf)

        def make(out: Path) -> Mapping[str, Any]:
            if row.trains is not None and self.launcher:
                with self.checkpoints(row.name, inputs, row.trains(self.recipe)) as scratch:
                    figures: Mapping[str, Any] = launch_processes(self, row.name, inputs, out, scratch)
            else:
                figures = row.make(self, out, context)
            if row.finish is not None:
                row.finish(out, context)
            return figures

        runner.run(row.name, self.folder / row.name, inputs, make)


def _is_gguf(name: str) -> bool:
    return Path(name).suffix == ".gguf" and Path(name).is_file()


def _open_teacher(name: str, student: Base | None) -> Base:
    if is_endpoint(name):
        if student is None:
            raise UsageError("a server teaches another checkpoint", where="student.model", hint="name its student")
        return open_endpoint_teacher(name, student)
    return open_gguf_teacher(Path(name), student) if student and _is_gguf(name) else open_base(name, say)


def _check_teacher(recipe: Recipe, teacher: Base, student: Base | None) -> None:
    """`UsageError` for what a GGUF or a server cannot do as a teacher of another checkpoint."""
    if student is None or not (teacher.gguf or teacher.endpoint):
        return
    kind = "server" if teacher.endpoint else "GGUF"
    if recipe.teacher:
        raise UsageError(
            "a GGUF or server teacher cannot be fine-tuned", where="teacher", hint="leave it out, or give a checkpoint"
        )
    if recipe.capture.states:
        raise UsageError(f"a {kind} teacher gives no hidden states", where="capture.states", hint="leave it out")
    if recipe.capture.layout == "packing" and recipe.packing.layout != "exact":
        raise UsageError(
            f"a {kind} teacher reads articles plainly only",
            where="capture.layout",
            hint='leave it "exact": the student still learns to read compiled articles',
        )


def token_difference(teacher: Base, student: Base, k: int, connect: Connect = open_endpoint) -> str:
    """Why the teacher's probabilities cannot be learned by the student; empty where they can.

    `connect` opens the server of a teacher that has one.
    """
    ours = JsonTokenizer(student.checkpoint)
    try:
        if teacher.endpoint:
            with connect(teacher.endpoint) as endpoint:
                prove_same_tokens(ours, endpoint, PROBES)
                EndpointTeacher(endpoint, len(PROBES), k)
        elif teacher.gguf and teacher.checkpoint == student.checkpoint:
            prove_parity(ours, teacher.gguf, PROBES)
        else:
            shared_vocabulary(teacher.checkpoint, student.checkpoint)
    except (ModelError, UsageError) as error:
        return error.what
    return ""


def open_build(
    recipe: Recipe,
    work: Path,
    *,
    base: str | None = None,
    force_from: str | None = None,
    launcher: str = "",
    shard: bool = False,
) -> Build:
    """Open the models (fetching them when need be), check the recipe against them, and make the work folder.

    `force_from` is a stage that runs though nothing has changed, with all that follow; `launcher` a command that starts
    the processes which train, such as `torchrun --nproc-per-node 4`; `shard` shares the student's weights out among
    them. `UsageError` naming the flag or key that is wrong.
    """
    if shard and not launcher:
        raise UsageError("--shard needs more than one process", where="--shard", hint="add --launcher")
    if force_from is not None and force_from not in STAGE_NAMES:
        raise UsageError(f"no stage '{force_from}'", where="--from", hint=f"one of {', '.join(STAGE_NAMES)}")
    forced = stages_from(force_from)
    student = open_base(recipe.student.model, say) if recipe.student.model else None
    opened = _open_teacher(base or recipe.base.model, student)
    if student and (opened.gguf or opened.endpoint) and recipe.teacher:
        raise UsageError(
            "a GGUF or server teacher cannot be fine-tuned",
            where="teacher",
            hint="leave it out, or give a checkpoint",
        )
    _check_teacher(recipe, opened, student)
    check_shapes(recipe, checkpoint_shape(opened.checkpoint), checkpoint_shape(student.checkpoint) if student else None)
    work.mkdir(parents=True, exist_ok=True)
    if student and (why := token_difference(opened, student, recipe.capture.k)):
        if recipe.teacher:
            raise UsageError(
                "a teacher with other tokens than its student cannot be fine-tuned",
                where="teacher",
                hint="leave it out",
            )
        say(f"text distillation: {why}. The student is tuned on replies of {opened.name} that the articles support")
        recipe = recipe.model_copy(update={"student": Student(rope_factor=recipe.student.rope_factor)})
        return Build(recipe, work, student, forced, text_teacher=opened, launcher=launcher, shard=shard)
    return Build(recipe, work, opened, forced, student, launcher=launcher, shard=shard)
