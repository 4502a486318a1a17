"""A decoder in onnxruntime with the keys and values of one sequence: tokens in, logits out.

Promises: a beginning that a new prompt shares with the last is not computed again; a failed step leaves the memory
empty rather than wrong. One thread at a time. Knows nothing of text and queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.base.onnx_session import open_session
from runtime.engine.core.kv_ledger import common_prefix
from runtime.errors import MissingError, ModelError

MODEL = "model.onnx"


class OnnxModel:
    """`model.onnx` of a folder, as `quantize.formats.onnx_decoder` writes it: inputs `past_key_values.N.key|value`."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        self.path = folder / MODEL
        if not self.path.is_file():
            raise MissingError("no model.onnx", where=str(folder), hint="install the bundle again")
        self._session = open_session(self.path, threads)
        self._inputs = {entry.name: entry for entry in self._session.get_inputs()}
        self._outputs = [entry.name for entry in self._session.get_outputs()]
        if "logits" not in self._outputs or not any(name.startswith("past_key_values") for name in self._inputs):
            raise ModelError("not a decoder with its past", where=str(self.path), hint="build the bundle again")
        self.tokens: list[int] = []
        """Tokens whose keys and values are in memory."""
        self._past: dict[str, NDArray[Any]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        self.tokens = []
        self._past = {
            name: np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=kinds[entry.type])
            for name, entry in self._inputs.items()
            if name.startswith("past_key_values")
        }

    def keep(self, wanted: Sequence[int]) -> int:
        """Keep the beginning that memory shares with the wanted tokens, without their last; returns its length."""
        shared = min(common_prefix(self.tokens, wanted), len(wanted) - 1)
        del self.tokens[shared:]
        self._past = {name: value[:, :, :shared] for name, value in self._past.items()}
        return shared

    def read(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Compute these tokens after those in memory; the logits after the last, float32 [vocabulary]."""
        position, count = len(self.tokens), len(tokens)
        feed = {
            "input_ids": np.array([tokens], dtype=np.int64),
            "attention_mask": np.ones((1, position + count), dtype=np.int64),
            "position_ids": np.arange(position, position + count, dtype=np.int64)[None],
            **self._past,
        }
        try:
            values = self._session.run(None, {name: feed[name] for name in self._inputs})
        except Exception as error:  # onnxruntime's errors share no base class
            self.clear()
            raise ModelError("onnxruntime could not go on", where=str(self.path), hint=str(error)[:300]) from None
        found = dict(zip(self._outputs, values, strict=True))
        self._past = {
            name.replace("present", "past_key_values"): value
            for name, value in found.items()
            if name.startswith("present")
        }
        self.tokens += tokens
        logits: NDArray[np.float32] = found["logits"][0, -1].astype(np.float32)
        return logits

    def close(self) -> None:
        """Free it."""
        self._session = None
        self._past = {}
