"""What each stage of the distill half does, one function a stage: it fills a folder and returns its figures.

Knows nothing of when a stage runs (`distill.pipeline.build`). Heavy libraries are imported by the stage that needs
them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compute.distributed import bar, is_main_process
from distill.compute.resumable_parquet import ResumableParquet
from distill.data.dataset import copy_policies, make_prompt
from distill.models.chat_template import chat_pieces
from distill.packing.packing import Layouts, apply_layout
from distill.pipeline.workspace import SAMPLED, TEACHER_GGUF, Workspace, WriteGguf
from distill.recipe.recipe import Tuning
from runtime.base.files import write_atomic
from runtime.base.progress import say
from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity
from runtime.errors import ModelError
from runtime.prompting.prompt_tokens import Layout
from runtime.text.articles import load_articles

if TYPE_CHECKING:
    from distill.recipe.settings import PolishSettings

INFLUENCE_PACKS = 4
PARTS = "capture.parts"
"""What a capture that was cut off has finished; gone when it is whole."""
HELD_OUT = "held_out.safetensors"
"""In capture/: what the student is compared with."""


def prove_teacher(work: Workspace, out: Path, write_gguf: WriteGguf) -> dict[str, Any]:
    """Tokenizer parity with llama.cpp comes before anything is learned."""
    gguf = out / TEACHER_GGUF
    texts = [s.text for article in load_articles(work.folder / "articles") for s in article.sections]
    strings = [*_frames(work), *parity_strings(texts)]
    proven = {"base": work.base.name, "licence": work.base.licence, "parity_misses": 0}
    if work.base.endpoint:
        from distill.models.openai_endpoint import open_endpoint, prove_same_tokens

        with open_endpoint(work.base.endpoint) as endpoint:
            return {**proven, "parity_strings": prove_same_tokens(work.tokenizer, endpoint, strings)}
    if work.base.gguf:
        shutil.copyfile(work.base.gguf, gguf)
    else:
        write_gguf(work.base.checkpoint, gguf)
    return {**proven, "parity_strings": prove_parity(work.tokenizer, gguf, strings)}


def _frames(work: Workspace) -> list[str]:
    """What stands around messages, one after the other and each alone: control tokens where a prompt has them."""
    pieces = [
        text for _, text in chat_pieces(work.base.checkpoint, work.recipe.prompt.template) if isinstance(text, str)
    ]
    return ["".join(pieces), "a".join(pieces), *pieces]


def write_prompt(work: Workspace, out: Path) -> dict[str, Any]:
    """prompt.json and the policies."""
    template = work.recipe.prompt.template
    pieces = chat_pieces(work.base.checkpoint, template)
    if work.student is not None and chat_pieces(work.student.checkpoint, template) != pieces:
        raise ModelError(
            "teacher and student write messages differently",
            where=str(work.student.checkpoint),
            hint="give both one template: prompt.template",
        )
    spec = make_prompt(work.recipe, pieces)
    write_atomic(out / "prompt.json", spec.model_dump_json(indent=1) + "\n")
    copy_policies(work.recipe, out)
    return {}


def capture_teacher(work: Workspace, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The teacher's top-k log-probabilities on train packs, and what it says to held-out ones."""
    from distill.student.divergence import hold_out
    from distill.teacher.capture import capture

    # Read before the long work: the student will be measured on them, and there may be none.
    held_out = work.held_out()
    packs = work.packs("train", limit=work.recipe.capture.packs, skip=work.shares()[1])
    if inputs.get("sampled") and (work.folder / "sampled" / SAMPLED).stat().st_size:
        packs += work.packs("train", limit=work.recipe.capture.samples * len(packs), among=work.folder / "sampled")
    if work.recipe.capture.layout == "packing":
        packs = apply_layout(packs, work.recipe.packing.layout)
    # Outside the stage's folder, which a run that ends early takes with it.
    parts = ResumableParquet(work.folder / PARTS, inputs)
    tokens = sum(len(pack.tokens) for pack in packs)
    with work.teacher_open() as teacher, bar("capturing the teacher", tokens, unit="tokens") as advance:
        wanted = work.recipe.capture
        figures = capture(
            teacher,
            packs,
            out / "capture.parquet",
            k=wanted.k,
            states=wanted.states,
            vocabulary=work.vocabulary,
            parts=parts,
            advance=advance,
        )
        hold_out(teacher, held_out, out / HELD_OUT)
    return figures


def prune_teacher(work: Workspace, out: Path, layers: int) -> dict[str, Any]:
    """The teacher with fewer layers, refitted by least squares."""
    from distill.student.depth_pruning import block_influence, layers_to_keep, prune_depth
    from distill.student.divergence import measure_divergence
    from distill.student.layer_refit import refit_layers
    from distill.student.merge_lora import save_checkpoint
    from distill.student.width_pruning import activation_importance, prune_width

    count = work.recipe.student.repair_packs
    packs = work.packs("train", limit=max(count, INFLUENCE_PACKS), skip=work.shares()[0])
    held_out = work.held_out(work.recipe.packing.layout)
    student = work.load(work.teaching)
    influence = block_influence(student, packs[:INFLUENCE_PACKS])
    keep = layers_to_keep(influence, layers)
    chosen = work.recipe.student
    if chosen.kv_heads or chosen.feed_forward:
        importance = activation_importance(student, packs[:INFLUENCE_PACKS])
        prune_width(student, importance, kv_heads=chosen.kv_heads, feed_forward=chosen.feed_forward)
    prune_depth(student, keep)
    figures: dict[str, Any] = {"layers": keep, "influence": [round(value, 4) for value in influence]}
    figures["held_out_before"] = measure_divergence(student, held_out, work.folder / "capture" / HELD_OUT)
    if count:
        teacher = work.load(work.teaching)
        tokens = sum(len(pack.tokens) for pack in packs[:count]) * layers
        # The teacher reads plainly, the student as it will in a branch.
        laid_out = apply_layout(packs[:count], work.recipe.packing.layout)
        with bar("repairing what pruning broke", tokens, unit="tokens × layers") as advance:
            errors = refit_layers(student, teacher, keep, laid_out, advance=advance)
        figures["errors"] = [round(value, 4) for value in errors]
        figures["held_out"] = measure_divergence(student, held_out, work.folder / "capture" / HELD_OUT)
    save_checkpoint(student, work.base.checkpoint, out)
    return figures


def distil_student(work: Workspace, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The student after learning from the capture."""
    from distill.student.divergence import measure_divergence
    from distill.student.merge_lora import save_checkpoint
    from distill.student.training import distill
    from distill.teacher.capture import read_capture

    captured = list(read_capture(work.folder / "capture" / "capture.parquet"))
    # However its teacher read them, a student reads articles as it will in a branch.
    laid_out = apply_layout((row.pack for row in captured), work.recipe.packing.layout)
    captured = [row.laid_out(pack) for row, pack in zip(captured, laid_out, strict=True)]
    student = work.load_student(
        work.student.checkpoint if work.student else work.folder / "pruned", work.recipe.kd.frozen
    )
    tokens = sum(len(row.pack.tokens) for row in captured) * work.recipe.kd.epochs
    with (
        bar("distilling", tokens, unit="tokens") as advance,
        work.checkpoints("student", inputs, work.recipe.kd) as scratch,
    ):
        trained = distill(student, captured, work.recipe.kd, scratch, advance, vocabulary=work.vocabulary)
    if not is_main_process():
        return {}
    after = measure_divergence(student, work.held_out(work.recipe.packing.layout), work.folder / "capture" / HELD_OUT)
    save_checkpoint(student, work.released.checkpoint, out)
    say(f"student vs teacher on held-out replies: KL {after['kl']}, top-1 {after['top1']}")
    return {"held_out": after, "training": trained}


def polish_student(work: Workspace, out: Path, settings: PolishSettings) -> dict[str, Any]:
    """The distilled student after it wrote answers of its own and its teacher judged them."""
    from distill.student.divergence import measure_divergence
    from distill.student.merge_lora import save_checkpoint
    from distill.student.on_policy import polish

    packs = work.packs("train", limit=settings.packs)
    source = work.folder / "student"
    student, teacher = work.load_student(source), work.load(work.teaching)
    questions = sum(len(pack.branches) for pack in packs)
    with bar("polishing", questions, unit="questions") as advance, tempfile.TemporaryDirectory() as scratch:
        figures = polish(student, teacher, packs, source, work.spec, settings, Path(scratch), advance)
    after = measure_divergence(student, work.held_out(work.recipe.packing.layout), work.folder / "capture" / HELD_OUT)
    save_checkpoint(student, source, out)
    return {"held_out": after, "training": figures}


def tune_checkpoint(
    work: Workspace, out: Path, name: str, source: Path, settings: Tuning, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """A checkpoint tuned on the support records, its adapters merged in."""
    from distill.student.merge_lora import merge_adapters
    from distill.student.training import tune

    teaches = name == "corrected"
    layout: Layouts = "exact" if teaches else work.recipe.packing.layout
    packs = work.packs("train", limit=settings.packs, layout=layout)
    if work.teller:
        replies = max(1, work.recipe.capture.samples) * len(packs)
        packs += work.packs("train", limit=replies, among=work.folder / "sampled", layout=layout)
    tokens = sum(len(pack.tokens) for pack in packs) * settings.epochs
    what = "correcting the teacher" if teaches else "tuning with LoRA"
    with (
        bar(what, tokens, unit="tokens") as advance,
        work.checkpoints(name, inputs, settings) as scratch,
    ):
        load = work.load if teaches else work.load_student
        wrapped, trained = tune(load(source, settings.frozen), packs, settings, scratch, advance)
    if not is_main_process():
        return {}
    figures = merge_adapters(wrapped, packs, source, out)
    if template := work.recipe.prompt.template:
        shutil.copyfile(template, out / "chat_template.jinja")
    return {"training": trained, **figures}


def correct_teacher(work: Workspace, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The base, tuned on the support records before it teaches."""
    assert work.recipe.teacher is not None
    return tune_checkpoint(work, out, "corrected", work.base.checkpoint, work.recipe.teacher, inputs)


def tune_student(work: Workspace, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The student, or the base where there is none, tuned on the support records."""
    from distill.student.divergence import measure_divergence
    from distill.teacher.teacher_forcing import read_replies

    distilled = work.folder / ("student" if work.recipe.polish is None else "polished")
    source = distilled if work.recipe.student.learns else work.base.checkpoint
    figures = tune_checkpoint(work, out, "merged", source, work.recipe.lora, inputs)
    if not is_main_process():
        return figures
    layout, teacher, student = work.recipe.layout, work.folder / "capture" / HELD_OUT, work.load(out)
    if inputs.get("student") and teacher.is_file():
        # Replies lead a student away from its teacher again; how far, a release should know.
        after = figures["held_out"] = measure_divergence(student, work.held_out(layout), teacher)
        say(f"tuned student vs teacher on held-out replies: KL {after['kl']}, top-1 {after['top1']}")
    if layout != "exact":
        reads: tuple[Layout, Layout] = (layout, "exact")
        rows = [read_replies(student, work.held_out(read), work.tokenizer).facts for read in reads]
        figures["facts_read"] = [float(row.sum()) for row in rows]
    return figures


TRAINING = {"corrected": correct_teacher, "student": distil_student, "merged": tune_student}
"""The stages in which something learns, alone or in several processes (`distill.pipeline.launch`)."""
