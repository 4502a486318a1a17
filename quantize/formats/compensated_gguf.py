"""A quantized GGUF file → the same file, rounded anew layer by layer so that outputs on the company's texts err least.

The texts' states go through the checkpoint's own layers, one at a time; each matrix is rounded by what it multiplies
there (`compensated_rounding`). A token counts in a matrix by how much its output there moves what is predicted: the
squared gradient of the model's own loss (Fisher information; GuidedQuant, arXiv:2505.07004). Sizes, types and metadata
stay: any llama.cpp reads the result.

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
from quantize.formats.compensated_rounding import RoundingError, round_compensated, shrunk
from quantize.formats.gguf_blocks import BLOCK_TYPES, BlockMatrix
from quantize.formats.gguf_writer import gguf_name, permute_rows, rotated_heads
from runtime.base.files import need_space, new_file
from runtime.errors import InputError

if TYPE_CHECKING:
    import torch


_SEED = 1
"""Of the labels that are drawn."""


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
    starts: Sequence[int] = (),
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> CompensatedFile:
    """Write `out`, a copy of `source` (a quantized GGUF of `checkpoint`) with better rounded layers.

    `texts` are token ids, thousands of tokens in all, and `starts` the index in each from which on predictions matter:
    where its reply begins; without them all do. `advance(1)` is called after each layer. The embedding and the output
    layer stay as they are. `InputError` without a text of two tokens, `SpaceError` before the work.
    """
    from gguf import GGUFReader

    known = [
        (list(text), start) for text, start in zip(texts, starts or [1] * len(texts), strict=True) if len(text) > 1
    ]
    if not known:
        raise InputError("no text to round by", where=str(checkpoint), hint="prepare records first")
    need_space(out.parent, source.stat().st_size, "the rounded GGUF")
    shape = Checkpoint(checkpoint).shape
    errors: dict[str, RoundingError] = {}
    with new_file(out) as partial:
        shutil.copyfile(source, partial)
        reader = GGUFReader(partial, "r+")
        stored = {tensor.name: tensor for tensor in reader.tensors}
        states = _States(checkpoint, known, threads)
        for index in range(states.layers):
            correlations = states.pass_on(index)
            for hf, module in states.matrices(index):
                name = gguf_name(f"{hf}.weight", shape)
                tensor = stored.get(name or "")
                if tensor is None or tensor.tensor_type.name not in BLOCK_TYPES:
                    continue
                blocks = BlockMatrix(tensor.tensor_type.name, tensor.data, module.in_features)
                wanted = module.weight.data[_row_order(hf, module, shape)]
                errors[tensor.name] = round_compensated(wanted.contiguous(), blocks, shrunk(correlations[hf]))
                tensor.data[:] = blocks.bytes()
            advance(1)
        reader.data.flush()
    return CompensatedFile(errors)


def _row_order(hf: str, module: torch.nn.Linear, shape: ModelShape) -> torch.Tensor:
    """The checkpoint's row of each row in the file."""
    import torch

    rows = torch.arange(module.out_features)
    heads = rotated_heads(f"{hf}.weight", shape)
    return rows if heads is None else permute_rows(rows, heads)


class _States:
    """The texts' states before a layer of the checkpoint."""

    def __init__(self, checkpoint: Path, texts: Sequence[tuple[list[int], int]], threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.float32, local_files_only=True
        ).eval()
        self._model.requires_grad_(False)
        self._layers = self._model.model.layers
        self.layers = len(self._layers)
        generator = torch.Generator().manual_seed(_SEED)
        self._weights = [self._weigh(text, start, generator) for text, start in texts]
        entered = [self._enter(text) for text, _ in texts]
        self._states = [states for states, _ in entered]
        self._arguments = [arguments for _, arguments in entered]

    def _weigh(self, text: list[int], start: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """For each linear layer the root of each token's weight [tokens, 1], by Hugging Face path.

        Labels are drawn from the model's own predictions, so that the squares are those of Fisher's information.
        """
        import torch

        squares: dict[str, torch.Tensor] = {}

        def watch(name: str) -> Callable[[Any, Any, torch.Tensor], None]:
            def keep(gradient: torch.Tensor) -> None:
                squares[name] = gradient[0].square().mean(dim=1, keepdim=True)

            def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
                output.register_hook(keep)  # type: ignore[no-untyped-call]

            return hook

        handles = [
            module.register_forward_hook(watch(name))
            for index in range(self.layers)
            for name, module in self.matrices(index)
        ]
        try:
            states = self._model.get_input_embeddings()(torch.tensor([text])).requires_grad_(True)
            kept = len(text) - max(start, 1) + 1
            logits = self._model(inputs_embeds=states, use_cache=False, logits_to_keep=kept).logits[0, :-1]
            logprobs = torch.log_softmax(logits.float(), dim=-1)
            drawn = torch.multinomial(logprobs.detach().exp(), 1, generator=generator)
            (-logprobs.gather(1, drawn).sum()).backward()  # type: ignore[no-untyped-call]
        finally:
            for handle in handles:
                handle.remove()
        return {name: square.sqrt() for name, square in squares.items()}

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

    def pass_on(self, index: int) -> dict[str, torch.Tensor]:
        """Run a layer: `X^T X` [columns, columns] of every linear layer's weighed inputs, by Hugging Face path."""
        sums: dict[str, torch.Tensor] = {}
        for text, arguments in enumerate(self._arguments):
            self._states[text], inputs = self._run(index, self._states[text], arguments)
            for name, states in inputs.items():
                x = states * self._weights[text][name]
                sums[name] = sums[name].addmm_(x.T, x) if name in sums else x.T @ x
        return sums

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
