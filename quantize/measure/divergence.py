"""How far each quantized decoder is from the f32 checkpoint: KL, top-1, size and speed, on the company's own replies.

KL is the mean over reply tokens of KL(f32 ‖ quantized) in nats; top-1 the share of them where both put the same token
first; perplexity is that of the replies the company's agents wrote. The f32 log-probabilities wait on disk, so only one
model is in memory at a time. Knows nothing of formats.
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


class DecoderMeasurement(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    megabytes: float
    """File or folder size, 10⁶ bytes."""
    kl: float
    """Mean KL(f32 ‖ this) per reply token, nats."""
    top1: float
    """Share of reply tokens where f32 and this agree on the likeliest token."""
    perplexity: float
    """Of the replies as they were written, a token."""
    tokens_per_s: float
    """Decoding, one sequence, `threads` threads: the median step."""
    tokens: int
    """Reply tokens measured."""
    seconds: float


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
    report: Callable[[str], None] = lambda _: None,
) -> list[DecoderMeasurement]:
    """Measure every candidate (name → GGUF file or ONNX folder) against the f32 checkpoint; its own row comes first.

    The f32 log-probabilities wait in `scratch` (reply tokens × vocabulary × 4 bytes, `SpaceError` before the work).
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
        rows.append(_row("f32", checkpoint, 0.0, 1.0, surprise, rate, samples, began))
        for name, path in candidates.items():
            report(f"measuring {name}")
            began = time.monotonic()
            kl = agree = surprise = 0.0
            with _open(path, longest, threads) as decoder:
                for index, sample in enumerate(samples):
                    wanted = np.load(Path(folder) / f"{index}.npy", mmap_mode="r")
                    got = log_softmax(_reply_logits(decoder, sample))
                    kl += float(np.sum(np.exp(wanted) * (wanted - got), dtype=np.float64))
                    surprise += _surprise(got, sample)
                    agree += float(np.sum(wanted.argmax(-1) == got.argmax(-1)))
                rate = _rate(decoder, samples, decode_tokens)
            total = _reply_tokens(samples)
            rows.append(_row(name, path, kl / total, agree / total, surprise, rate, samples, began))
    return rows


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
    name: str, path: Path, kl: float, top1: float, surprise: float, rate: float, samples: Sequence[Sample], began: float
) -> DecoderMeasurement:
    files = (
        [path]
        if path.is_file()
        else [file for file in path.iterdir() if ".onnx" in file.name or file.suffix == ".safetensors"]
    )
    return DecoderMeasurement(
        format=name,
        megabytes=round(sum(file.stat().st_size for file in files) / 1e6, 1),
        kl=round(kl, 5),
        top1=round(top1, 4),
        perplexity=round(math.exp(surprise / _reply_tokens(samples)), 3),
        tokens_per_s=round(rate, 1),
        tokens=_reply_tokens(samples),
        seconds=round(time.monotonic() - began, 1),
    )
