"""The distill half of `edgedesk build`: from a recipe to a merged checkpoint, each stage a folder with a manifest.

    work/articles   the company's articles, one form          work/corrected the teacher, tuned on the records
    work/teacher    the base's GGUF, parity proof              work/capture   its top-k log-probabilities
    work/prompt     prompt.json and policies                   work/pruned    fewer layers, refitted
    work/records    train, valid, test                         work/student   after distillation
                                                               work/merged    student + LoRA, one checkpoint

A stage runs again only when what went into it has changed. How a GGUF is written belongs to quantize; the front door
passes it in, so that neither package imports the other.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.corpus import (
    copy_policies,
    data_key,
    gather_articles,
    make_prompt,
    make_records,
    neighbour_finder,
    read_split,
    sections_by_ref,
)
from distill.models import Base, open_base, open_gguf_teacher
from distill.packs import Pack, cover_first, pack_records
from distill.parts import Parts
from distill.recipe import Recipe, Tuning
from distill.tokenizer import chat_pieces
from distill.train import TrainSettings
from distill.vocabulary import shared_vocabulary
from runtime import __version__
from runtime.articles import Section, load_articles
from runtime.errors import InputError, ModelError, UsageError
from runtime.files import need_space, read_text, write_atomic
from runtime.manifest import Manifest, stage
from runtime.parity import parity_strings, prove_parity
from runtime.progress import bar, say
from runtime.prompt import PromptSpec
from runtime.record import Record, write_rows
from runtime.tokenizer import JsonTokenizer

WriteGguf = Callable[[Path, Path], None]
"""(checkpoint folder, file to write): an f16 GGUF of a checkpoint."""
STAGES = ("articles", "teacher", "prompt", "records", "corrected", "sampled", "capture", "pruned", "student", "merged")
INFLUENCE_PACKS = 4
PACK_SEED = 1
TEACHER_GGUF = "teacher.gguf"
SAMPLED = "train.jsonl"
"""In sampled/: records with replies of the teacher's own."""
PARTS = "capture.parts"
"""What a capture that was cut off has finished; gone when it is whole."""
HELD_OUT = "held_out.safetensors"
"""In capture/: what the student is compared with."""
WORK_BYTES_PER_WEIGHT_BYTE = 6
"""Space a build takes beside the base's own weights: student, merged, f16, quantized, ONNX."""


@dataclass(frozen=True)
class Build:
    """One recipe in one work folder."""

    recipe: Recipe
    work: Path
    base: Base
    force_from: str | None = None
    student: Base | None = None
    """The checkpoint that learns, where it is not the pruned base."""

    @property
    def teaches_as_gguf(self) -> bool:
        """Whether the teacher is read by llama.cpp: a GGUF whose student is a checkpoint of its own."""
        return self.student is not None and self.base.gguf is not None

    @property
    def released(self) -> Base:
        """What the finished model descends from."""
        return self.student or self.base

    @cached_property
    def vocabulary(self) -> int | None:
        """Ids that teacher and student share; None where the student is cut out of the teacher."""
        if self.student is None:
            return None
        return shared_vocabulary(self.base.checkpoint, self.student.checkpoint)

    def run(self, write_gguf: WriteGguf) -> dict[str, Manifest]:
        """Run every stage that is stale; returns the manifests by stage name."""
        weights = sum(path.stat().st_size for path in self.base.checkpoint.glob("*.safetensors"))
        need_space(self.work, WORK_BYTES_PER_WEIGHT_BYTE * weights, "the build")
        recipe, vocabulary = self.recipe, self.vocabulary
        done = self._prepared(write_gguf)
        packing = {
            "articles": _made(done["articles"]),
            "records": _made(done["records"]),
            "prompt": _made(done["prompt"]),
            "teacher": self.base.fingerprint,
            "packing": recipe.packing.model_dump(),
        }
        if recipe.student.learns:
            if (correction := recipe.teacher) is not None:
                corrects = {**packing, "correction": correction.model_dump()}
                self._stage(
                    done, "corrected", corrects, lambda out: self._corrected(out, correction, corrects, write_gguf)
                )
                packing["teacher"] = _made(done["corrected"])
            to_repair, to_capture = self._shares()
            held_out = {"held_out": recipe.evaluate.packs}
            captured = {**packing, **held_out, "capture": recipe.capture.model_dump(), "packs": to_capture}
            if recipe.capture.samples:
                asked = {**packing, "capture": recipe.capture.model_dump(), "packs": to_capture}
                self._stage(done, "sampled", asked, self._sampled)
                captured |= {"sampled": _made(done["sampled"])}
            captured |= {} if vocabulary is None else {"vocabulary": vocabulary}
            if self._forced("capture"):
                shutil.rmtree(self.work / PARTS, ignore_errors=True)
            self._stage(done, "capture", captured, lambda out: self._capture(out, captured))
            if (layers := recipe.student.layers) is not None:
                self._stage(
                    done,
                    "pruned",
                    {**packing, **held_out, "student": recipe.student.model_dump(), "packs": to_repair},
                    lambda out: self._pruned(out, layers),
                )
            source = {"pruned": _made(done["pruned"])} if "pruned" in done else {"model": self.released.fingerprint}
            learns = {"capture": _made(done["capture"]), **source, "kd": recipe.kd.model_dump()}
            self._stage(
                done,
                "student",
                learns,
                lambda out: self._student(out, learns),
            )
        tuned = {
            **packing,
            "student": _made(done["student"]) if "student" in done else None,
            "lora": recipe.lora.model_dump(),
        }
        self._stage(
            done,
            "merged",
            tuned,
            lambda out: self._tuned(
                out,
                "merged",
                self.work / "student" if recipe.student.learns else self.base.checkpoint,
                recipe.lora,
                tuned,
            ),
        )
        return done

    def predict(self, write_gguf: WriteGguf, records: int) -> dict[str, float]:
        """What the capture will cost, from about `records` records; runs the stages before it, and leaves nothing else.

        `UsageError` for a recipe that captures nothing.
        """
        from distill.estimate import estimate, sample_of

        if not self.recipe.student.learns:
            raise UsageError("this recipe captures no teacher", where="[student]", hint="set student.layers or .model")
        self._prepared(write_gguf)
        wanted = self.recipe.capture
        packs = self.packs("train", limit=wanted.packs, skip=self._shares()[1])
        tokens = sum(len(pack.tokens) for pack in sample_of(packs, records))
        # A corrected teacher would read no slower.
        with self._teacher_open(self.base.checkpoint) as teacher, bar("capturing a sample", tokens) as advance:
            return estimate(
                teacher, packs, self.work, records=records, k=wanted.k, states=wanted.states, advance=advance
            )

    def _prepared(self, write_gguf: WriteGguf) -> dict[str, Manifest]:
        """The stages up to the records, before a model learns or teaches anything."""
        recipe, data = self.recipe, data_key(self.recipe.data)
        done: dict[str, Manifest] = {}
        self._stage(done, "articles", data, lambda out: gather_articles(recipe.data, out))
        self._stage(
            done,
            "teacher",
            {"base": self.base.fingerprint, "articles": _made(done["articles"])},
            lambda out: self._teacher(out, write_gguf),
        )
        self._stage(
            done,
            "prompt",
            {
                "base": self.base.fingerprint,
                "data": data,
                "prompt": recipe.prompt.model_dump(),
                "to": recipe.languages,
                **({"student": self.student.fingerprint} if self.student else {}),
            },
            self._prompt,
        )
        self._stage(
            done,
            "records",
            {"data": data, "languages": recipe.languages},
            lambda out: make_records(recipe, self.work / "articles", out),
        )
        if not done["records"].figures["by_split"]["test"]:
            raise InputError(
                "no record is held out, so nothing could be measured",
                where=str(self.work / "records"),
                hint="bring more conversations: one in ten is held out, by its name and data.seed",
            )
        return done

    def _stage(
        self, done: dict[str, Manifest], name: str, inputs: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
    ) -> None:
        # By place, not by name alone: the stage it begins from may be one that this recipe leaves out.
        inputs = {**inputs, "edgedesk": __version__}
        done[name], ran = stage(self.work / name, name, inputs, work, force=self._forced(name))
        say(f"{name:<9} {'done in ' + str(done[name].figures['seconds']) + ' s' if ran else 'unchanged'}")

    def _forced(self, name: str) -> bool:
        return self.force_from is not None and STAGES.index(name) >= STAGES.index(self.force_from)

    @cached_property
    def spec(self) -> PromptSpec:
        """The prompt, once its stage has written it."""
        return PromptSpec.model_validate_json(read_text(self.work / "prompt" / "prompt.json"))

    @cached_property
    def tokenizer(self) -> JsonTokenizer:
        """The checkpoint's tokenizer."""
        return JsonTokenizer(self.base.checkpoint)

    def packs(self, split: str, *, limit: int, skip: int = 0, among: Path | None = None) -> list[Pack]:
        """Up to `limit` packs of a split, the languages mixed, those first that rest on different sections.

        Stages `skip` what others have taken; behind the last pack it goes on with the first. The records are those of
        the folder `among`, else all that were made.
        """
        packs: list[Pack] = []
        evidence: dict[str, Sequence[str]] = {}
        for lang in self.recipe.languages:
            sections = sections_by_ref(self.work / "articles", lang)
            records = read_split(among or self.work / "records", split, lang)
            evidence |= {record.id: record.evidence for record in records}
            packs += pack_records(
                records,
                sections,
                self.spec,
                self.tokenizer,
                neighbours=neighbour_finder(sections),
                limits=self.recipe.packing.limits(),
                seed=PACK_SEED,
            )
        random.Random(PACK_SEED).shuffle(packs)  # noqa: S311 - an order, no secret
        if not packs:
            raise InputError(
                f"no {split} record rests on a known article and fits a prompt",
                where=str(self.work / "records"),
                hint="see records/report.json: name evidence in the transcripts, or raise packing.tokens",
            )
        packs = cover_first(packs, evidence)
        start = skip % len(packs)
        return [*packs[start:], *packs[:start]][:limit]

    def _shares(self) -> tuple[int, int]:
        """How many packs repair and capture skip: what one stage has seen teaches the next one less."""
        corrected = self.recipe.teacher.packs if self.recipe.teacher else 0
        return corrected, corrected + self.recipe.student.repair_packs

    def _held_out(self) -> list[Pack]:
        return self.packs("test", limit=self.recipe.evaluate.packs)

    def _teacher(self, out: Path, write_gguf: WriteGguf) -> dict[str, Any]:
        """Tokenizer parity with llama.cpp comes before anything is learned."""
        gguf = out / TEACHER_GGUF
        if self.base.gguf:
            shutil.copyfile(self.base.gguf, gguf)
        else:
            write_gguf(self.base.checkpoint, gguf)
        texts = [s.text for article in load_articles(self.work / "articles") for s in article.sections]
        strings = prove_parity(self.tokenizer, gguf, parity_strings(texts))
        return {"base": self.base.name, "licence": self.base.licence, "parity_strings": strings, "parity_misses": 0}

    def _prompt(self, out: Path) -> dict[str, Any]:
        pieces = chat_pieces(self.base.checkpoint)
        if self.student is not None and chat_pieces(self.student.checkpoint) != pieces:
            raise ModelError(
                "teacher and student write messages differently",
                where=str(self.student.checkpoint),
                hint="give the student the teacher's chat template",
            )
        spec = make_prompt(self.recipe, pieces)
        write_atomic(out / "prompt.json", spec.model_dump_json(indent=1) + "\n")
        copy_policies(self.recipe, out)
        return {}

    def _sampled(self, out: Path) -> dict[str, Any]:
        """The teacher's own replies to the records whose packs are captured."""
        from distill.sampled import Sampling, sample_replies

        wanted = self.recipe.capture
        packs = self.packs("train", limit=wanted.packs, skip=self._shares()[1])
        names = {name for pack in packs for name in pack.records}
        by_lang = {lang: sections_by_ref(self.work / "articles", lang) for lang in self.recipe.languages}
        near = {lang: neighbour_finder(sections) for lang, sections in by_lang.items()}
        records = [
            record
            for lang in self.recipe.languages
            for record in read_split(self.work / "records", "train", lang)
            if record.id in names
        ]

        def shown(record: Record) -> list[Section]:
            sections = by_lang[record.lang]
            refs = [ref for ref in record.evidence if ref in sections] or list(sections)[:1]
            around = [ref for ref in near[record.lang](refs[0]) if ref not in refs]
            return [sections[ref] for ref in [*refs, *around][: self.spec.articles]]

        sampling = Sampling(wanted.samples, wanted.temperature, PACK_SEED)
        gguf = self.work / ("teacher" if self.recipe.teacher is None else "corrected") / TEACHER_GGUF
        with bar("sampling the teacher", len(records), unit="records") as advance:
            kept, verdicts = sample_replies(gguf, records, shown, self.spec, sampling, advance=advance)
        write_rows(out / SAMPLED, kept)
        return {"records": len(kept), "verdicts": verdicts}

    def _capture(self, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
        from distill.capture import capture
        from distill.compare import hold_out

        # Read before the long work: the student will be measured on them, and there may be none.
        held_out = self._held_out()
        packs = self.packs("train", limit=self.recipe.capture.packs, skip=self._shares()[1])
        if inputs.get("sampled") and (self.work / "sampled" / SAMPLED).stat().st_size:
            packs += self.packs("train", limit=self.recipe.capture.samples * len(packs), among=self.work / "sampled")
        # Outside the stage's folder, which a run that ends early takes with it.
        parts = Parts(self.work / PARTS, inputs)
        tokens = sum(len(pack.tokens) for pack in packs)
        with self._teacher_open() as teacher, bar("capturing the teacher", tokens, unit="tokens") as advance:
            wanted = self.recipe.capture
            figures = capture(
                teacher,
                packs,
                out / "capture.parquet",
                k=wanted.k,
                states=wanted.states,
                vocabulary=self.vocabulary,
                parts=parts,
                advance=advance,
            )
            hold_out(teacher, held_out, out / HELD_OUT)
        return figures

    def _pruned(self, out: Path, layers: int) -> dict[str, Any]:
        from distill.compare import compare
        from distill.merge import save
        from distill.narrow import activation_importance, narrow
        from distill.prune import block_influence, drop_layers, layers_to_keep
        from distill.repair import repair

        count = self.recipe.student.repair_packs
        packs = self.packs("train", limit=max(count, INFLUENCE_PACKS), skip=self._shares()[0])
        held_out = self._held_out()
        student = self._load(self._teaching)
        influence = block_influence(student, packs[:INFLUENCE_PACKS])
        keep = layers_to_keep(influence, layers)
        chosen = self.recipe.student
        if chosen.kv_heads or chosen.feed_forward:
            importance = activation_importance(student, packs[:INFLUENCE_PACKS])
            narrow(student, importance, kv_heads=chosen.kv_heads, feed_forward=chosen.feed_forward)
        drop_layers(student, keep)
        figures: dict[str, Any] = {"layers": keep, "influence": [round(value, 4) for value in influence]}
        figures["held_out_before"] = compare(student, held_out, self.work / "capture" / HELD_OUT)
        if count:
            teacher = self._load(self._teaching)
            tokens = sum(len(pack.tokens) for pack in packs[:count]) * layers
            with bar("repairing what pruning broke", tokens, unit="tokens × layers") as advance:
                errors = repair(student, teacher, keep, packs[:count], advance=advance)
            figures["errors"] = [round(value, 4) for value in errors]
            figures["held_out"] = compare(student, held_out, self.work / "capture" / HELD_OUT)
        save(student, self.base.checkpoint, out)
        return figures

    def _student(self, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
        from distill.capture import read_capture
        from distill.compare import compare
        from distill.merge import save
        from distill.train import distill

        captured = list(read_capture(self.work / "capture" / "capture.parquet"))
        student = self._load(self.student.checkpoint if self.student else self.work / "pruned")
        tokens = sum(len(row.pack.tokens) for row in captured) * self.recipe.kd.epochs
        with (
            bar("distilling", tokens, unit="tokens") as advance,
            self._checkpoints("student", inputs, self.recipe.kd) as scratch,
        ):
            trained = distill(student, captured, self.recipe.kd, scratch, advance, vocabulary=self.vocabulary)
        after = compare(student, self._held_out(), self.work / "capture" / HELD_OUT)
        save(student, self.released.checkpoint, out)
        say(f"student vs teacher on held-out replies: KL {after['kl']}, top-1 {after['top1']}")
        return {"held_out": after, "training": trained}

    def _tuned(self, out: Path, name: str, source: Path, settings: Tuning, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """A checkpoint tuned on the support records, its adapters merged in."""
        from distill.merge import merge
        from distill.train import tune

        packs = self.packs("train", limit=settings.packs)
        tokens = sum(len(pack.tokens) for pack in packs) * settings.epochs
        what = "correcting the teacher" if name == "corrected" else "tuning with LoRA"
        with (
            bar(what, tokens, unit="tokens") as advance,
            self._checkpoints(name, inputs, settings) as scratch,
        ):
            wrapped, trained = tune(self._load(source), packs, settings, scratch, advance)
        figures = merge(wrapped, packs, source, out)
        return {"training": trained, **figures}

    def _corrected(
        self, out: Path, settings: Tuning, inputs: Mapping[str, Any], write_gguf: WriteGguf
    ) -> dict[str, Any]:
        figures = self._tuned(out, "corrected", self.base.checkpoint, settings, inputs)
        write_gguf(out, out / TEACHER_GGUF)
        return figures

    @property
    def _teaching(self) -> Path:
        """The checkpoint that teaches."""
        return self.base.checkpoint if self.recipe.teacher is None else self.work / "corrected"

    @contextmanager
    def _teacher_open(self, checkpoint: Path | None = None) -> Iterator[Any]:
        """The teacher: its checkpoint, or the GGUF itself where a checkpoint of its size would not fit."""
        if not self.teaches_as_gguf:
            yield self._load(checkpoint or self._teaching)
            return
        from distill.teachers import gguf_teacher

        assert self.base.gguf is not None
        with gguf_teacher(
            self.base.gguf, context=self.recipe.packing.tokens, threads=len(os.sched_getaffinity(0))
        ) as teacher:
            yield teacher

    def _load(self, folder: Path) -> Any:
        """A checkpoint in f32; masks are boolean, which only `sdpa` reads right."""
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
        )

    @contextmanager
    def _checkpoints(self, name: str, inputs: Mapping[str, Any], settings: TrainSettings) -> Iterator[Path]:
        """Where a run keeps its checkpoints; they stay when it ends early, for the next run to go on from."""
        if not settings.checkpoint_every:
            with self._scratch() as scratch:
                yield scratch
            return
        folder = self.work / f"{name}.checkpoints"
        if self._forced(name):
            shutil.rmtree(folder, ignore_errors=True)
        kept = Parts(folder, inputs, name)
        kept.begin()
        yield folder
        kept.remove()

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=self.work) as folder:
            yield Path(folder)


def _is_gguf(name: str) -> bool:
    return Path(name).suffix == ".gguf" and Path(name).is_file()


def _made(manifest: Manifest) -> str:
    """What identifies a stage's output: the hashes of its files."""
    from runtime.manifest import digest

    return digest([entry.model_dump() for entry in manifest.files])


def open_build(recipe: Recipe, work: Path, *, base: str | None = None, force_from: str | None = None) -> Build:
    """Open the base (fetching it when need be) and make the work folder; `UsageError` for a stage there is not."""
    if force_from is not None and force_from not in STAGES:
        raise UsageError(f"no stage '{force_from}'", where="--from", hint=f"one of {', '.join(STAGES)}")
    student = open_base(recipe.student.model, say) if recipe.student.model else None
    teacher = base or recipe.base.model
    opened = open_gguf_teacher(Path(teacher), student) if student and _is_gguf(teacher) else open_base(teacher, say)
    if student and opened.gguf and recipe.teacher:
        raise UsageError("a GGUF cannot be corrected", where="[teacher]", hint="leave it out, or give a checkpoint")
    work.mkdir(parents=True, exist_ok=True)
    return Build(recipe, work, opened, force_from, student)
