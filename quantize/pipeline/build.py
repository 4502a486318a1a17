"""The folder distill leaves → GGUF files, ONNX, embedder, the measured table, and the bundle; each a cached stage.

    in   work/{merged, records, prompt/{prompt.json, policy*.toml}, articles/<lang>/*.md}
    out  work/quantized/{f16, <format>…, onnx, embedder, vectors, measured, answers}, work/bundle

Promises: what the last stage would refuse is refused before the first; finished stages are kept when one fails. Knows
formats only by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from quantize.encoder.encoder_cache import cached_encoder
from quantize.encoder.export_encoder import EncoderMeasurement
from quantize.formats.checkpoint import fingerprint
from quantize.formats.gguf_quantize import UNWEIGHED, check_kinds
from quantize.formats.onnx_decoder import AgreementBound
from quantize.measure.answer_quality import PAGE, PROMPT, REPORT
from quantize.measure.divergence import DecoderMeasurement, measure_decoders
from quantize.measure.samples import Sample, make_samples, read_sample_records, section_index
from quantize.pipeline.answer_stages import asked_file, check_correction_stage, measure_answer_stage
from quantize.pipeline.bundle import BundleParts, bundle_info, card_text, markdown_table, read_prompt, write_bundle
from quantize.pipeline.settings import QuantizeSettings
from quantize.pipeline.stages import Calibration, make_f16, make_format, make_importance, make_onnx
from runtime.base.build_stage import StageRunner, files_digest
from runtime.base.files import sha256_file, write_atomic
from runtime.base.manifest import Manifest, digest
from runtime.base.progress import counter
from runtime.bundle.bundle import open_bundle
from runtime.errors import InputError, MissingError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.retrieval.chunks import chunk_texts
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.past_questions import read_past_questions
from runtime.retrieval.shipped_vectors import VECTORS_FILE, write_vectors
from runtime.text.articles import load_articles

KL_RECEIPT = "kl_by_intent.json"
"""How far each file is from f32 on the held-out records of each intent: {format: {intent: {kl, top1, tokens}}}."""
_ONNX_PROBES = 6
"""Records whose replies choose how the ONNX decoder computes."""
_EMBEDDER_TEXTS = 64
"""Section texts the INT8 embedder is compared with f32 on."""


TrainHeads = Callable[[Path, Path, Path, int], Mapping[str, Any]]
"""(records folder, embedder folder, folder to fill, threads) -> figures by head."""


@dataclass(frozen=True)
class QuantizeResult:
    """What a build left."""

    bundle: Path
    measures: list[DecoderMeasurement]
    embedder: EncoderMeasurement
    answers: dict[str, Any] = field(default_factory=dict)
    """Retrieval by language, facts found by model, what the heads tell."""
    manifests: dict[str, Manifest] = field(default_factory=dict)
    """Of every stage, with its seconds and peak memory."""


def stage_names(formats: Sequence[str], *, onnx: bool, receipt: bool = False) -> tuple[str, ...]:
    """The stages of a build with these formats, in the order they run in; a receipt where there are corrections."""
    return (
        "f16",
        "untuned",
        "importance",
        *formats,
        *(("onnx",) if onnx else ()),
        "embedder",
        "vectors",
        "heads",
        "measured",
        "answers",
        *(("receipt",) if receipt else ()),
        "bundle",
    )


def build(
    work: Path,
    settings: QuantizeSettings,
    *,
    now: datetime,
    say: Callable[[str], None] = lambda _: None,
    force: Sequence[str] = (),
    train_heads: TrainHeads | None = None,
) -> QuantizeResult:
    """Run every stage that is not up to date; `force` names stages to run anyway (`f16`, a format, `onnx` …).

    `train_heads` belongs to distill, as the records do; the front door passes it in: neither imports the other.

    Raises whatever a stage raises; `MissingError` or `UsageError` before the first when a part or setting is wrong.
    """
    _check(work, settings)
    stages = StageRunner(say, force=force, prefix="quantize: ")
    merged, out = work / "merged", work / "quantized"
    spec = read_prompt(work / "prompt" / "prompt.json")
    records = read_sample_records(work / "records", settings.measure_records, spec.languages)
    texts = [section.text for _, section in sorted(section_index(work / "articles").items())]
    held = [text for record in records for text in (record.query, record.response)]

    f16 = make_f16(stages, merged, out, name=settings.name, licence=settings.licence, texts=[*held, *texts])
    beside = dict(settings.beside)
    if settings.untuned:
        beside["untuned student"] = make_f16(stages, settings.untuned, out, name="untuned", stage="untuned")
    calibration = _calibration(stages, work, settings)
    importance = _importance(stages, work, settings, calibration)
    compensated = calibration if settings.rounding == "compensated" else None
    candidates = {}
    for kind in settings.formats:
        candidates[kind] = make_format(
            stages, f16, out, kind, importance=importance, compensated=compensated, threads=settings.threads
        )
    if settings.onnx:
        probes = [sample.tokens for sample in load_samples(work, _ONNX_PROBES, ("train", "test", "valid"))]
        bound = AgreementBound(max_kl=settings.onnx_max_kl, min_agreement=settings.onnx_min_agreement)
        candidates["onnx"] = make_onnx(
            stages, merged, out, bits=settings.onnx_bits, probes=probes, bound=bound, threads=settings.threads
        )
    embedder = _embedder(stages, settings, out, texts[:_EMBEDDER_TEXTS])
    _vectors(stages, work, settings)
    heads = _heads(stages, work, settings, train_heads)
    measures = _measured(stages, work, settings, candidates)
    answers = measure_answer_stage(stages, work, settings, beside, candidates)
    receipt = check_correction_stage(stages, work, settings, candidates)
    parts = BundleParts(
        models={kind: candidates[kind] for kind in settings.formats},
        default=settings.default,
        embedder=out / "embedder",
        prompt=out / "answers" / PROMPT,
        policies=sorted((work / "prompt").glob("policy*.toml")),
        articles=work / "articles",
        reports=(
            out / "answers" / REPORT,
            out / "answers" / PAGE,
            out / "measured" / KL_RECEIPT,
            *((receipt,) if receipt else ()),
        ),
        licences=settings.licences,
        onnx=out / "onnx" if settings.onnx and settings.onnx_in_bundle else None,
        asked=asked_file(work),
        vectors=out / "vectors" / VECTORS_FILE,
        heads=heads,
        speech=settings.speech,
    )
    _bundle(stages, work, settings, parts, measures, embedder, answers, now)
    open_bundle(work / "bundle", verify=True)
    return QuantizeResult(work / "bundle", measures, embedder, answers, stages.manifests)


def _calibration(stages: StageRunner, work: Path, settings: QuantizeSettings) -> Calibration | None:
    """Training records that rounding goes by: what files are measured on must not have weighed their rounding."""
    if not settings.importance_records or set(settings.formats) <= UNWEIGHED:
        return None
    try:
        samples = load_samples(work, settings.importance_records, ("train",))
    except InputError as error:
        if settings.rounding == "compensated":
            raise
        stages.say(f"quantize: files are rounded unweighed: {error.what}")
        return None
    return Calibration(work / "merged", [sample.tokens for sample in samples], [sample.reply for sample in samples])


def _importance(
    stages: StageRunner, work: Path, settings: QuantizeSettings, calibration: Calibration | None
) -> Path | None:
    """Which columns matter on those records."""
    if calibration is None:
        return None
    name = f"{settings.name} {settings.version}: {len(calibration.texts)} training records"
    return make_importance(
        stages, calibration.checkpoint, work / "quantized", calibration.texts, source=name, threads=settings.threads
    )


def load_samples(work: Path, count: int, splits: Sequence[str] = ("test", "valid")) -> list[Sample]:
    """The samples a work folder is measured on: held-out records, laid out with its prompt and articles."""
    spec = read_prompt(work / "prompt" / "prompt.json")
    return make_samples(
        read_sample_records(work / "records", count, spec.languages, splits),
        spec,
        section_index(work / "articles"),
        JsonTokenizer(work / "merged"),
    )


def _embedder(stages: StageRunner, settings: QuantizeSettings, out: Path, texts: Sequence[str]) -> EncoderMeasurement:
    def make(folder: Path) -> dict[str, Any]:
        return cached_encoder(
            settings.embedder, folder, key=inputs, texts=texts, prefixes=settings.prefixes, threads=settings.threads
        ).model_dump()

    source = sha256_file(settings.embedder) if settings.embedder.is_file() else fingerprint(settings.embedder)
    inputs = {"source": source, "prefixes": settings.prefixes}
    figures = stages.run("embedder", out / "embedder", inputs, make).figures
    return EncoderMeasurement.model_validate({key: figures[key] for key in EncoderMeasurement.model_fields})


def _vectors(stages: StageRunner, work: Path, settings: QuantizeSettings) -> None:
    """Everything a branch's index embeds, embedded once for all branches."""

    def make(folder: Path) -> dict[str, Any]:
        embedder = Embedder(work / "quantized" / "embedder", threads=settings.threads)
        texts = chunk_texts(load_articles(work / "articles"), read_past_questions(work / "records"))
        with counter("embedding", unit="texts") as count:
            return {"texts": write_vectors(folder / VECTORS_FILE, embedder, texts, count)}

    inputs = {
        "embedder": files_digest(stages.manifests["embedder"]),
        "articles": fingerprint(work / "articles"),
        "asked": sha256_file(asked) if (asked := asked_file(work)) else None,
    }
    stages.run("vectors", work / "quantized" / "vectors", inputs, make)


def _heads(stages: StageRunner, work: Path, settings: QuantizeSettings, train: TrainHeads | None) -> Path | None:
    """Intent and emotion heads on the embedder's vectors; None where nobody trains them."""
    if train is None:
        return None
    out = work / "quantized" / "heads"

    def make(folder: Path) -> dict[str, Any]:
        return dict(train(work / "records", work / "quantized" / "embedder", folder, settings.threads))

    inputs = {
        "embedder": files_digest(stages.manifests["embedder"]),
        "records": fingerprint(work / "records"),
        "articles": fingerprint(work / "articles"),
    }
    stages.run("heads", out, inputs, make)
    return out


def _measured(
    stages: StageRunner, work: Path, settings: QuantizeSettings, candidates: Mapping[str, Path]
) -> list[DecoderMeasurement]:
    samples = load_samples(work, settings.measure_records)

    def make(folder: Path) -> dict[str, Any]:
        rows = measure_decoders(
            work / "merged",
            candidates,
            samples,
            scratch=folder,
            threads=settings.threads,
            decode_tokens=settings.decode_tokens,
            report=stages.say,
        )
        write_atomic(folder / "table.md", "\n".join(markdown_table(rows)) + "\n")
        intents = {row.format: {k: v.model_dump() for k, v in row.by_intent.items()} for row in rows if row.by_intent}
        write_atomic(folder / KL_RECEIPT, json.dumps(intents, indent=1, sort_keys=True) + "\n")
        return {"rows": [row.model_dump() for row in rows]}

    inputs = {
        "checkpoint": fingerprint(work / "merged"),
        "files": {kind: files_digest(stages.manifests[kind]) for kind in candidates},
        "samples": digest([[sample.tokens, sample.reply] for sample in samples]),
        "settings": [settings.decode_tokens, settings.threads],
        "columns": sorted(DecoderMeasurement.model_fields),
    }
    measured = stages.run("measured", work / "quantized" / "measured", inputs, make)
    return [DecoderMeasurement.model_validate(row) for row in measured.figures["rows"]]


def _bundle(
    stages: StageRunner,
    work: Path,
    settings: QuantizeSettings,
    parts: BundleParts,
    measures: Sequence[DecoderMeasurement],
    embedder: EncoderMeasurement,
    answers: Mapping[str, Any],
    now: datetime,
) -> None:
    info = bundle_info(
        parts,
        name=settings.name,
        version=settings.version,
        created=now.isoformat(timespec="seconds"),
        languages=read_prompt(parts.prompt).languages,
    )

    def make(folder: Path) -> dict[str, Any]:
        languages = sorted(path for path in parts.articles.iterdir() if path.is_dir())
        card = card_text(
            info,
            base=settings.base,
            licence=settings.licence,
            measures=measures,
            embedder=embedder,
            answers=answers,
            articles={path.name: len(list(path.glob("*.md"))) for path in languages},
            reports=[path.name for path in parts.reports],
        )
        write_bundle(folder, parts, info, card)
        return info.model_dump(mode="json", include={"name", "version", "created", "languages", "model"})

    inputs = {
        "settings": settings.model_dump(mode="json", exclude={"embedder", "licences", "speech"}),
        "stages": {name: files_digest(manifest) for name, manifest in stages.manifests.items()},
        "articles": fingerprint(parts.articles),
        "texts": [
            [path.name, sha256_file(path)] for path in (parts.prompt, *parts.policies, *parts.reports, *parts.licences)
        ],
        "asked": sha256_file(parts.asked) if parts.asked else None,
        **({"speech": fingerprint(parts.speech)} if parts.speech else {}),
    }
    stages.run("bundle", work / "bundle", inputs, make)


def _check(work: Path, settings: QuantizeSettings) -> None:
    """Refuse before the first minute of work what the last stage would refuse."""
    check_kinds(settings.formats)
    if settings.rounding == "compensated" and not settings.importance_records:
        raise UsageError(
            "rounding is 'compensated', but no records are given to round by",
            where="importance_records",
            hint="set it to 32, or rounding to 'nearest'",
        )
    if settings.default not in settings.formats:
        raise UsageError(f"'{settings.default}' is not among the formats", where="default", hint="add it to formats")
    for path in (work / "merged", work / "records", work / "prompt" / "prompt.json", work / "articles"):
        if not path.exists():
            raise MissingError("distill has not left this", where=str(path), hint="run the distill stages first")
    for path in (settings.embedder, work / "prompt" / "policy.toml", *settings.licences):
        if not path.exists():
            raise MissingError("a part of the bundle is not there", where=str(path), hint="check the path")
