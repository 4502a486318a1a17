"""A decoder checkpoint → ONNX with past keys and values → weights in 8 or 4 bits; the file opened to measure it.

Weights only (MatMulNBits): plain dynamic INT8 breaks small decoders (activation outliers in down_proj, docs/log.md).
Export is optimum's, quantization onnxruntime's, both in a child process. How activations are computed is chosen by what
it does to the likeliest token of real prompts. Promises: `out` appears whole or not at all; a decoder that strays
further from f32 than its bound is refused.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from quantize.formats.checkpoint import Checkpoint
from runtime.base.child_process import run_child
from runtime.base.files import need_space, new_folder
from runtime.base.onnx_session import open_session
from runtime.base.statistics import log_softmax
from runtime.errors import MissingError, ModelError, UsageError

MODEL = "model.onnx"
_EXTERNAL_ABOVE_BYTES = 1_800_000_000
"""A protobuf file ends at 2 GiB; beyond this weights go beside it."""
BITS = (8, 4)
"""Bits of a weight that are offered."""


class Way(NamedTuple):
    """How a decoder stores and computes its matrices."""

    block: int
    """Weights, and rounded activations, that share a scale."""
    accuracy_level: int
    """MatMulNBits' own: 4 rounds activations to 8 bits, 1 keeps them in f32."""


WAYS: Mapping[int, tuple[Way, ...]] = {8: (Way(32, 4), Way(16, 4)), 4: (Way(32, 4), Way(32, 1))}
"""By bits, the fastest first.

onnxruntime 1.32 has no kernel for 8 bits at level 1: it expands each matrix to f32 at every step and writes a twentieth
of the tokens. Blocks of 16 round activations finely enough to agree with f32 as often (docs/log.md).
"""
_AS_GOOD = 0.01
"""Share of positions whose likeliest token a faster way may lose against the best before it is passed over."""
_POSITIONS = 48
"""At the end of every probe that are compared: the reply. More would hold a large vocabulary's figures in memory."""
_REQUEST = "request.json"


class AgreementBound(BaseModel):
    """How far a decoder may stray from the f32 checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_kl: float = 0.05
    """Mean KL(f32 ‖ decoder), nats a position."""
    min_agreement: float = 0.9
    """Share of positions with the same likeliest token."""


class Agreement(BaseModel):
    """What one way does to real prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: int
    accuracy_level: int
    kl: float
    agreement: float
    positions: int

    def within(self, bound: AgreementBound) -> bool:
        """Whether it keeps both figures of the bound; one that is no number does not."""
        return self.kl <= bound.max_kl and self.agreement >= bound.min_agreement


def choose_way(tried: Sequence[Agreement]) -> Agreement:
    """The fastest way that agrees with f32 as often as the best, to within a percent (pure); fastest first."""
    best = max(row.agreement for row in tried)
    return next(row for row in tried if row.agreement >= best - _AS_GOOD)


def export_onnx_decoder(
    checkpoint: Path,
    out: Path,
    *,
    bits: int = 8,
    probes: Sequence[Sequence[int]] = (),
    bound: AgreementBound | None = None,
    threads: int = 2,
) -> list[Agreement]:
    """Write folder `out` with `model.onnx` (matrices in `bits` bits, the embedding in f32) and tokenizer.json.

    On `probes` (token ids of real prompts) every one of `WAYS` is measured against the f32 export; returns what was
    measured, the one that was chosen first, nothing without probes. `ModelError` when a library refuses or the decoder
    misses `bound`, `UsageError` for other bits, `SpaceError` before the work.
    """
    check_bits(bits)
    source = Checkpoint(checkpoint)
    f32_bytes = 4 * sum(_size(shape) for shape in source.shapes().values())
    need_space(out.parent, f32_bytes * 5 // 2, "the ONNX export and its f32 stage")
    with new_folder(out) as folder:
        (folder / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
        request = folder / _REQUEST
        request.write_text(json.dumps([list(probe) for probe in probes if len(probe) > 1]), encoding="utf-8")
        log = run_child(
            "quantize.formats.onnx_decoder",
            [str(checkpoint), str(folder / MODEL), str(bits), str(request), str(threads)],
            what="the ONNX export",
            where=checkpoint,
            out=out,
            threads=threads,
        )
        request.unlink()
        tried = list(_reported(log))
        if tried and not tried[0].within(bound or AgreementBound()):
            raise _strayed(tried[0], bits, bound or AgreementBound(), checkpoint)
    return tried


def check_bits(bits: int) -> None:
    """`UsageError` for bits that are not offered."""
    if bits not in BITS:
        raise UsageError(f"no ONNX decoder in {bits} bits", hint=f"one of {', '.join(map(str, BITS))}")


def _strayed(row: Agreement, bits: int, bound: AgreementBound, checkpoint: Path) -> ModelError:
    return ModelError(
        f"in {bits} bits the ONNX decoder strays from f32: KL {row.kl:.3f} (at most {bound.max_kl:g}), "
        f"the same likeliest token on {row.agreement:.1%} of {row.positions} positions "
        f"(at least {bound.min_agreement:.0%})",
        where=str(checkpoint),
        hint="take 8 bits, or a GGUF format" if bits == min(BITS) else "take a GGUF format, or raise the bound",
    )


class OnnxDecoder:
    """An exported decoder in onnxruntime. Use it in a `with` block."""

    def __init__(self, folder: Path, *, threads: int = 2) -> None:
        if not (folder / MODEL).is_file():
            raise MissingError("no model.onnx", where=str(folder), hint="build it first")
        self._session = open_session(folder / MODEL, threads)
        self._inputs = {entry.name: entry for entry in self._session.get_inputs()}
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def __enter__(self) -> OnnxDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None

    def logits(self, tokens: Sequence[int], start: int = 0) -> npt.NDArray[np.float32]:
        """Next-token logits after each of `tokens[start:]`, shape (len(tokens) - start, vocabulary)."""
        out: npt.NDArray[np.float32] = self._run(tokens, 0, self._empty_past())["logits"][0, start:]
        return out

    def decode_rate(self, tokens: Sequence[int], count: int) -> float:
        """Tokens a second when writing `count` tokens greedily after `tokens`, one at a time: median over the steps."""
        result = self._run(tokens, 0, self._empty_past())
        seconds = []
        for step in range(count):
            began = time.perf_counter()
            token = int(np.argmax(result["logits"][0, -1]))
            past = {
                name.replace("present", "past_key_values"): value
                for name, value in result.items()
                if name.startswith("present")
            }
            result = self._run([token], len(tokens) + step, past)
            seconds.append(time.perf_counter() - began)
        return 1 / float(np.median(seconds))

    def _empty_past(self) -> dict[str, Any]:
        return {
            name: np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
            for name, entry in self._inputs.items()
            if name.startswith("past_key_values")
        }

    def _run(self, tokens: Sequence[int], position: int, past: dict[str, Any]) -> dict[str, Any]:
        count = len(tokens)
        feed = {
            "input_ids": np.array([tokens], dtype=np.int64),
            "attention_mask": np.ones((1, position + count), dtype=np.int64),
            "position_ids": np.arange(position, position + count, dtype=np.int64)[None],
            **past,
        }
        values = self._session.run(None, {name: feed[name] for name in self._inputs})
        return dict(zip(self._outputs, values, strict=True))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


_MARK = "agreement: "


def _reported(log: str) -> Iterator[Agreement]:
    """What the child measured, out of all that it and the libraries printed."""
    for line in log.splitlines():
        if line.startswith(_MARK):
            yield Agreement.model_validate_json(line.removeprefix(_MARK))


def _child(checkpoint: str, out: str, bits: str, request: str, threads: str) -> None:
    """What the child process does: export to a scratch folder beside `out`, quantize into `out`, measure on probes."""
    from optimum.exporters.onnx import main_export

    probes = json.loads(Path(request).read_text(encoding="utf-8"))
    ways = WAYS[int(bits)]
    with tempfile.TemporaryDirectory(dir=Path(out).parent) as scratch:
        main_export(
            checkpoint,
            scratch,
            task="text-generation-with-past",
            library_name="transformers",
            do_validation=False,  # quantize.measure.divergence compares logits on real prompts
            no_post_process=True,  # it would tie the output layer to the f32 embedding, which is then not quantized
            local_files_only=True,
        )
        exported = Path(scratch) / MODEL
        wanted = list(_logprobs(Path(scratch), probes, int(threads)))
        tried: dict[Way, Agreement] = {}
        for way in ways if wanted else ways[:1]:
            folder = _folder(scratch, way)
            folder.mkdir()
            _write_quantized(exported, folder / MODEL, int(bits), way)
            if wanted:
                tried[way] = _agreement(way, wanted, _logprobs(folder, probes, int(threads)))
            sys.stdout.flush()
        chosen = choose_way(list(tried.values())) if tried else None
        best = next((way for way, row in tried.items() if row == chosen), ways[0])
        for file in _folder(scratch, best).iterdir():  # beyond 2 GiB weights lie beside the model
            file.replace(Path(out).parent / file.name)
    for row in sorted(tried.values(), key=lambda row: row != chosen):
        sys.stdout.write(f"\n{_MARK}{row.model_dump_json()}\n")


def _folder(scratch: str, way: Way) -> Path:
    return Path(scratch) / f"{way.block}-{way.accuracy_level}"


def _write_quantized(exported: Path, out: Path, bits: int, way: Way) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(str(exported), bits=bits, block_size=way.block, accuracy_level=way.accuracy_level)
    quantizer.process()
    model = quantizer.model
    model.save_model_to_file(str(out), use_external_data_format=model.model.ByteSize() > _EXTERNAL_ABOVE_BYTES)


def _logprobs(folder: Path, probes: Sequence[Sequence[int]], threads: int) -> Iterator[npt.NDArray[np.float32]]:
    """Log-probabilities [positions, vocabulary] at the end of each probe; nothing is opened without one."""
    if probes:
        with OnnxDecoder(folder, threads=threads) as decoder:
            for probe in probes:
                yield log_softmax(decoder.logits(probe, max(0, len(probe) - _POSITIONS)))


def _agreement(
    way: Way, wanted: Sequence[npt.NDArray[np.float32]], got: Iterator[npt.NDArray[np.float32]]
) -> Agreement:
    kl = same = positions = 0.0
    for reference, logprobs in zip(wanted, got, strict=True):
        kl += float(np.sum(np.exp(reference) * (reference - logprobs), dtype=np.float64))
        same += float(np.sum(reference.argmax(-1) == logprobs.argmax(-1)))
        positions += len(reference)
    return Agreement(
        block=way.block,
        accuracy_level=way.accuracy_level,
        kl=round(kl / positions, 5),
        agreement=round(same / positions, 4),
        positions=int(positions),
    )


if __name__ == "__main__":
    _child(*sys.argv[1:6])
