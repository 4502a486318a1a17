"""What each stage of the distill half does, one function a stage: it fills a folder and returns its figures.

Knows nothing of when a stage runs (`distill.pipeline.stage_table`). torch and transformers take seconds to load, so
whatever needs them is imported by the stage that runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.compute.distributed import bar, is_main_process
from distill.compute.resumable_parquet import ResumableParquet
from distill.data.dataset import copy_policies, make_prompt
from distill.models.chat_template import chat_pieces
from distill.packing.packing import Pack, apply_layout, closing_tokens
from distill.pipeline.workspace import REPLIES, TEACHER_GGUF, StageContext, Workspace
from distill.recipe.recipe import Tuning
from runtime.base.files import write_atomic
from runtime.base.progress import say
from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity
from runtime.errors import ModelError
from runtime.prompting.prompt_tokens import Layout
from runtime.text.articles import load_articles

INFLUENCE_PACKS = 4
PARTS = "capture.parts"
"""The finished parts of a capture that was interrupted; deleted when it is complete."""
HELD_OUT = "held_out.safetensors"
"""In capture/: what the student is compared with."""


def prove_teacher(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
    """The base as a GGUF, and the proof that llama.cpp cuts text as its tokenizer does: before anything is learned."""
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
        context.write_gguf(work.base.checkpoint, gguf)
    return {**proven, "parity_strings": prove_parity(work.tokenizer, gguf, strings)}


def _frames(work: Workspace) -> list[str]:
    """What the template writes around messages, joined and alone: control tokens where a prompt has them."""
    pieces = [
        text for _, text in chat_pieces(work.base.checkpoint, work.recipe.prompt.template) if isinstance(text, str)
    ]
    return ["".join(pieces), "a".join(pieces), *pieces]


def write_prompt(work: Workspace, out: Path, _context: StageContext) -> dict[str, Any]:
    """prompt.json and the policies."""
    template = work.recipe.prompt.template
    pieces = chat_pieces(work.base.checkpoint, template)
    if work.student is not None and chat_pieces(work.student.checkpoint, template) != pieces:
        raise ModelError(
            "teacher and student write messages differently",
            where=str(work.student.checkpoint),
            hint="give both one template: prompt.template",
        )
    closing_tokens(pieces, work.tokenizer)  # refused here, not after the records
    spec = make_prompt(work.recipe, pieces)
    write_atomic(out / "prompt.json", spec.model_dump_json(indent=1) + "\n")
    copy_policies(work.recipe, out)
    return {}


def capture_teacher(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
    """The teacher's top-k log-probabilities on training packs, and its last states on held-out ones."""
    from distill.student.divergence import hold_out
    from distill.teacher.capture import capture

    # Read before the long work: the student will be measured on them, and there may be none.
    held_out = work.held_out()
    packs = work.packs("train", limit=work.recipe.capture.packs, skip=work.shares()[1])
    replies = work.folder / "teacher_replies"
    # The folder may be left over from a recipe that asked for replies; the recipe decides.
    if work.recipe.capture.samples and (replies / REPLIES).stat().st_size:
        packs += work.packs("train", limit=work.recipe.capture.samples * len(packs), among=replies)
    if work.recipe.capture.layout == "packing":
        packs = apply_layout(packs, work.recipe.packing.layout)
    if work.forced("capture"):
        shutil.rmtree(work.folder / PARTS, ignore_errors=True)
    # Outside the stage's folder, which is deleted when a run ends early.
    parts = ResumableParquet(work.folder / PARTS, context.inputs)
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
            part_packs=work.part_packs,
            advance=advance,
        )
        hold_out(teacher, held_out, out / HELD_OUT)
    return figures


def prune_teacher(work: Workspace, out: Path, _context: StageContext) -> dict[str, Any]:
    """The teacher with fewer layers, refitted by least squares."""
    from distill.student.depth_pruning import block_influence, layers_to_keep, prune_depth
    from distill.student.divergence import measure_divergence
    from distill.student.layer_refit import refit_layers
    from distill.student.merge_lora import save_checkpoint
    from distill.student.width_pruning import activation_importance, prune_width

    layers, count = work.recipe.student.layers, work.recipe.student.repair_packs
    assert layers is not None
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
        with bar("refitting the pruned layers", tokens, unit="tokens × layers") as advance:
            errors = refit_layers(student, teacher, keep, laid_out, advance=advance)
        figures["errors"] = [round(value, 4) for value in errors]
        figures["held_out"] = measure_divergence(student, held_out, work.folder / "capture" / HELD_OUT)
    save_checkpoint(student, work.base.checkpoint, out)
    return figures


def distil_student(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
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
        work.checkpoints("student", context.inputs, work.recipe.kd) as scratch,
    ):
        trained = distill(student, captured, work.recipe.kd, scratch, advance, vocabulary=work.vocabulary)
    if not is_main_process():
        return {}
    after = measure_divergence(student, work.held_out(work.recipe.packing.layout), work.folder / "capture" / HELD_OUT)
    save_checkpoint(student, work.released.checkpoint, out)
    say(f"student vs teacher on held-out replies: KL {after['kl']}, top-1 {after['top1']}")
    return {"held_out": after, "training": trained}


def tune_teacher(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
    """The base, tuned on the support records before it teaches."""
    assert work.recipe.teacher is not None
    packs = work.packs("train", limit=work.recipe.teacher.packs)
    return _tune(work, out, context, "tuned_teacher", work.base.checkpoint, packs, work.recipe.teacher)


def write_teacher_gguf(out: Path, context: StageContext) -> None:
    """The tuned teacher as a GGUF, which is asked for replies and measured next to its student."""
    context.write_gguf(out, out / TEACHER_GGUF)


def tune_student(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
    """The student, or the base where there is none, tuned on the support records; measured against its teacher."""
    from distill.student.divergence import measure_divergence
    from distill.teacher.teacher_forcing import read_replies

    learns = work.recipe.student.learns
    source = work.folder / "student" if learns else work.base.checkpoint
    packs = work.packs("train", limit=work.recipe.lora.packs, layout=work.recipe.packing.layout)
    if work.text_teacher:
        # No probabilities to learn from: the teacher's replies are learned as text, next to the records' own.
        limit = max(1, work.recipe.capture.samples) * len(packs)
        replies = work.folder / "teacher_replies"
        packs += work.packs("train", limit=limit, among=replies, layout=work.recipe.packing.layout)
    figures = _tune(work, out, context, "merged", source, packs, work.recipe.lora)
    if not is_main_process():
        return figures
    layout, student = work.recipe.layout, work.load(out)
    if learns:
        # Tuning on replies leads a student away from its teacher again; a release should know how far.
        teacher = work.folder / "capture" / HELD_OUT
        after = figures["held_out"] = measure_divergence(student, work.held_out(layout), teacher)
        say(f"tuned student vs teacher on held-out replies: KL {after['kl']}, top-1 {after['top1']}")
    if layout != "exact":
        reads: tuple[Layout, Layout] = (layout, "exact")
        rows = [read_replies(student, work.held_out(read), work.tokenizer).facts for read in reads]
        figures["facts_read"] = [float(row.sum()) for row in rows]
    return figures


def _tune(
    work: Workspace,
    out: Path,
    context: StageContext,
    name: str,
    source: Path,
    packs: Sequence[Pack],
    settings: Tuning,
) -> dict[str, Any]:
    """A checkpoint tuned on packs, its adapters merged in; only the main process writes it and has figures."""
    from distill.student.merge_lora import merge_adapters
    from distill.student.training import tune

    teaches = name == "tuned_teacher"
    tokens = sum(len(pack.tokens) for pack in packs) * settings.epochs
    with (
        bar("tuning the teacher" if teaches else "tuning with LoRA", tokens, unit="tokens") as advance,
        work.checkpoints(name, context.inputs, settings) as scratch,
    ):
        load = work.load if teaches else work.load_student
        wrapped, trained = tune(load(source, settings.frozen), packs, settings, scratch, advance)
    if not is_main_process():
        return {}
    figures = merge_adapters(wrapped, packs, source, out)
    if template := work.recipe.prompt.template:
        shutil.copyfile(template, out / "chat_template.jinja")
    return {"training": trained, **figures}
