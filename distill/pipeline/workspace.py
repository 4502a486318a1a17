"""What the stages of one build share: the recipe, the work folder, models, prompt, packs, checkpoints.

Promises: the same arguments give the same packs; a run that ends early leaves its checkpoints and nothing else. Knows
nothing of the order of stages.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.compute.device import choose_device, memory_is_an_error
from distill.compute.resumable_parquet import ResumableParquet
from distill.data.dataset import neighbour_finder, read_replay, read_split, sections_by_ref
from distill.data.quoted_replies import quote_replies
from distill.models.catalogue import Base
from distill.models.vocabulary_match import shared_vocabulary
from distill.packing.packing import Layouts, Pack, apply_layout, cover_first, mix_replay, pack_records, pack_replay
from distill.recipe.recipe import Recipe
from distill.recipe.settings import TrainSettings
from runtime.base.files import read_text
from runtime.errors import InputError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import PromptSpec

PACK_SEED = 1
TEACHER_GGUF = "teacher.gguf"
"""In the folders teacher/ and tuned_teacher/."""
REPLIES = "train.jsonl"
"""In the folder teacher_replies/: records with replies that the teacher wrote."""
WriteGguf = Callable[[Path, Path], None]
"""(checkpoint folder, file to write): an f16 GGUF of a checkpoint."""


def _cannot_write_gguf(_checkpoint: Path, _out: Path) -> None:
    raise AssertionError("only the build itself writes GGUF files, not a process that trains")


@dataclass(frozen=True)
class StageContext:
    """What a run gives its stages besides the workspace."""

    inputs: Mapping[str, Any]
    """What the stage's manifest will be compared with: unfinished work is taken up only where they are the same."""
    write_gguf: WriteGguf = _cannot_write_gguf


@dataclass(frozen=True)
class Workspace:
    """One recipe in one work folder."""

    recipe: Recipe
    folder: Path
    base: Base
    forced_stages: Collection[str] = ()
    """Stages that run though nothing has changed; what they had begun is thrown away."""
    student: Base | None = None
    """The checkpoint that learns, where it is not the pruned base."""
    text_teacher: Base | None = None
    """A teacher with other tokens than the student, which then is the base: its replies are learned as text."""
    launcher: str = ""
    """A command that starts the processes which train; none = this one does."""
    shard: bool = False
    """Whether the processes share the student's weights out among them, instead of each holding all of them."""
    part_packs: int = 8
    """Packs a part of an unfinished capture holds: what a kill costs at most."""
    given_scratch: Path | None = None
    """In a process that trains: where the build that waits for it keeps the checkpoints."""

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

    def forced(self, name: str) -> bool:
        """Whether a stage is to run though nothing has changed."""
        return name in self.forced_stages

    @cached_property
    def spec(self) -> PromptSpec:
        """The prompt, once its stage has written it."""
        return PromptSpec.model_validate_json(read_text(self.folder / "prompt" / "prompt.json"))

    @cached_property
    def tokenizer(self) -> JsonTokenizer:
        """The checkpoint's tokenizer."""
        return JsonTokenizer(self.base.checkpoint)

    def packs(
        self, split: str, *, limit: int, skip: int = 0, among: Path | None = None, layout: Layouts = "exact"
    ) -> list[Pack]:
        """Up to `limit` packs of a split, the languages mixed, those first that rest on different sections.

        Stages `skip` packs that other stages have taken; after the last pack comes the first again. The records are
        those of the folder `among`, by default all. Teachers read `exact`, students as the recipe's packing says.
        """
        packs: list[Pack] = []
        evidence: dict[str, Sequence[str]] = {}
        for lang in self.recipe.languages:
            sections = sections_by_ref(self.folder / "articles", lang)
            records = read_split(among or self.folder / "records", split, lang)
            if self.quotes and among is None:  # what a teacher wrote stays in its words
                records = quote_replies(records, sections)
            evidence |= {record.id: record.evidence for record in records}
            packs += pack_records(
                records,
                sections,
                self.spec,
                self.tokenizer,
                neighbours=neighbour_finder(sections),
                limits=self.recipe.packing.limits(),
                seed=PACK_SEED,
                anchored=self.quotes,
            )
        random.Random(PACK_SEED).shuffle(packs)  # noqa: S311 - an order, no secret
        if not packs:
            raise InputError(
                f"no {split} record rests on a known article and fits a prompt",
                where=str(self.folder / "records"),
                hint="see records/report.json: name evidence in the transcripts, or raise packing.tokens",
            )
        packs = cover_first(packs, evidence)
        start = skip % len(packs)
        chosen = [*packs[start:], *packs[:start]][:limit]
        if split == "train" and self.recipe.data.replay:
            chosen = mix_replay(chosen, self.replay, self.recipe.packing.replay)
        return apply_layout(chosen, layout)

    @property
    def quotes(self) -> bool:
        """Whether packs teach the sentences of the articles that say a reply, in place of the reply's own words."""
        return self.recipe.packing.replies == "quoted"

    @cached_property
    def replay(self) -> list[Pack]:
        """General conversations, in packs."""
        assert self.recipe.data.replay is not None
        records = read_replay(self.recipe.data.replay, self.recipe.languages)
        packs = pack_replay(records, self.spec, self.tokenizer, self.recipe.packing.limits())
        random.Random(PACK_SEED).shuffle(packs)  # noqa: S311 - an order, no secret
        return packs

    def shares(self) -> tuple[int, int]:
        """How many packs refitting and capture skip: what one stage has seen teaches the next one less."""
        tuned = self.recipe.teacher.packs if self.recipe.teacher else 0
        return tuned, tuned + self.recipe.student.repair_packs

    def held_out(self, layout: Layouts = "exact") -> list[Pack]:
        """The test packs that student and teacher are compared on."""
        return self.packs("test", limit=self.recipe.evaluate.packs, layout=layout)

    @property
    def teaching(self) -> Path:
        """The checkpoint that teaches."""
        return self.base.checkpoint if self.recipe.teacher is None else self.folder / "tuned_teacher"

    @contextmanager
    def teacher_open(self, checkpoint: Path | None = None) -> Iterator[Any]:
        """The teacher: its checkpoint, its server, or the GGUF itself where a checkpoint of its size would not fit."""
        if self.base.endpoint:
            from distill.models.openai_endpoint import EndpointTeacher, open_endpoint

            rows = int(json.loads(read_text(self.base.checkpoint / "config.json"))["vocab_size"])
            with open_endpoint(self.base.endpoint) as endpoint:
                yield EndpointTeacher(endpoint, rows, self.recipe.capture.k)
            return
        if not self.teaches_as_gguf:
            where = choose_device()
            # What the hub has is bf16 mostly, and half of it fits twice.
            yield self.load(checkpoint or self.teaching, "f32" if where == "cpu" else "bf16").to(where)
            return
        from distill.teacher.teacher import gguf_teacher

        assert self.base.gguf is not None
        with gguf_teacher(
            self.base.gguf, context=self.recipe.packing.tokens, threads=len(os.sched_getaffinity(0))
        ) as teacher:
            yield teacher

    def load(self, folder: Path, kept: str = "f32") -> Any:
        """A checkpoint in f32, or bf16; masks are boolean, which only `sdpa` reads right."""
        return self._load(folder, kept, {})

    def load_student(self, folder: Path, kept: str = "f32") -> Any:
        """A checkpoint that is to learn, its positions scaled where the recipe says so and it is not done already.

        Linear scaling only: positions stay relative, so compiled articles can be moved and put together.
        """
        from transformers import AutoConfig

        factor = self.recipe.student.rope_factor
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        scaling = getattr(config, "rope_scaling", None)
        if factor == 1 or scaling == {"rope_type": "linear", "factor": factor}:
            return self._load(folder, kept, {})
        if scaling:
            raise UsageError(
                f"this model's positions are scaled already ({scaling.get('rope_type', 'unnamed')})",
                where="student.rope_factor",
                hint="leave it out",
            )
        config.rope_scaling = {"rope_type": "linear", "factor": factor}
        config.max_position_embeddings = int(config.max_position_embeddings * factor)
        return self._load(folder, kept, {"config": config})

    def _load(self, folder: Path, kept: str, more: Mapping[str, Any]) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[kept]
        hint = 'frozen = "bf16" halves it; a teacher may be a GGUF (docs/how-to/large-teachers.md)'
        with memory_is_an_error(f"while loading {folder.name}", hint):
            return AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True, **more
            )

    @contextmanager
    def checkpoints(self, name: str, inputs: Mapping[str, Any], settings: TrainSettings) -> Iterator[Path]:
        """Where a run keeps its checkpoints; they stay when it ends early, for the next run to go on from."""
        if self.given_scratch is not None:
            yield self.given_scratch
            return
        if not settings.checkpoint_every:
            with self._scratch() as scratch:
                yield scratch
            return
        folder = self.folder / f"{name}.checkpoints"
        if self.forced(name):
            shutil.rmtree(folder, ignore_errors=True)
        kept = ResumableParquet(folder, inputs, name)
        kept.begin()
        yield folder
        kept.remove()

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=self.folder) as folder:
            yield Path(folder)
