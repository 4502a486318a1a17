"""A quantized GGUF file → the same file, rounded anew layer by layer so that outputs on the company's texts err least.

Two streams go through the layers: the texts' states as the checkpoint computes them, and as the layers that are
already rounded do. A matrix is fitted to give the first stream's outputs from the second one's inputs (GPTAQ,
arXiv:2504.02692), so it makes good what the layers before it lost, too. Sizes, types and metadata stay: any llama.cpp
reads the result.

Promises: a tensor's error against what it is fitted to never grows; memory stays at the checkpoint, the texts' states
and one layer's correlations; the output appears whole or not at all. Knows nothing of records and bundles.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.formats.checkpoint import Checkpoint, ModelShape
from quantize.formats.compensated_rounding import RoundingError, damped, round_compensated
from quantize.formats.gguf_blocks import BLOCK_TYPES, BlockMatrix
from quantize.formats.gguf_writer import gguf_name, permute_rows, rotated_heads
from runtime.base.files import need_space, new_file
from runtime.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CompensatedFile:
    """What rounding anew came to."""

    errors: dict[str, RoundingError] = field(default_factory=dict)
    """By GGUF's name of a tensor."""

    @property
    def remaining(self) -> float:
        """Mean over the tensors of the share of output error that is left, 0 to 1; 1 where none was rounded anew."""
        shares = [row.after / row.before for row in self.errors.values() if row.before > 0]
        return float(np.mean(shares)) if shares else 1.0


def compensate_gguf(
    checkpoint: Path,
    source: Path,
    out: Path,
    texts: Sequence[Sequence[int]],
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> CompensatedFile:
    """Write `out`, a copy of `source` (a quantized GGUF of `checkpoint`) with better rounded layers.

    `texts` are token ids, thousands of tokens in all; `advance(1)` is called after each layer. The embedding and the
    output layer stay as they are. `InputError` without a token, `SpaceError` before the work.
    """
    from gguf import GGUFReader

    if not any(texts):
        raise InputError("no text to round by", where=str(checkpoint), hint="prepare records first")
    need_space(out.parent, source.stat().st_size, "the rounded GGUF")
    shape = Checkpoint(checkpoint).shape
    errors: dict[str, RoundingError] = {}
    with new_file(out) as partial:
        shutil.copyfile(source, partial)
        reader = GGUFReader(partial, "r+")
        stored = {tensor.name: tensor for tensor in reader.tensors}
        streams = _Streams(checkpoint, [list(text) for text in texts if text], threads)
        for index in range(streams.layers):
            correlations = streams.correlate(index)
            for hf, module in streams.matrices(index):
                name = gguf_name(f"{hf}.weight", shape)
                tensor = stored.get(name or "")
                if tensor is None or tensor.tensor_type.name not in BLOCK_TYPES:
                    continue
                blocks = BlockMatrix(tensor.tensor_type.name, tensor.data, module.in_features)
                errors[tensor.name] = _round(module, blocks, correlations[hf], _row_order(hf, module, shape))
                tensor.data[:] = blocks.bytes()
            streams.pass_on(index)
            advance(1)
        reader.data.flush()
    return CompensatedFile(errors)


@dataclass
class _Correlation:
    """Of one matrix's inputs over all texts, [columns, columns] each."""

    rounded: torch.Tensor
    """`X^T X` of the stream through rounded layers."""
    crossed: torch.Tensor
    """`Y^T X`, Y being the exact stream's."""


def _round(module: torch.nn.Linear, blocks: BlockMatrix, inputs: _Correlation, order: torch.Tensor) -> RoundingError:
    """Round a layer's matrix; its rows in the file stand in `order`. The module gets what the file now decodes to."""
    import torch

    weights = module.weight.data
    # The unrounded matrix that would give the exact stream's outputs from the rounded stream's inputs.
    correlation = damped(inputs.rounded)
    shift = torch.linalg.solve(correlation.double(), (inputs.crossed - inputs.rounded).T.double()).float().T
    wanted = (weights + weights @ shift)[order]
    error = round_compensated(wanted.contiguous(), blocks, correlation)
    module.weight.data[order] = torch.from_numpy(blocks.values())
    return error


def _row_order(hf: str, module: torch.nn.Linear, shape: ModelShape) -> torch.Tensor:
    """The checkpoint's row of each row in the file."""
    import torch

    rows = torch.arange(module.out_features)
    heads = rotated_heads(f"{hf}.weight", shape)
    return rows if heads is None else permute_rows(rows, heads)


class _Streams:
    """The texts' states before a layer, exact and through the layers that are already rounded."""

    def __init__(self, checkpoint: Path, texts: Sequence[list[int]], threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32, local_files_only=True
        ).eval()
        self._layers = self._model.model.layers
        self.layers = len(self._layers)
        entered = [self._enter(text) for text in texts]
        self._exact = [states for states, _ in entered]
        self._rounded = list(self._exact)
        self._arguments = [arguments for _, arguments in entered]

    def _enter(self, text: list[int]) -> tuple[torch.Tensor, dict[str, Any]]:
        """The states that enter the first layer, and what else a layer is called with: mask, positions, rotation."""
        import torch

        caught: list[tuple[torch.Tensor, dict[str, Any]]] = []

        def catch(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append((args[0], kwargs))
            raise _EnteredError

        handle = self._layers[0].register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with torch.no_grad():
                self._model(torch.tensor([text]), use_cache=False)
        except _EnteredError:
            pass
        finally:
            handle.remove()
        return caught[0]

    def matrices(self, index: int) -> Iterator[tuple[str, torch.nn.Linear]]:
        """(Hugging Face path, module) of every linear layer in a layer."""
        import torch

        for path, module in self._layers[index].named_modules():
            if isinstance(module, torch.nn.Linear):
                yield f"model.layers.{index}.{path}", module

    def correlate(self, index: int) -> dict[str, _Correlation]:
        """Run both streams through a layer as it is; the exact one moves on."""
        sums: dict[tuple[str, ...], _Correlation] = {}
        for text, arguments in enumerate(self._arguments):
            exact_out, exact = self._run(index, self._exact[text], arguments)
            _, rounded = self._run(index, self._rounded[text], arguments)
            for names in _shared(rounded):
                x, y = _evened(rounded[names[0]], exact[names[0]])
                if names not in sums:
                    sums[names] = _Correlation(x.T @ x, y.T @ x)
                else:
                    sums[names].rounded.addmm_(x.T, x)
                    sums[names].crossed.addmm_(y.T, x)
            self._exact[text] = exact_out
        return {name: sums[names] for names in sums for name in names}

    def pass_on(self, index: int) -> None:
        """Move the other stream through the layer, now rounded."""
        for text, arguments in enumerate(self._arguments):
            self._rounded[text], _ = self._run(index, self._rounded[text], arguments)

    def _run(
        self, index: int, states: torch.Tensor, arguments: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """A layer's output, and the inputs [tokens, columns] of its linear layers."""
        import torch

        seen: dict[str, torch.Tensor] = {}
        with torch.no_grad(), _watched(self.matrices(index), seen):
            out = self._layers[index](states, **arguments)
        return (out[0] if isinstance(out, tuple) else out), seen


class _EnteredError(Exception):
    """The first layer was reached; the rest of the model need not run."""


@contextmanager
def _watched(matrices: Iterator[tuple[str, torch.nn.Linear]], seen: dict[str, torch.Tensor]) -> Iterator[None]:
    def watch(name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def keep(_module: Any, inputs: tuple[Any, ...]) -> None:
            seen[name] = inputs[0].reshape(-1, inputs[0].shape[-1])

        return keep

    handles = [module.register_forward_pre_hook(watch(name)) for name, module in matrices]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _evened(rounded: torch.Tensor, exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both streams' inputs, louder tokens turned down to the median one.

    Before some matrices a prompt's first token is hundreds of times as loud as the median one (docs/log.md). In a plain
    sum of squares it alone would decide their rounding.
    """
    loudness = exact.norm(dim=1, keepdim=True)
    weight = (loudness.median() / loudness.clamp(min=1e-12)).clamp(max=1.0)
    return rounded * weight, exact * weight


def _shared(inputs: Mapping[str, torch.Tensor]) -> list[tuple[str, ...]]:
    """Names grouped by the tensor they read: queries, keys and values have one input."""
    groups: dict[int, list[str]] = {}
    for name, states in inputs.items():
        groups.setdefault(states.data_ptr(), []).append(name)
    return [tuple(names) for names in groups.values()]
