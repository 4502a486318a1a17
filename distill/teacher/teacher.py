"""Teachers: a checkpoint in transformers or a GGUF in llama.cpp, with one interface that reads packs.

    read(pack) -> logits in front of the pack's reply tokens, chunk by chunk, and the last hidden states, if any

A GGUF at four bits fits where its checkpoint never would: 13 billion parameters into 8 GB. It gives no hidden states.
Its branches are read one by one after a prefix that is read once, so each sees what a checkpoint's mask lets it see.
Knows nothing of what is kept of the logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from distill.compute.device import autocast
from distill.packing.forward import chunks, forward
from distill.packing.packing import Pack
from runtime.errors import UsageError


class Teacher(Protocol):
    """What a capture needs."""

    vocabulary: int
    hidden: int
    """Width of the states; 0 where there are none."""

    def read(self, pack: Pack) -> tuple[Iterator[torch.Tensor], torch.Tensor | None]:
        """f32 logits [some, vocabulary] in the order of `reply_targets`, and states [token, hidden]."""
        ...


class CheckpointTeacher:
    """A model of transformers, its masks boolean, so loaded with `sdpa`."""

    def __init__(self, model: Any, precision: str = "auto") -> None:
        self._model, self._precision = model.eval(), precision
        self.vocabulary = int(model.config.vocab_size)
        self.hidden = int(model.config.hidden_size)

    def read(self, pack: Pack) -> tuple[Iterator[torch.Tensor], torch.Tensor]:
        """All branches at once; the logits are computed as they are taken."""
        index = pack.reply_targets()
        with torch.no_grad(), autocast(self._precision):
            states = forward(self._model, pack)

        def rows() -> Iterator[torch.Tensor]:
            for start, part in chunks(states, index):
                with torch.no_grad(), autocast(self._precision):
                    logits: torch.Tensor = self._model.lm_head(part)[: len(index) - start].float()
                yield logits

        return rows(), states


class GgufTeacher:
    """A GGUF file; open it with `gguf_teacher`."""

    hidden = 0

    def __init__(self, file: Any) -> None:
        self._file = file
        self.vocabulary = int(file.vocab.size)

    def read(self, pack: Pack) -> tuple[Iterator[torch.Tensor], None]:
        """A branch at a time; `UsageError` for articles that are not laid out `exact`."""
        if pack.layout != "exact":
            raise UsageError(
                f"a GGUF cannot teach in the layout '{pack.layout}'",
                where="capture.layout",
                hint='leave it "exact": the student still learns to read compiled articles',
            )
        # The token before a reply predicts its first one; the last token of a reply predicts nothing that is asked.
        branches = [(pack.tokens[start : end - 1], reply - 1 - start) for start, reply, end in pack.branches]
        return (torch.from_numpy(rows) for rows in self._file.branches(pack.tokens[: pack.prefix], branches)), None


@contextmanager
def gguf_teacher(path: Path, *, context: int, threads: int) -> Iterator[GgufTeacher]:
    """Open a GGUF as a teacher for packs of at most `context` tokens."""
    from runtime.engine.llama.scorer import LlamaScorer

    with LlamaScorer(path, context=context, threads=threads) as file:
        yield GgufTeacher(file)
