"""The stages in which a teacher speaks: its own replies, to be captured beside the gold ones, or learned as text.

Knows nothing of which replies are kept (`distill.teacher.sampled_replies`) and of how a teacher is asked
(`distill.teacher.generators`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compute.distributed import bar
from distill.compute.resumable_parquet import ResumableParquet
from distill.data.dataset import neighbour_finder, read_split, sections_by_ref
from distill.packing.packing import Pack
from distill.pipeline.workspace import PACK_SEED, SAMPLED, TEACHER_GGUF, Workspace, WriteGguf
from runtime.base.jsonl import write_rows
from runtime.errors import ModelError
from runtime.text.articles import Section
from runtime.text.records import Record

if TYPE_CHECKING:
    from distill.teacher.generators import Generator

SAMPLED_PARTS = "sampled.parts"
"""What sampling that was cut off has finished; gone when it is whole."""


def sample_teacher(work: Workspace, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The teacher's own replies to the records whose packs are captured."""
    from distill.teacher.generators import EndpointGenerator, gguf_generator

    wanted = work.recipe.capture
    packs = work.packs("train", limit=wanted.packs, skip=work.shares()[1])
    if work.base.endpoint:
        from distill.models.openai_endpoint import open_endpoint

        with open_endpoint(work.base.endpoint) as endpoint:
            return _sampled(work, out, packs, EndpointGenerator(endpoint, work.spec), inputs)
    gguf = work.folder / ("teacher" if work.recipe.teacher is None else "corrected") / TEACHER_GGUF
    with gguf_generator(gguf, work.spec) as speaker:
        return _sampled(work, out, packs, speaker, inputs)


def sample_text_teacher(work: Workspace, out: Path, inputs: Mapping[str, Any], write_gguf: WriteGguf) -> dict[str, Any]:
    """The replies of a teacher with tokens of its own to the records that the student is tuned on."""
    from distill.models.chat_template import gguf_pieces
    from distill.teacher.generators import EndpointGenerator, gguf_generator

    teller = work.teller
    assert teller is not None
    packs = work.packs("train", limit=work.recipe.lora.packs)
    if teller.endpoint:
        from distill.models.openai_endpoint import open_endpoint

        with open_endpoint(teller.endpoint) as endpoint:
            return _sampled(work, out, packs, EndpointGenerator(endpoint, work.spec), inputs)
    with tempfile.TemporaryDirectory(prefix=".teller-", dir=work.folder) as scratch:
        gguf = teller.gguf or Path(scratch) / TEACHER_GGUF
        if teller.gguf is None:
            write_gguf(teller.checkpoint, gguf)
        spec = work.spec.model_copy(update={"pieces": gguf_pieces(gguf)})
        with gguf_generator(gguf, spec) as speaker:
            return _sampled(work, out, packs, speaker, inputs)


def _sampled(
    work: Workspace, out: Path, packs: Sequence[Pack], speaker: Generator, inputs: Mapping[str, Any]
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
    parts = ResumableParquet(work.folder / SAMPLED_PARTS, inputs, "sampled", suffix=".json")
    with bar("sampling the teacher", len(records), unit="records") as advance:
        kept, verdicts = sample_replies(speaker, records, shown, work.spec, sampling, parts=parts, advance=advance)
    write_rows(out / SAMPLED, kept)
    parts.remove()
    if not kept:
        raise ModelError(
            f"not one of {len(records)} replies is borne out by the articles ({dict(verdicts)})",
            where="the teacher",
            hint="look at its template and at the articles, or leave capture.samples out",
        )
    return {"records": len(kept), "asked": len(records), "verdicts": verdicts}
