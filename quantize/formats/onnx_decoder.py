"""A decoder checkpoint → ONNX with past keys and values → 8-bit weights (MatMulNBits); the file opened to measure it.

Weights only: plain dynamic INT8 breaks small decoders (activation outliers in down_proj, docs/log.md). Export is
optimum's, quantization onnxruntime's, both in a child process. Promises: `out` appears whole or not at all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantize.formats.checkpoint import Checkpoint, ModelShape
from runtime.base.child_process import run_child
from runtime.base.files import need_space, new_folder
from runtime.base.onnx_session import open_session
from runtime.errors import MissingError

MODEL = "model.onnx"
_EXTERNAL_ABOVE_BYTES = 1_800_000_000
"""A protobuf file ends at 2 GiB; beyond this weights go beside it."""


def export_onnx_decoder(checkpoint: Path, out: Path, *, bits: int = 8, threads: int = 2) -> str:
    """Write folder `out` with `model.onnx` (matrices in `bits` bits, the embedding in f32) and tokenizer.json.

    Returns what the libraries printed. `ModelError` when one refuses, `SpaceError` before the work.
    """
    source = Checkpoint(checkpoint)
    f32_bytes = 4 * sum(_size(shape) for shape in source.shapes().values())
    need_space(out.parent, f32_bytes * 5 // 2, "the ONNX export and its f32 stage")
    with new_folder(out) as folder:
        (folder / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
        arguments = [str(checkpoint), str(folder / MODEL), str(bits), str(block_size(source.shape))]
        return run_child(
            "quantize.formats.onnx_decoder",
            arguments,
            what="the ONNX export",
            where=checkpoint,
            out=out,
            threads=threads,
        )


def block_size(shape: ModelShape) -> int:
    """Weights that share a scale: the largest of 128, 64 and 32 that fills every row, since a part block is padded."""
    rows = (shape.hidden, shape.feed_forward, shape.heads * shape.head_dim)
    return next((size for size in (128, 64) if not any(row % size for row in rows)), 32)


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


def _child(checkpoint: str, out: str, bits: str, block: str) -> None:
    """What the child process does: export to a scratch folder beside `out`, quantize into `out`."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from optimum.exporters.onnx import main_export

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
        quantizer = MatMulNBitsQuantizer(
            str(Path(scratch) / MODEL),
            bits=int(bits),
            block_size=int(block),
            accuracy_level=4,  # activations in 8 bits too: eight times the speed for a KL that stays below 0.01
        )
        quantizer.process()
        size = quantizer.model.model.ByteSize()
        quantizer.model.save_model_to_file(out, use_external_data_format=size > _EXTERNAL_ABOVE_BYTES)


if __name__ == "__main__":
    _child(*sys.argv[1:5])
