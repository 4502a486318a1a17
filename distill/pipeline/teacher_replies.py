"""The stage `teacher_replies`: replies that the teacher writes itself, to be captured or to be learned as text.

Knows nothing of which replies are kept (`distill.teacher.sampled_replies`) and of how a teacher is asked
(`distill.teacher.generators`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compute.distributed import bar
from distill.compute.resumable_parquet import ResumableParquet
from distill.data.dataset import neighbour_finder, read_split, sections_by_ref
from distill.packing.packing import Pack
from distill.pipeline.workspace import PACK_SEED, REPLIES, TEACHER_GGUF, StageContext, Workspace
from runtime.base.jsonl import write_rows
from runtime.errors import ModelError
from runtime.text.articles import Section
from runtime.text.records import Record

if TYPE_CHECKING:
    from distill.teacher.generators import Generator

PARTS = "teacher_replies.parts"
"""The finished parts of sampling that was interrupted; deleted when it is complete."""


def sample_teacher(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
    """The teacher's own replies to the records whose packs are captured."""
    from distill.teacher.generators import EndpointGenerator, gguf_generator

    wanted = work.recipe.capture
    packs = work.packs("train", limit=wanted.packs, skip=work.shares()[1])
    if work.base.endpoint:
        from distill.models.openai_endpoint import open_endpoint

        with open_endpoint(work.base.endpoint) as endpoint:
            return _sample(work, out, packs, EndpointGenerator(endpoint, work.spec), context)
    gguf = work.folder / ("teacher" if work.recipe.teacher is None else "tuned_teacher") / TEACHER_GGUF
    with gguf_generator(gguf, work.spec) as generator:
        return _sample(work, out, packs, generator, context)


def sample_text_teacher(work: Workspace, out: Path, context: StageContext) -> dict[str, Any]:
    """The replies of a teacher with tokens of its own to the records that the student is tuned on."""
    from distill.models.chat_template import gguf_pieces
    from distill.teacher.generators import EndpointGenerator, gguf_generator

    teacher = work.text_teacher
    assert teacher is not None
    packs = work.packs("train", limit=work.recipe.lora.packs)
    if teacher.endpoint:
        from distill.models.openai_endpoint import open_endpoint

        with open_endpoint(teacher.endpoint) as endpoint:
            return _sample(work, out, packs, EndpointGenerator(endpoint, work.spec), context)
    with tempfile.TemporaryDirectory(prefix=".teacher-", dir=work.folder) as scratch:
        gguf = teacher.gguf or Path(scratch) / TEACHER_GGUF
        if teacher.gguf is None:
            context.write_gguf(teacher.checkpoint, gguf)
        spec = work.spec.model_copy(update={"pieces": gguf_pieces(gguf)})
        with gguf_generator(gguf, spec) as generator:
            return _sample(work, out, packs, generator, context)


def _sample(
    work: Workspace, out: Path, packs: Sequence[Pack], generator: Generator, context: StageContext
) -> dict[str, Any]:
    """Ask the teacher what the records of these packs ask, and keep what the articles bear out."""
    from distill.teacher.sampled_replies import Sampling, sample_replies

    names = {name for pack in packs for name in pack.records}
    by_lang = {lang: sections_by_ref(work.folder / "articles", lang) for lang in work.recipe.languages}
    near = {lang: neighbour_finder(sections) for lang, sections in by_lang.items()}
    records = [
        record
        for lang in work.recipe.languages
        for record in read_split(work.folder / "records", "train", lang)
        if record.id in names
    ]

    def shown(record: Record) -> list[Section]:
        sections = by_lang[record.lang]
        refs = [ref for ref in record.evidence if ref in sections] or list(sections)[:1]
        around = [ref for ref in near[record.lang](refs[0]) if ref not in refs]
        return [sections[ref] for ref in [*refs, *around][: work.spec.articles]]

    wanted = work.recipe.capture
    sampling = Sampling(max(1, wanted.samples), wanted.temperature, PACK_SEED)
    if work.forced("teacher_replies"):
        shutil.rmtree(work.folder / PARTS, ignore_errors=True)
    parts = ResumableParquet(work.folder / PARTS, context.inputs, "teacher_replies", suffix=".json")
    with bar("sampling the teacher", len(records), unit="records") as advance:
        kept, verdicts = sample_replies(generator, records, shown, work.spec, sampling, parts=parts, advance=advance)
    write_rows(out / REPLIES, kept)
    parts.remove()
    if not kept:
        raise ModelError(
            f"not one of {len(records)} replies is supported by the articles ({dict(verdicts)})",
            where="the teacher",
            hint="look at its template and at the articles, or leave capture.samples out",
        )
    return {"records": len(kept), "asked": len(records), "verdicts": verdicts}
