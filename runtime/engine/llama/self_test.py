"""Whether a model's articles can be composed, and how small they may be stored: found out at start, by logits.

Promises: a layout or a coding that changes what the model says by more than a bound is not used, and the reason names
the figure; the model's memory is left empty. What was found is kept in a file, so that a start does not try it again;
a failure is not kept, since memory that was short once may be there the next time. Belongs to the engine's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from runtime.base.files import write_atomic
from runtime.base.hardware import processor_name
from runtime.engine.core.composition import ModelIdentity
from runtime.engine.core.options import ArticleCoding
from runtime.engine.llama.model import LlamaModel, Row
from runtime.engine.llama.pack_coding import CODINGS, encode, expand
from runtime.errors import EdgedeskError
from runtime.prompting.prompt_tokens import Layout

FILE_NAME = "self-test.json"
VERSION = 2
"""Of what is tried: a verdict of another version is not believed."""
MAX_FILE_BYTES = 16_384
MAX_DIVERGENCE = 0.01
"""KL divergence, in nats, of composed from plain logits up to which they count as equal."""
MAX_NOISE_RATIO = 1.5
"""Composed logits may differ by this many times what plain readings at two places differ by, in the median of the
probes. For SmolLM2-135M and a 3B shape in 4 and 8 bits, correctly shifted articles differ 0.6 to 1.0 times as much,
articles one position off 1.5 to 2.5 times.
"""
UNREADABLE_NATS = 0.5
"""Divergence at which plain readings of the same text have nothing in common, so that nothing can be compared."""
MAX_CODING_LOSS = 0.2
"""KL divergence, in nats, of logits after a coded article from those after the same article in f16."""
PROBES = 5


@dataclass(frozen=True)
class Verdict:
    """What a model can do with compiled articles."""

    layout: Layout
    reason: str
    """Why it is not the layout that was asked for; empty when it is."""
    coding: ArticleCoding
    coding_reason: str
    """Why it is not the coding that was asked for; empty when it is."""


class _Kept(BaseModel):
    """A verdict, and everything that it depends on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    identity: ModelIdentity
    """Weights, llama.cpp's build and the processor's features, type of keys and values, layout."""
    processor: str
    """Its model: a home may be carried to another machine of the same features."""
    wanted: ArticleCoding
    coding: ArticleCoding
    coding_reason: str


def examine_once(
    model: LlamaModel, identity: ModelIdentity, layout: Layout, coding: ArticleCoding, folder: Path | None
) -> Verdict:
    """As `examine`, but only if `folder` holds no verdict for just this."""
    if folder is None:
        return examine(model, layout, coding)
    path, processor = folder / FILE_NAME, processor_name()
    with suppress(OSError, ValueError):
        with path.open("rb") as file:
            kept = _Kept.model_validate_json(file.read(MAX_FILE_BYTES))
        if (kept.version, kept.identity, kept.processor, kept.wanted) == (VERSION, identity, processor, coding):
            return Verdict(layout, "", kept.coding, kept.coding_reason)
    verdict = examine(model, layout, coding)
    if not verdict.reason:
        found = _Kept(
            version=VERSION,
            identity=identity,
            processor=processor,
            wanted=coding,
            coding=verdict.coding,
            coding_reason=verdict.coding_reason,
        )
        with suppress(EdgedeskError, OSError):  # it only saves time
            write_atomic(path, found.model_dump_json(), mode=0o600)
    return verdict


def examine(model: LlamaModel, layout: Layout, coding: ArticleCoding) -> Verdict:
    """Try what was asked for, and fall back to what works. Leaves the model's memory empty."""
    reason = "" if layout == "exact" else why_not_composable(model, layout)
    if layout == "exact" or reason:
        return Verdict("exact", reason, coding, "")
    if model.kv_type != "f16":
        return Verdict(layout, "", "f16", f"keys and values are {model.kv_type} in memory" if coding != "f16" else "")
    lost = ""
    for tried in reversed(CODINGS[: CODINGS.index(coding) + 1]):
        if not (reason := coding_test(model, tried)):
            return Verdict(layout, "", tried, lost)
        lost = lost or reason
    return Verdict(layout, "", "f16", lost)


def why_not_composable(model: LlamaModel, layout: Layout) -> str:
    """Why prompts cannot be composed with this model; empty when they can. Leaves the model's memory empty."""
    return model.cannot_compose(layout) or self_test(model, layout)


def self_test(model: LlamaModel, layout: Layout) -> str:
    """What is wrong with the logits after an article that was stored and loaded again; empty when nothing is.

    One article after a system text attends to just what it attends to in plain reading, so the logits must be equal;
    and so must they when everything is shifted by some positions, since positions are relative. A quantized model
    rounds otherwise at other positions, though, in plain reading too: where a shifted probe differs, several probes
    are compared with what plain readings at two places differ by. Leaves the memory empty. Needs three sequences.
    """
    moved = 7 if layout == "sequential" else 0
    differences, noise = [], []
    for probe in range(PROBES):
        plain = _read_plain(model, probe, 0)
        composed = _read_composed(model, probe, moved)
        model.clear()
        if composed is None:
            return "its memory cannot be stored"
        differences.append(_divergence(plain, composed))
        if probe == 0 and differences[0] <= MAX_DIVERGENCE:
            return ""
        noise.append(_divergence(plain, _read_plain(model, probe, moved)))
        model.clear()
    divergence, usual = float(np.median(differences)), float(np.median(noise))
    # Written so that NaN does not pass.
    if divergence <= max(MAX_DIVERGENCE, MAX_NOISE_RATIO * usual) and usual < UNREADABLE_NATS:
        return ""
    return f"logits differ from plain reading by {divergence:.3g} nats in the self-test, plain ones by {usual:.3g}"


def coding_test(model: LlamaModel, coding: ArticleCoding) -> str:
    """What is wrong with the logits after an article that was coded and expanded; empty when nothing is.

    The probes mean nothing, so that a model is unsure of every next token: errors show more than in a shop's articles.
    """
    if coding == "f16":
        return ""
    differences = []
    for probe in range(PROBES):
        system, article, tail = _probe(model, probe)
        state = _compile(model, system, article)
        rows = []
        for payload in (state, expand(encode(state, coding, model.rotation()))):
            model.clear()
            _read(model, system, 0, 0)
            if not model.load(1, payload):
                model.clear()
                return "its memory cannot be expanded"
            model.copy(1, 0)
            rows.append(_read(model, tail, len(system) + len(article), 0))
        differences.append(_divergence(*rows))
        if probe == 0 and differences[0] <= MAX_CODING_LOSS / 2:
            break
    model.clear()
    loss = float(np.median(differences))
    # Written so that NaN does not pass.
    return "" if loss <= MAX_CODING_LOSS else f"{coding} changes logits by {loss:.3g} nats in the self-test"


def _probe(model: LlamaModel, number: int) -> tuple[list[int], list[int], list[int]]:
    """System text, article and tail of meaningless tokens; other ones for every number."""
    size = model.vocab.size
    starts = ((11 + number, 4), (23 + 5 * number, 12), (5 + 11 * number, 4))
    system, article, tail = ([(start + (97 + number) * place) % size for place in range(n)] for start, n in starts)
    return system, article, tail


def _read(model: LlamaModel, tokens: Sequence[int], start: int, sequence: int) -> NDArray[np.float32]:
    last = len(tokens) - 1
    model.decode([Row(token, start + n, sequence, n == last) for n, token in enumerate(tokens)])
    return model.logits(last)


def _read_plain(model: LlamaModel, number: int, start: int) -> NDArray[np.float32]:
    """Logits after the whole probe from position `start` on, read in the batches in which compiled articles are."""
    model.clear()
    for part in _probe(model, number):
        logits = _read(model, part, start, 0)
        start += len(part)
    return logits


def _compile(model: LlamaModel, system: Sequence[int], article: Sequence[int]) -> NDArray[np.uint8]:
    """The state of an article that was read after the system text."""
    model.clear()
    _read(model, system, 0, 0)
    model.copy(0, 1, len(system))
    _read(model, article, len(system), 1)
    model.remove(1, 0, len(system))
    return model.save(1)


def _read_composed(model: LlamaModel, number: int, moved: int) -> NDArray[np.float32] | None:
    """The same with the article stored and loaded again, all of it shifted by `moved`; None where that fails."""
    system, article, tail = _probe(model, number)
    payload = _compile(model, system, article)
    model.clear()
    _read(model, system, 0, 0)
    if not model.load(1, payload):
        return None
    model.copy(0, 2)
    model.copy(1, 2)
    if moved:
        model.remove(0)
        model.remove(1)
        model.shift(2, moved)
    return _read(model, tail, len(system) + len(article) + moved, 2)


def _divergence(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """KL(a ‖ b) of two rows of logits, nats; infinite when either is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    log_a, log_b = (
        row - row.max() - np.log(np.exp(row - row.max()).sum()) for row in (a.astype(np.float64), b.astype(np.float64))
    )
    return float((np.exp(log_a) * (log_a - log_b)).sum())
