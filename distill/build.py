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
from distill.models import Base, open_base
from distill.packs import Pack, cover_first, pack_records
from distill.recipe import Recipe, Tuning
from distill.tokenizer import chat_pieces
from runtime import __version__
from runtime.articles import load_articles
from runtime.errors import InputError, UsageError
from runtime.files import need_space, read_text, write_atomic
from runtime.manifest import Manifest, stage
from runtime.parity import parity_strings, prove_parity
from runtime.progress import bar, say
from runtime.prompt import PromptSpec
from runtime.tokenizer import JsonTokenizer

WriteGguf = Callable[[Path, Path], None]
"""(checkpoint folder, file to write): an f16 GGUF of a checkpoint."""
STAGES = ("articles", "teacher", "prompt", "records", "corrected", "capture", "pruned", "student", "merged")
INFLUENCE_PACKS = 4
PACK_SEED = 1
TEACHER_GGUF = "teacher.gguf"
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

    def run(self, write_gguf: WriteGguf) -> dict[str, Manifest]:
        """Run every stage that is stale; returns the manifests by stage name."""
        weights = sum(path.stat().st_size for path in self.base.checkpoint.glob("*.safetensors"))
        need_space(self.work, WORK_BYTES_PER_WEIGHT_BYTE * weights, "the build")
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
            {"base": self.base.fingerprint, "data": data, "prompt": recipe.prompt.model_dump(), "to": recipe.languages},
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
        packing = {
            "articles": _made(done["articles"]),
            "records": _made(done["records"]),
            "prompt": _made(done["prompt"]),
            "teacher": self.base.fingerprint,
            "packing": recipe.packing.model_dump(),
        }
        if (layers := recipe.student.layers) is not None:
            if (correction := recipe.teacher) is not None:
                self._stage(
                    done,
                    "corrected",
                    {**packing, "correction": correction.model_dump()},
                    lambda out: self._corrected(out, correction, write_gguf),
                )
                packing["teacher"] = _made(done["corrected"])
            to_repair, to_capture = self._shares()
            held_out = {"held_out": recipe.evaluate.packs}
            self._stage(
                done,
                "capture",
                {**packing, **held_out, "capture": recipe.capture.model_dump(), "packs": to_capture},
                self._capture,
            )
            self._stage(
                done,
                "pruned",
                {**packing, **held_out, "student": recipe.student.model_dump(), "packs": to_repair},
                lambda out: self._pruned(out, layers),
            )
            self._stage(
                done,
                "student",
                {"capture": _made(done["capture"]), "pruned": _made(done["pruned"]), "kd": recipe.kd.model_dump()},
                self._student,
            )
        self._stage(
            done,
            "merged",
            {
                **packing,
                "student": _made(done["student"]) if "student" in done else None,
                "lora": recipe.lora.model_dump(),
            },
            lambda out: self._tuned(
                out, self.base.checkpoint if recipe.student.layers is None else self.work / "student", recipe.lora
            ),
        )
        return done

    def _stage(
        self, done: dict[str, Manifest], name: str, inputs: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
    ) -> None:
        # By place, not by name alone: the stage it begins from may be one that this recipe leaves out.
        force = self.force_from is not None and STAGES.index(name) >= STAGES.index(self.force_from)
        done[name], ran = stage(self.work / name, name, {**inputs, "edgedesk": __version__}, work, force=force)
        say(f"{name:<9} {'done in ' + str(done[name].figures['seconds']) + ' s' if ran else 'unchanged'}")

    @cached_property
    def spec(self) -> PromptSpec:
        """The prompt, once its stage has written it."""
        return PromptSpec.model_validate_json(read_text(self.work / "prompt" / "prompt.json"))

    @cached_property
    def tokenizer(self) -> JsonTokenizer:
        """The checkpoint's tokenizer."""
        return JsonTokenizer(self.base.checkpoint)

    def packs(self, split: str, *, limit: int, skip: int = 0) -> list[Pack]:
        """Up to `limit` packs of a split, the languages mixed, those first that rest on different sections.

        Stages `skip` what others have taken; behind the last pack it goes on with the first.
        """
        packs: list[Pack] = []
        evidence: dict[str, Sequence[str]] = {}
        for lang in self.recipe.languages:
            sections = sections_by_ref(self.work / "articles", lang)
            records = read_split(self.work / "records", split, lang)
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
        spec = make_prompt(self.recipe, chat_pieces(self.base.checkpoint))
        write_atomic(out / "prompt.json", spec.model_dump_json(indent=1) + "\n")
        copy_policies(self.recipe, out)
        return {}

    def _capture(self, out: Path) -> dict[str, Any]:
        from distill.capture import capture
        from distill.compare import hold_out

        # Read before the long work: the student will be measured on them, and there may be none.
        held_out = self._held_out()
        packs = self.packs("train", limit=self.recipe.capture.packs, skip=self._shares()[1])
        teacher = self._load(self._teaching)
        tokens = sum(len(pack.tokens) for pack in packs)
        with bar("capturing the teacher", tokens, unit="tokens") as advance:
            wanted = self.recipe.capture
            figures = capture(
                teacher, packs, out / "capture.parquet", k=wanted.k, states=wanted.states, advance=advance
            )
        hold_out(teacher, held_out, out / HELD_OUT)
        return figures

    def _pruned(self, out: Path, layers: int) -> dict[str, Any]:
        from distill.compare import compare
        from distill.merge import save
        from distill.prune import block_influence, drop_layers, layers_to_keep
        from distill.repair import repair

        count = self.recipe.student.repair_packs
        packs = self.packs("train", limit=max(count, INFLUENCE_PACKS), skip=self._shares()[0])
        held_out = self._held_out()
        student = self._load(self._teaching)
        influence = block_influence(student, packs[:INFLUENCE_PACKS])
        keep = layers_to_keep(influence, layers)
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

    def _student(self, out: Path) -> dict[str, Any]:
        from distill.capture import read_capture
        from distill.compare import compare
        from distill.merge import save
        from distill.train import distill

        captured = list(read_capture(self.work / "capture" / "capture.parquet"))
        student = self._load(self.work / "pruned")
        tokens = sum(len(row.pack.tokens) for row in captured) * self.recipe.kd.epochs
        with bar("distilling", tokens, unit="tokens") as advance, self._scratch() as scratch:
            trained = distill(student, captured, self.recipe.kd, scratch, advance)
        after = compare(student, self._held_out(), self.work / "capture" / HELD_OUT)
        save(student, self.base.checkpoint, out)
        say(f"student vs teacher on held-out replies: KL {after['kl']}, top-1 {after['top1']}")
        return {"held_out": after, "training": trained}

    def _tuned(self, out: Path, source: Path, settings: Tuning, what: str = "tuning with LoRA") -> dict[str, Any]:
        """A checkpoint tuned on the support records, its adapters merged in."""
        from distill.merge import merge
        from distill.train import tune

        packs = self.packs("train", limit=settings.packs)
        tokens = sum(len(pack.tokens) for pack in packs) * settings.epochs
        with bar(what, tokens, unit="tokens") as advance, self._scratch() as scratch:
            wrapped, trained = tune(self._load(source), packs, settings, scratch, advance)
        figures = merge(wrapped, packs, source, out)
        return {"training": trained, **figures}

    def _corrected(self, out: Path, settings: Tuning, write_gguf: WriteGguf) -> dict[str, Any]:
        figures = self._tuned(out, self.base.checkpoint, settings, "correcting the teacher")
        write_gguf(out, out / TEACHER_GGUF)
        return figures

    @property
    def _teaching(self) -> Path:
        """The checkpoint that teaches."""
        return self.base.checkpoint if self.recipe.teacher is None else self.work / "corrected"

    def _load(self, folder: Path) -> Any:
        """A checkpoint in f32; masks are boolean, which only `sdpa` reads right."""
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
        )

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=self.work) as folder:
            yield Path(folder)


def _made(manifest: Manifest) -> str:
    """What identifies a stage's output: the hashes of its files."""
    from runtime.manifest import digest

    return digest([entry.model_dump() for entry in manifest.files])


def open_build(recipe: Recipe, work: Path, *, base: str | None = None, force_from: str | None = None) -> Build:
    """Open the base (fetching it when need be) and make the work folder; `UsageError` for a stage there is not."""
    if force_from is not None and force_from not in STAGES:
        raise UsageError(f"no stage '{force_from}'", where="--from", hint=f"one of {', '.join(STAGES)}")
    opened = open_base(base or recipe.base.model, say)
    work.mkdir(parents=True, exist_ok=True)
    return Build(recipe, work, opened, force_from)
