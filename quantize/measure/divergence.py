"""How far each quantized decoder is from the f32 checkpoint: KL, top-1, size and speed, on the company's own replies.

KL is the mean over reply tokens of KL(f32 ‖ quantized) in nats; top-1 the share of them where both put the same token
first; perplexity is that of the replies the company's agents wrote. A general text is read the same way. The f32
log-probabilities wait on disk, so only one model is in memory at a time. Knows nothing of formats.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from quantize.formats.onnx_decoder import OnnxDecoder
from quantize.measure.samples import Sample
from quantize.measure.speed import Speed, measure_speed
from runtime.base.files import need_space
from runtime.base.statistics import log_softmax
from runtime.engine.llama.bindings import library
from runtime.engine.llama.scorer import LlamaScorer


class Decoder(Protocol):
    """What is measured: `LlamaScorer`, `OnnxDecoder` and `TorchDecoder` fit."""

    def logits(self, tokens: Sequence[int], start: int = 0) -> npt.NDArray[np.float32]:
        """Next-token logits after each of `tokens[start:]`."""
        ...

    def decode_rate(self, tokens: Sequence[int], count: int) -> float:
        """Tokens a second when writing `count` tokens."""
        ...


class IntentDivergence(BaseModel):
    """How far one file is from f32 on the records of one intent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kl: float
    top1: float
    tokens: int


class DecoderMeasurement(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    megabytes: float
    """File or folder size, 10⁶ bytes."""
    kl: float
    """Mean KL(f32 ‖ this) per reply token, nats."""
    kl_p99: float = 0.0
    """What 99 % of the reply tokens stay below, nats."""
    top1: float
    """Share of reply tokens where f32 and this agree on the likeliest token."""
    perplexity: float
    """Of the replies as they were written, a token."""
    tokens_per_s: float
    """Decoding, one sequence, `threads` threads: the median step."""
    tokens: int
    """Reply tokens measured."""
    seconds: float
    lost: int = 0
    """Reply tokens that f32 puts first and this does not: right became wrong."""
    won: int = 0
    """The other way round."""
    by_intent: dict[str, IntentDivergence] = {}
    """The same by the intent of the records; empty where none has one."""
    speeds: tuple[Speed, ...] = ()
    """By thread count; empty where nobody timed it."""


class TorchDecoder:
    """A checkpoint in transformers, f32: the yardstick."""

    def __init__(self, checkpoint: Path, *, threads: int = 2) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32, local_files_only=True
        ).eval()

    def __enter__(self) -> TorchDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._model = None

    def logits(self, tokens: Sequence[int], start: int = 0) -> npt.NDArray[np.float32]:
        """Next-token logits after each of `tokens[start:]`, shape (len(tokens) - start, vocabulary)."""
        import torch

        with torch.inference_mode():
            keep = len(tokens) - start
            out: npt.NDArray[np.float32] = (
                self._model(torch.tensor([list(tokens)]), logits_to_keep=keep).logits[0].numpy()
            )
        return out

    def decode_rate(self, tokens: Sequence[int], count: int) -> float:
        """Tokens a second when writing `count` tokens greedily after `tokens`: median over the steps."""
        import torch

        seconds = []
        with torch.inference_mode():
            out = self._model(torch.tensor([list(tokens)]), use_cache=True, logits_to_keep=1)
            for _ in range(count):
                began = time.perf_counter()
                token = out.logits[0, -1].argmax().view(1, 1)
                out = self._model(token, past_key_values=out.past_key_values, use_cache=True)
                seconds.append(time.perf_counter() - began)
        return 1 / float(np.median(seconds))


def measure_decoders(
    checkpoint: Path,
    candidates: Mapping[str, Path],
    samples: Sequence[Sample],
    *,
    scratch: Path,
    threads: int = 2,
    decode_tokens: int = 32,
    speed_threads: Sequence[int] = (),
    report: Callable[[str], None] = lambda _: None,
) -> list[DecoderMeasurement]:
    """Measure every candidate (name → GGUF file or ONNX folder) against the f32 checkpoint; its own row comes first.

    The f32 log-probabilities wait in `scratch` (reply tokens × vocabulary × 4 bytes, `SpaceError` before the work).
    Each file is also timed with every count of `speed_threads`, reading a prompt of the samples' median length.
    """
    library()  # before torch: the first to load OpenMP decides whether waiting threads sleep or spin
    vocabulary = 0
    longest = max(len(sample.tokens) for sample in samples) + decode_tokens + 8
    rows = []
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        report("measuring f32")
        began = time.monotonic()
        surprise = 0.0
        with TorchDecoder(checkpoint, threads=threads) as reference:
            for index, sample in enumerate(samples):
                logits = _reply_logits(reference, sample)
                if index == 0:
                    vocabulary = logits.shape[1]
                    need_space(scratch, 4 * vocabulary * _reply_tokens(samples), "measuring against f32")
                logprobs = log_softmax(logits)
                surprise += _surprise(logprobs, sample)
                np.save(Path(folder) / f"{index}.npy", logprobs)
            rate = _rate(reference, samples, decode_tokens)
        rows.append(_row("f32", checkpoint, _Divergence.none(samples), surprise, rate, samples, began))
        for name, path in candidates.items():
            report(f"measuring {name}")
            began = time.monotonic()
            surprise, apart = 0.0, _Divergence()
            with _open(path, longest, threads) as decoder:
                for index, sample in enumerate(samples):
                    wanted = np.load(Path(folder) / f"{index}.npy", mmap_mode="r")
                    got = log_softmax(_reply_logits(decoder, sample))
                    surprise += _surprise(got, sample)
                    apart.add(wanted, got, sample)
                rate = _rate(decoder, samples, decode_tokens)
            prompt = int(np.median([sample.reply for sample in samples]))
            speeds = tuple(
                measure_speed(path, prompt_tokens=prompt, threads=count, context=longest) for count in speed_threads
            )
            row = _row(name, path, apart, surprise, rate, samples, began)
            rows.append(row.model_copy(update={"speeds": speeds}))
    return rows


class _Divergence:
    """Sums up how far one file is from f32, token by token."""

    def __init__(self) -> None:
        self._kl: list[npt.NDArray[np.float64]] = []
        self._same: list[npt.NDArray[np.bool_]] = []
        self._intents: list[tuple[str, int]] = []
        self.lost = self.won = 0

    @classmethod
    def none(cls, samples: Sequence[Sample]) -> _Divergence:
        """Of f32 itself."""
        out = cls()
        count = _reply_tokens(samples)
        out._kl, out._same = [np.zeros(count)], [np.ones(count, dtype=bool)]
        return out

    def add(self, wanted: npt.NDArray[np.float32], got: npt.NDArray[np.float32], sample: Sample) -> None:
        """Log-probabilities [reply tokens, vocabulary] of f32 and of the file."""
        self._kl.append(np.sum(np.exp(wanted) * (wanted - got), axis=-1, dtype=np.float64))
        first, second = wanted.argmax(-1), got.argmax(-1)
        self._same.append(first == second)
        self._intents.append((sample.intent, len(first)))
        reply = np.array(sample.tokens[sample.reply :])
        self.lost += int(np.sum((first == reply) & (second != reply)))
        self.won += int(np.sum((first != reply) & (second == reply)))

    def figures(self) -> dict[str, Any]:
        """What goes into the row."""
        kl, same = np.concatenate(self._kl), np.concatenate(self._same)
        named = np.array([intent for intent, count in self._intents for _ in range(count)])
        return {
            "kl": round(float(kl.mean()), 5),
            "kl_p99": round(float(np.quantile(kl, 0.99)), 4),
            "top1": round(float(same.mean()), 4),
            "lost": self.lost,
            "won": self.won,
            "by_intent": {
                intent: IntentDivergence(
                    kl=round(float(kl[named == intent].mean()), 5),
                    top1=round(float(same[named == intent].mean()), 4),
                    tokens=int((named == intent).sum()),
                )
                for intent in sorted(set(named.tolist()) - {""})
            },
        }


def _open(path: Path, context: int, threads: int) -> AbstractContextManager[Decoder]:
    if path.is_dir():
        return OnnxDecoder(path, threads=threads)
    return LlamaScorer(path, context=context, threads=threads)


def _reply_logits(decoder: Decoder, sample: Sample) -> npt.NDArray[np.float32]:
    """Logits that predict each reply token: those after the token before it."""
    return decoder.logits(sample.tokens[:-1], sample.reply - 1)


def _rate(decoder: Decoder, samples: Sequence[Sample], count: int) -> float:
    first = samples[0]
    return decoder.decode_rate(first.tokens[: first.reply], count)


def _reply_tokens(samples: Sequence[Sample]) -> int:
    return sum(len(sample.tokens) - sample.reply for sample in samples)


def _surprise(logprobs: npt.NDArray[np.float32], sample: Sample) -> float:
    """Negative log-likelihood of a reply's tokens, in nats."""
    reply = list(sample.tokens[sample.reply :])
    return -float(logprobs[np.arange(len(reply)), reply].sum(dtype=np.float64))


def _row(
    name: str,
    path: Path,
    apart: _Divergence,
    surprise: float,
    rate: float,
    samples: Sequence[Sample],
    began: float,
) -> DecoderMeasurement:
    files = (
        [path]
        if path.is_file()
        else [file for file in path.iterdir() if ".onnx" in file.name or file.suffix == ".safetensors"]
    )
    return DecoderMeasurement(
        format=name,
        megabytes=round(sum(file.stat().st_size for file in files) / 1e6, 1),
        perplexity=round(math.exp(surprise / _reply_tokens(samples)), 3),
        tokens_per_s=round(rate, 1),
        tokens=_reply_tokens(samples),
        seconds=round(time.monotonic() - began, 1),
        **apart.figures(),
    )
