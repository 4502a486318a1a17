"""The parts of a build → a bundle folder that `runtime.bundle.bundle.open_bundle` accepts.

    bundle.json  prompt.json  policy*.toml  card.md  model/*.gguf  embedder/  articles/<lang>/*.md  report/*.json
    licences/  asked.jsonl  vectors.npy  heads/*.npz  and, where the recipe says so, onnx/ and speech/

Promises: every part is there before the first byte is copied. The manifest with the SHA-256s is written by
`runtime.base.manifest.stage`, which calls this. Knows nothing of how the parts were made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantize.encoder.export_encoder import EncoderMeasurement
from quantize.measure.divergence import DecoderMeasurement
from runtime.base.files import need_space, read_text, write_atomic
from runtime.base.manifest import MANIFEST
from runtime.base.validation import first_problem
from runtime.bundle.bundle import BundleInfo
from runtime.errors import InputError, MissingError
from runtime.perception.speech_models import FOLDER as SPEECH
from runtime.prompting.prompt_spec import PromptSpec
from runtime.retrieval.past_questions import ASKED_FILE
from runtime.retrieval.shipped_vectors import VECTORS_FILE
from runtime.understanding.linear_classifier import FOLDER as HEADS

_ON_CARD = ("facts_found", "facts_written", "grounded", "refused_rightly", "refused_wrongly", "hand_off_recall")


@dataclass(frozen=True)
class BundleParts:
    """Where everything lies that goes into a bundle."""

    models: Mapping[str, Path]
    """GGUF files by format."""
    default: str
    """The format the runtime uses unless another is asked for."""
    embedder: Path
    prompt: Path
    policies: Sequence[Path]
    """`policy.toml`, and `policy.<lang>.toml` where a language has its own."""
    articles: Path
    reports: Sequence[Path]
    licences: Sequence[Path] = ()
    onnx: Path | None = None
    asked: Path | None = None
    """Questions of training records with the sections that answered them, for retrieval."""
    vectors: Path | None = None
    """Vectors of everything retrieval embeds."""
    heads: Path | None = None
    """Intent and emotion heads (`runtime.understanding.linear_classifier`)."""
    speech: Path | None = None
    """Recognisers of spoken questions (`runtime.perception.speech_models`)."""


def write_bundle(folder: Path, parts: BundleParts, info: BundleInfo, card: str) -> None:
    """Copy the parts into an existing empty folder. `MissingError` or `InputError` before anything is copied."""
    _check(parts)
    copies = dict(_copies(parts))
    need_space(folder, sum(path.stat().st_size for path in copies.values()), "the bundle")
    for name, path in copies.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for name in ("report", "licences"):
        (folder / name).mkdir(exist_ok=True)
    write_atomic(folder / "bundle.json", info.model_dump_json(indent=1) + "\n")
    write_atomic(folder / "card.md", card)


def bundle_info(parts: BundleParts, *, name: str, version: str, created: str, languages: Sequence[str]) -> BundleInfo:
    """`bundle.json` for these parts; `created` is an ISO 8601 time."""
    models = {kind: f"model/{kind}.gguf" for kind in parts.models}
    return BundleInfo(
        name=name,
        version=version,
        created=created,
        languages=tuple(languages),
        model=models[parts.default],
        models=models,
    )


def read_prompt(path: Path) -> PromptSpec:
    """`prompt.json`; `InputError` naming the key that does not fit."""
    try:
        return PromptSpec.model_validate_json(read_text(path))
    except ValidationError as error:
        problem = first_problem(error, "key", PromptSpec)
        raise InputError(problem.sentence, where=str(path), hint="run the stage that makes it again") from None


def card_text(
    info: BundleInfo,
    *,
    base: str,
    licence: str,
    measures: Sequence[DecoderMeasurement],
    embedder: EncoderMeasurement,
    articles: Mapping[str, int],
    reports: Iterable[str],
    answers: Mapping[str, Any] | None = None,
) -> str:
    """Write the model card from what was measured; `articles` counts files by language."""
    lines = [f"# {info.name} {info.version}", ""]
    lines += [f"Made {info.created}. Languages the model may write: {', '.join(info.languages)}."]
    if base:
        lines += [f"Base model: {base}{f' ({licence})' if licence else ''}."]
    count = ", ".join(f"{number} {lang}" for lang, number in sorted(articles.items()))
    lines += [f"Articles: {count}. Default file: `{info.model}`.", ""]
    lines += ["## Files against the f32 checkpoint", "", *markdown_table(measures), ""]
    lines += [
        f"KL (nats) and top-1 agreement are means over {measures[0].tokens} reply tokens of held-out records. Speed is",
        "the median decoding step of one sequence on the machine that built the bundle.",
        "",
        "## Embedder",
        "",
        f"Dynamic INT8, {embedder.megabytes} MB (f32 {embedder.megabytes_f32} MB). Cosine to f32 on",
        f"{embedder.texts} texts: mean {embedder.cosine}, least {embedder.cosine_min}.",
        "",
        *_answer_lines(answers or {}),
        "## Limits",
        "",
        "The model is small and answers from the articles above; an agent reads every answer before a customer does.",
    ]
    if names := sorted(reports):
        lines += ["", "## Reports", "", *(f"- `report/{name}`" for name in names)]
    return "\n".join(lines) + "\n"


def _answer_lines(answers: Mapping[str, Any]) -> list[str]:
    """Retrieval and answers on the held-out questions, where there are any."""
    lines: list[str] = []
    if retrieval := answers.get("retrieval"):
        lines += ["## Retrieval on held-out questions", "", "| language | questions | hit@1 | hit@5 | MRR |"]
        lines += ["|---|---:|---:|---:|---:|"]
        lines += [
            f"| {lang} | {row['queries']} | {row['hit@1']:.3f} | {row['hit@5']:.3f} | {row['mrr']:.3f} |"
            for lang, row in retrieval.items()
        ]
        lines.append("")
    if models := answers.get("models"):
        lines += ["## Answers to held-out questions", ""]
        lines += ["| model | questions | " + " | ".join(name.replace("_", " ") for name in _ON_CARD) + " |"]
        lines += ["|---|---:|" + "---:|" * len(_ON_CARD)]
        for name, row in models.items():
            cells = (f"{row[key]:.3f}" if row[key] is not None else "–" for key in _ON_CARD)
            lines.append(f"| {name} | {row['questions']} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def markdown_table(measures: Sequence[DecoderMeasurement]) -> list[str]:
    """The measure table as Markdown lines."""
    lines = ["| file | MB | KL | top-1 | tokens/s |", "|---|---:|---:|---:|---:|"]
    return lines + [
        f"| {row.format} | {row.megabytes} | {row.kl:.4f} | {row.top1:.3f} | {row.tokens_per_s} |" for row in measures
    ]


def _check(parts: BundleParts) -> None:
    if parts.default not in parts.models:
        raise InputError(
            f"the default format '{parts.default}' was not made", hint=f"made: {', '.join(parts.models) or 'none'}"
        )
    for path in (*parts.models.values(), parts.prompt, *parts.policies, *parts.reports, *parts.licences):
        if not path.is_file():
            raise MissingError("a part of the bundle is not there", where=str(path), hint="run the stage that makes it")
    if not any(path.name == "policy.toml" for path in parts.policies):
        raise MissingError("no policy.toml", hint="name a policy in the recipe")
    if not any(parts.articles.glob("*/*.md")):
        raise MissingError("no articles", where=str(parts.articles), hint="the folder holds <lang>/*.md")


def _copies(parts: BundleParts) -> Iterable[tuple[str, Path]]:
    """(name in the bundle, file) of everything copied."""
    for kind, path in parts.models.items():
        yield f"model/{kind}.gguf", path
    for name, folder in (
        ("embedder", parts.embedder),
        ("articles", parts.articles),
        ("onnx", parts.onnx),
        (HEADS, parts.heads),
        (SPEECH, parts.speech),
    ):
        if folder is None:
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != MANIFEST:
                yield f"{name}/{path.relative_to(folder).as_posix()}", path
    yield "prompt.json", parts.prompt
    if parts.asked is not None:
        yield ASKED_FILE, parts.asked
    if parts.vectors is not None:
        yield VECTORS_FILE, parts.vectors
    for name, files in (("", parts.policies), ("report/", parts.reports), ("licences/", parts.licences)):
        for path in files:
            yield f"{name}{path.name}", path
