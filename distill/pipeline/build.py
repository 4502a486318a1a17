"""The distill half of `edgedesk build`: from a recipe to a merged checkpoint, each stage a folder with a manifest.

    work/articles   the company's articles, one form          work/corrected the teacher, tuned on the records
    work/teacher    the base's GGUF, parity proof              work/capture   its top-k log-probabilities
    work/prompt     prompt.json and policies                   work/pruned    fewer layers, refitted
    work/records    train, valid, test                         work/student   after distillation
                                                               work/merged    student + LoRA, one checkpoint

Here stands the order of the stages and what makes each stale: a stage runs again only when what went into it has
changed. How a GGUF is written belongs to quantize; the front door passes it in, so that neither package imports the
other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.data.dataset import data_key, gather_articles, make_records
from distill.models.catalogue import Base, open_base, open_endpoint_teacher, open_gguf_teacher
from distill.models.openai_endpoint import is_endpoint
from distill.models.vocabulary_match import shared_vocabulary
from distill.pipeline.launch import launch_processes
from distill.pipeline.stages import (
    PARTS,
    TRAINING,
    capture_teacher,
    polish_student,
    prove_teacher,
    prune_teacher,
    write_prompt,
)
from distill.pipeline.teacher_replies import sample_teacher, sample_text_teacher
from distill.pipeline.workspace import STAGES, TEACHER_GGUF, Workspace, WriteGguf
from distill.recipe.recipe import Recipe, Student
from distill.recipe.settings import TrainSettings
from distill.student.on_policy import require_trl
from runtime import __version__
from runtime.base.build_stage import stage
from runtime.base.files import need_space, sha256_file
from runtime.base.manifest import Manifest, digest
from runtime.base.progress import bar, say
from runtime.engine.tools.tokenizer_parity import PROBES, prove_parity
from runtime.errors import InputError, ModelError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer

WORK_BYTES_PER_WEIGHT_BYTE = 6
"""Space a build takes beside the base's own weights: student, merged, f16, quantized, ONNX."""


@dataclass(frozen=True)
class Build(Workspace):
    """A work folder and the stages that fill it."""

    def run(self, write_gguf: WriteGguf) -> dict[str, Manifest]:
        """Run every stage that is stale; returns the manifests by stage name."""
        weights = sum(path.stat().st_size for path in self.base.checkpoint.glob("*.safetensors"))
        need_space(self.folder, WORK_BYTES_PER_WEIGHT_BYTE * weights, "the build")
        recipe, vocabulary = self.recipe, self.vocabulary
        done = self._prepared(write_gguf)
        packing = {
            "articles": _made(done["articles"]),
            "records": _made(done["records"]),
            # What only branches do with it makes nothing stale: another layout costs no second capture.
            "prompt": digest(self.spec.model_dump(exclude={"layout", "min_agreement"})),
            "teacher": self.base.fingerprint,
            "packing": recipe.packing.model_dump(exclude={"layout"}),
        }
        layouts = [recipe.packing.layout, recipe.layout, recipe.student.rope_factor]
        if recipe.student.learns:
            if (correction := recipe.teacher) is not None:
                corrects = {**packing, "correction": correction.model_dump()}
                self._stage(done, "corrected", corrects, lambda out: self._corrected(out, corrects, write_gguf))
                packing["teacher"] = _made(done["corrected"])
            to_repair, to_capture = self.shares()
            held_out = {"held_out": recipe.evaluate.packs}
            captured = {**packing, **held_out, "capture": recipe.capture.model_dump(), "packs": to_capture}
            if recipe.capture.samples:
                asked = {**packing, "capture": recipe.capture.model_dump(), "packs": to_capture}
                self._stage(done, "sampled", asked, lambda out: sample_teacher(self, out, asked))
                captured |= {"sampled": _made(done["sampled"])}
            captured |= {} if vocabulary is None else {"vocabulary": vocabulary}
            captured |= {"layout": layouts[0]} if recipe.capture.layout == "packing" else {}
            if self.forced("capture"):
                shutil.rmtree(self.folder / PARTS, ignore_errors=True)
            self._stage(done, "capture", captured, lambda out: capture_teacher(self, out, captured))
            if (layers := recipe.student.layers) is not None:
                cut = {**packing, **held_out, "student": recipe.student.model_dump(), "packs": to_repair}
                cut |= {"layout": layouts[0]} if layouts[0] != "exact" else {}
                self._stage(done, "pruned", cut, lambda out: prune_teacher(self, out, layers))
            source = {"pruned": _made(done["pruned"])} if "pruned" in done else {"model": self.released.fingerprint}
            learns = {
                "capture": _made(done["capture"]),
                **source,
                "kd": recipe.kd.model_dump(),
                "layouts": [layouts[0], layouts[0], layouts[2]],  # trained, measured, the context's growth
            }
            self._stage(done, "student", learns, lambda out: self._trained("student", learns, recipe.kd, out))
            if (wanted := recipe.polish) is not None:
                polishes = {"student": _made(done["student"]), **packing, "polish": wanted.model_dump()}
                self._stage(done, "polished", polishes, lambda out: polish_student(self, out, wanted))
        if self.teller:
            # No probabilities: the student is tuned on what its teacher says, beside the records' own replies.
            told = {
                **packing,
                "teller": self.teller.fingerprint,
                "capture": recipe.capture.model_dump(),
                "packs": recipe.lora.packs,
            }
            self._stage(done, "sampled", told, lambda out: sample_text_teacher(self, out, told, write_gguf))
        tuned = {
            **packing,
            "student": _made(done["student"]) if "student" in done else None,
            "lora": recipe.lora.model_dump(),
            "layouts": layouts,
            **({"polished": _made(done["polished"])} if "polished" in done else {}),
            **({"told": _made(done["sampled"])} if self.teller else {}),
        }
        self._stage(done, "merged", tuned, lambda out: self._trained("merged", tuned, recipe.lora, out))
        return done

    def _corrected(self, out: Path, inputs: Mapping[str, Any], write_gguf: WriteGguf) -> Mapping[str, Any]:
        assert self.recipe.teacher is not None
        figures = self._trained("corrected", inputs, self.recipe.teacher, out)
        write_gguf(out, out / TEACHER_GGUF)
        return figures

    def _trained(self, name: str, inputs: Mapping[str, Any], settings: TrainSettings, out: Path) -> Mapping[str, Any]:
        """A training stage, in this process or in those of the launcher."""
        if not self.launcher:
            return TRAINING[name](self, out, inputs)
        with self.checkpoints(name, inputs, settings) as scratch:
            return launch_processes(self, name, inputs, out, scratch)

    def predict(self, write_gguf: WriteGguf, records: int) -> dict[str, float]:
        """What the capture will cost, from about `records` records; runs the stages before it, and leaves nothing else.

        `UsageError` for a recipe that captures nothing.
        """
        from distill.teacher.capture_estimate import estimate_capture, sample_packs

        if not self.recipe.student.learns:
            raise UsageError("this recipe captures no teacher", where="[student]", hint="set student.layers or .model")
        self._prepared(write_gguf)
        wanted = self.recipe.capture
        packs = self.packs("train", limit=wanted.packs, skip=self.shares()[1])
        tokens = sum(len(pack.tokens) for pack in sample_packs(packs, records))
        # A corrected teacher would read no slower.
        with self.teacher_open(self.base.checkpoint) as teacher, bar("capturing a sample", tokens) as advance:
            return estimate_capture(
                teacher, packs, self.folder, records=records, k=wanted.k, states=wanted.states, advance=advance
            )

    def _prepared(self, write_gguf: WriteGguf) -> dict[str, Manifest]:
        """The stages up to the records, before a model learns or teaches anything."""
        recipe, data = self.recipe, data_key(self.recipe.data)
        own = recipe.prompt.template
        template = {"template": sha256_file(own)} if own else {}
        done: dict[str, Manifest] = {}
        self._stage(done, "articles", data, lambda out: gather_articles(recipe.data, out))
        self._stage(
            done,
            "teacher",
            {"base": self.base.fingerprint, "articles": _made(done["articles"]), **template},
            lambda out: prove_teacher(self, out, write_gguf),
        )
        self._stage(
            done,
            "prompt",
            {
                "base": self.base.fingerprint,
                "data": data,
                "prompt": {**recipe.prompt.model_dump(mode="json"), "layout": recipe.layout},
                "to": recipe.languages,
                **({"student": self.student.fingerprint} if self.student else {}),
                **template,
            },
            lambda out: write_prompt(self, out),
        )
        self._stage(
            done,
            "records",
            {"data": data, "languages": recipe.languages},
            lambda out: make_records(recipe, self.folder / "articles", out),
        )
        if not done["records"].figures["by_split"]["test"]:
            raise InputError(
                "no record is held out, so nothing could be measured",
                where=str(self.folder / "records"),
                hint="bring more conversations: one in ten is held out, by its name and data.seed",
            )
        return done

    def _stage(
        self, done: dict[str, Manifest], name: str, inputs: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
    ) -> None:
        # By place, not by name alone: the stage it begins from may be one that this recipe leaves out.
        inputs = {**inputs, "edgedesk": __version__}
        done[name], ran = stage(self.folder / name, name, inputs, work, force=self.forced(name))
        say(f"{name:<9} {'done in ' + str(done[name].figures['seconds']) + ' s' if ran else 'unchanged'}")


def _is_gguf(name: str) -> bool:
    return Path(name).suffix == ".gguf" and Path(name).is_file()


def _made(manifest: Manifest) -> str:
    """What identifies a stage's output: the hashes of its files."""
    return digest([entry.model_dump() for entry in manifest.files])


def _open_teacher(name: str, student: Base | None) -> Base:
    if is_endpoint(name):
        if student is None:
            raise UsageError("a server teaches another checkpoint", where="student.model", hint="name its student")
        return open_endpoint_teacher(name, student)
    return open_gguf_teacher(Path(name), student) if student and _is_gguf(name) else open_base(name, say)


def other_tokens(teacher: Base, student: Base, k: int) -> str:
    """Why the teacher's probabilities mean nothing to the student; empty where they do."""
    from distill.models.openai_endpoint import EndpointTeacher, open_endpoint, prove_same_tokens

    ours = JsonTokenizer(student.checkpoint)
    try:
        if teacher.endpoint:
            with open_endpoint(teacher.endpoint) as endpoint:
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
    """Open the base (fetching it when need be) and make the work folder; `UsageError` for a stage there is not.

    `launcher` is a command that starts the processes which train, such as `torchrun --nproc-per-node 4`; `shard` shares
    the student out among them.
    """
    if shard and not launcher:
        raise UsageError("one process has nobody to share with", where="--shard", hint="add --launcher")
    if force_from is not None and force_from not in STAGES:
        raise UsageError(f"no stage '{force_from}'", where="--from", hint=f"one of {', '.join(STAGES)}")
    student = open_base(recipe.student.model, say) if recipe.student.model else None
    teacher = base or recipe.base.model
    opened = _open_teacher(teacher, student)
    if student and (opened.gguf or opened.endpoint) and recipe.teacher:
        what = "a GGUF" if opened.gguf else "a server's model"
        raise UsageError(f"{what} cannot be corrected", where="[teacher]", hint="leave it out, or give a checkpoint")
    if recipe.polish is not None:
        require_trl()
        if opened.endpoint or (student and opened.gguf) or not recipe.student.learns:
            what = "polish needs a teacher that is a checkpoint, and a student that learns from it"
            raise UsageError(what, where="[polish]", hint="leave it out")
    work.mkdir(parents=True, exist_ok=True)
    if student and (why := other_tokens(opened, student, recipe.capture.k)):
        if recipe.teacher:
            raise UsageError("a teacher with other tokens cannot be corrected", where="[teacher]", hint="leave it out")
        say(f"text distillation: {why}. The student is tuned on replies of {opened.name} that the articles bear out")
        alone = Student(rope_factor=recipe.student.rope_factor)
        recipe = recipe.model_copy(update={"student": alone, "polish": None})
        return Build(recipe, work, student, force_from, teller=opened, launcher=launcher, shard=shard)
    return Build(recipe, work, opened, force_from, student, launcher=launcher, shard=shard)
