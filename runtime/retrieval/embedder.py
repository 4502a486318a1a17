"""Turns questions and passages into unit vectors with the bundle's own ONNX encoder, on the CPU, offline.

    embedder/model.onnx, tokenizer.json, embedder.json (EmbedderSpec)

Promises: the same folder gives the same vectors (to the rounding of a batch's padding), whatever the order of the
texts. Knows nothing of articles and indexes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import read_text, sha256_file
from runtime.base.manifest import digest
from runtime.base.onnx_session import open_session
from runtime.base.progress import ProgressCallback
from runtime.base.validation import first_problem
from runtime.errors import InputError, MissingError, ModelError
from runtime.retrieval.encoder_tokenizer import EncoderTokenizer

FILES = ("model.onnx", "tokenizer.json", "embedder.json")
BATCH_TOKENS = 2048
"""Padded tokens computed at once: enough to keep two cores busy, few enough to stay within tens of megabytes."""


class EmbedderSpec(BaseModel):
    """`embedder.json`: how the encoder wants to be used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(ge=1)
    pooling: Literal["mean", "cls"] = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""
    max_tokens: int = Field(default=512, ge=8)


class Embedder:
    """An encoder folder, loaded. Safe to call from several threads."""

    def __init__(self, folder: Path, *, threads: int = 2, hashes: Mapping[str, str] | None = None) -> None:
        """Load; `MissingError` when a file is missing, `InputError` or `ModelError` when one cannot be used.

        `hashes`: SHA-256 of the files by name where they are known; hashing them takes a tenth of a second.
        """
        for name in FILES:
            if not (folder / name).is_file():
                raise MissingError(f"the embedder lacks {name}", where=str(folder), hint="install the bundle again")
        self.folder = folder
        self._hashes = hashes or {}
        try:
            self.spec = EmbedderSpec.model_validate_json(read_text(folder / "embedder.json"))
        except ValidationError as error:
            problem = first_problem(error, "key", EmbedderSpec)
            raise InputError(
                problem.sentence, where=str(folder / "embedder.json"), hint="install the bundle again"
            ) from None
        self._tokenizer = EncoderTokenizer(folder / "tokenizer.json", self.spec.max_tokens)
        self._session = open_session(folder / "model.onnx", threads)
        self._inputs = {node.name for node in self._session.get_inputs()}

    @cached_property
    def fingerprint(self) -> str:
        """What the vectors depend on; an index made under another fingerprint is stale."""
        return digest([self._hashes.get(name) or sha256_file(self.folder / name) for name in FILES])

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, dim] of questions."""
        return self._embed([self.spec.query_prefix + text for text in texts], None)

    def passages(self, texts: Sequence[str], progress: ProgressCallback | None = None) -> NDArray[np.float32]:
        """Unit vectors [n, dim] of passages; what goes beyond `max_tokens` is not seen."""
        return self._embed([self.spec.passage_prefix + text for text in texts], progress)

    def states(self, texts: Sequence[str], *, questions: bool) -> list[NDArray[np.float32]]:
        """Unit vectors [tokens, dim] of every token of each text, marks of begin and end included."""
        prefix = self.spec.query_prefix if questions else self.spec.passage_prefix
        rows = self._rows([prefix + text for text in texts])
        out: list[Any] = [None] * len(rows)
        for batch in plan_batches([len(row) for row in rows], BATCH_TOKENS):
            hidden, _ = self._hidden([rows[index] for index in batch])
            for index, states in zip(batch, hidden, strict=True):
                out[index] = _unit(states[: len(rows[index])])
        return out

    def count_tokens(self, texts: Sequence[str]) -> int:
        """How many tokens these questions have, as far as the encoder sees them."""
        return sum(map(len, self._rows(texts)))

    def _embed(self, texts: list[str], progress: ProgressCallback | None) -> NDArray[np.float32]:
        rows = self._rows(texts)
        out = np.zeros((len(rows), self.spec.dim), dtype=np.float32)
        done = 0
        for batch in plan_batches([len(row) for row in rows], BATCH_TOKENS):
            out[batch] = self._run([rows[index] for index in batch])
            done += len(batch)
            if progress:
                progress(done, len(rows))
        return out

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        # A lone surrogate (from a broken terminal or a JSON escape) is no Unicode text: the tokenizer would raise.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return self._tokenizer.encode(clean)

    def _hidden(self, rows: list[list[int]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """([n, tokens, dim] last states, [n, tokens] 1 where a token is)."""
        width = max(1, *(len(row) for row in rows))
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: value for name, value in feeds.items() if name in self._inputs})[0]
        if hidden.ndim != 3 or hidden.shape[2] != self.spec.dim:
            raise ModelError(
                f"gives {list(hidden.shape)}, not [batch, tokens, {self.spec.dim}]",
                where=str(self.folder / "model.onnx"),
            )
        return hidden, mask

    def _run(self, rows: list[list[int]]) -> NDArray[np.float32]:
        hidden, mask = self._hidden(rows)
        if self.spec.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weight = mask[:, :, None].astype(np.float32)
            pooled = (hidden * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
        return _unit(pooled)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (rows / np.maximum(norm, 1e-12)).astype(np.float32)
    return unit


def plan_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, shortest first, each at most `max_tokens` when padded (or one text)."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and lengths[index] * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
