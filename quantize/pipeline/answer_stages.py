"""The stages that ask: every model the held-out questions, and the released file what agents corrected."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantize.formats.checkpoint import fingerprint
from quantize.measure.answer_quality import PROMPT, AnswerStudy, measure_answers
from quantize.measure.corrections import check_corrections
from quantize.pipeline.bundle import read_prompt
from quantize.pipeline.settings import QuantizeSettings
from quantize.pipeline.stages import GGUF
from runtime.base.build_stage import StageRunner, files_digest
from runtime.base.files import sha256_file
from runtime.base.jsonl import read_rows
from runtime.desk.policy import read_policy
from runtime.feedback.import_exports import CORRECTIONS
from runtime.feedback.learning import Correction
from runtime.feedback.receipt import RECEIPT
from runtime.prompting.prompt_spec import PromptSpec
from runtime.retrieval.past_questions import ASKED_FILE, read_past_questions
from runtime.retrieval.shipped_vectors import VECTORS_FILE

STUDENT_F16 = "student f16"
LAST_RELEASE = "last release"
"""The name under which the release before is asked the same questions."""


def measure_answer_stage(
    stages: StageRunner,
    work: Path,
    settings: QuantizeSettings,
    beside: Mapping[str, Path],
    candidates: Mapping[str, Path],
) -> dict[str, Any]:
    """The teachers, the student before and after, and every format, asked the same questions."""
    out = work / "quantized"
    models = {LAST_RELEASE: settings.last_release} if settings.last_release else {}
    models |= beside
    models[STUDENT_F16] = out / "f16" / GGUF
    models |= {kind: candidates[kind] for kind in settings.formats}
    policies = sorted((work / "prompt").glob("policy.*.toml"))
    files = sorted({path for pattern in settings.questions for path in glob.glob(pattern)})  # noqa: PTH207 - absolute

    def make(folder: Path) -> dict[str, Any]:
        spec = read_prompt(work / "prompt" / "prompt.json")
        study = _study(stages, work, settings, models, spec, exact_only=tuple(beside))
        return measure_answers(study, folder)

    inputs = {
        "models": {name: sha256_file(path) for name, path in models.items()},
        "questions": {path: sha256_file(Path(path)) for path in files},
        "count": [settings.asked, settings.attacks],
        "embedder": files_digest(stages.manifests["embedder"]),
        "asked": sha256_file(asked) if (asked := asked_file(work)) else None,
        "articles": fingerprint(work / "articles"),
        "prompt": sha256_file(work / "prompt" / "prompt.json"),
        "policies": [sha256_file(path) for path in policies],
        "title": [settings.name, settings.version],
        "layout": [settings.default, settings.layout_keeps, *settings.facts_read],
        "heads": files_digest(stages.manifests["heads"]) if "heads" in stages.manifests else None,
        "figures": ["flips"],
    }
    figures = stages.run("answers", out / "answers", inputs, make).figures
    return {
        key: figures[key]
        for key in ("retrieval", "refusals", "models", "layout", "attacks", "flips", "heads", "intents")
    }


def _study(
    stages: StageRunner,
    work: Path,
    settings: QuantizeSettings,
    models: Mapping[str, Path],
    spec: PromptSpec,
    *,
    exact_only: Sequence[str] = (),
) -> AnswerStudy:
    """What these models are asked, and what they have to answer with."""
    out, policies = work / "quantized", sorted((work / "prompt").glob("policy.*.toml"))
    return AnswerStudy(
        models=models,
        default=settings.default,
        unrounded=STUDENT_F16,
        rounded=settings.formats,
        exact_only=exact_only,
        spec=spec,
        questions=settings.questions,
        count=settings.asked,
        articles=work / "articles",
        embedder=out / "embedder",
        vectors=out / "vectors" / VECTORS_FILE,
        past_questions=read_past_questions(work / "records"),
        policies={path.suffixes[0][1:]: read_policy(path) for path in policies},
        layout_keeps=settings.layout_keeps,
        facts_read=settings.facts_read,
        classifiers=_told(stages),
        classifier_folder=out / "heads" if "heads" in stages.manifests else None,
        attacks=settings.attacks,
        title=f"{settings.name} {settings.version}",
        threads=settings.threads,
    )


def check_correction_stage(
    stages: StageRunner, work: Path, settings: QuantizeSettings, candidates: Mapping[str, Path]
) -> Path | None:
    """Which corrections the default file answers right; None where there are none."""
    corrections = work / "records" / CORRECTIONS
    if not corrections.is_file() or not corrections.stat().st_size:
        return None
    out, release = work / "quantized", f"{settings.name} {settings.version}"

    def make(folder: Path) -> dict[str, Any]:
        # The prompt with the layout that branches will use.
        study = _study(stages, work, settings, candidates, read_prompt(out / "answers" / PROMPT))
        return asdict(check_corrections(study, list(read_rows(Correction, corrections)), folder, release=release))

    inputs = {
        "corrections": sha256_file(corrections),
        "default": settings.default,
        "release": release,
        "stages": {name: files_digest(manifest) for name, manifest in stages.manifests.items()},
        "articles": fingerprint(work / "articles"),
    }
    stages.run("receipt", out / "receipt", inputs, make)
    return out / "receipt" / RECEIPT


def _told(stages: StageRunner) -> dict[str, Any]:
    """What the heads were measured to tell, by head."""
    figures = stages.manifests["heads"].figures if "heads" in stages.manifests else {}
    return {name: dict(row) for name, row in figures.items() if isinstance(row, Mapping) and "accuracy" in row}


def asked_file(work: Path) -> Path | None:
    """Questions of training records, for retrieval; None where there are none."""
    path = work / "records" / ASKED_FILE
    return path if path.is_file() else None
