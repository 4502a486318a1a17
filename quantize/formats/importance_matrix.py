"""Which columns of a checkpoint's matrices matter: the mean square of what each one multiplies, on the company's texts.

Rounding weighs an error in a column by how large its inputs are (llama.cpp's importance matrix). Files are llama.cpp's
own GGUF form, so that `llama-quantize --imatrix` reads ours and theirs are read here. Promises: the same checkpoint and
texts give the same matrix, up to the order of sums; a file appears whole or not at all. Knows nothing of formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.formats.checkpoint import Checkpoint
from quantize.formats.gguf_writer import gguf_name
from runtime.base.files import new_file
from runtime.errors import InputError, MissingError, ModelError

_SUM, _COUNT = ".in_sum2", ".counts"
"""What llama.cpp's tools/imatrix calls the two tensors of a matrix."""


@dataclass(frozen=True)
class ImportanceMatrix:
    """Sums of squared inputs of every matrix that was multiplied, by GGUF's name of its tensor."""

    sums: Mapping[str, NDArray[np.float32]]
    """Shape [columns] each."""
    tokens: Mapping[str, int]
    """How many inputs were summed."""
    source: str = ""
    """What the texts were, for the file."""

    def means(self) -> dict[str, NDArray[np.float32]]:
        """Mean squares [columns] by tensor, as `llama_model_quantize` takes them; ones where nothing was seen."""
        return {
            name: sums / np.float32(self.tokens[name]) if self.tokens[name] else np.ones_like(sums)
            for name, sums in self.sums.items()
        }


def measure_importance(
    checkpoint: Path,
    texts: Sequence[Sequence[int]],
    *,
    source: str = "",
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> ImportanceMatrix:
    """Run the f32 checkpoint over token ids and sum the squares of every linear layer's inputs.

    `advance(1)` is called after each text. `InputError` without a token.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not any(texts):
        raise InputError("no text to weigh the columns by", where=str(checkpoint), hint="prepare records first")
    torch.set_num_threads(threads)
    shape = Checkpoint(checkpoint).shape
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True).eval()
    sums: dict[str, Any] = {}
    tokens: dict[str, int] = {}

    def watch(name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def add(_module: Any, inputs: tuple[Any, ...]) -> None:
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            # Doubles: thousands of squares are added up, and a column that is nearly silent must not be lost.
            sums[name] = sums.get(name, 0) + rows.double().square().sum(dim=0)
            tokens[name] = tokens.get(name, 0) + rows.shape[0]

        return add

    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            # A tied output layer is stored as the embedding, and llama.cpp looks it up under that name.
            stored = gguf_name(f"{path}.weight", shape) or "token_embd.weight"
            module.register_forward_pre_hook(watch(stored))
    with torch.inference_mode():
        for text in texts:
            if text:
                model(torch.tensor([list(text)]), use_cache=False)
            advance(1)
    return ImportanceMatrix({name: value.float().numpy() for name, value in sums.items()}, tokens, source)


def write_importance(matrix: ImportanceMatrix, out: Path) -> None:
    """Write llama.cpp's GGUF form (tools/imatrix/imatrix.cpp)."""
    from gguf import GGUFWriter

    with new_file(out) as partial, closing(GGUFWriter(partial, "imatrix")) as writer:
        writer.add_string("general.type", "imatrix")
        writer.add_array("imatrix.datasets", [matrix.source or "records"])
        writer.add_uint32("imatrix.chunk_count", 1)
        writer.add_uint32("imatrix.chunk_size", max(matrix.tokens.values(), default=1))
        for name in sorted(matrix.sums):
            writer.add_tensor(name + _SUM, np.ascontiguousarray(matrix.sums[name], dtype=np.float32).reshape(1, -1))
            writer.add_tensor(name + _COUNT, np.array([[matrix.tokens[name]]], dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def read_importance(path: Path) -> ImportanceMatrix:
    """Read llama.cpp's GGUF form; `ModelError` for another file, or one of a mixture of experts."""
    from gguf import GGUFReader

    if not path.is_file():
        raise MissingError("no such importance matrix", where=str(path), hint="check the path")
    refused = ModelError("not an importance matrix", where=str(path), hint="llama-imatrix, or a build, writes one")
    try:
        reader = GGUFReader(path)
        kind = reader.get_field("general.type")
        if kind is None or kind.contents() != "imatrix":
            raise refused
        data = {tensor.name: np.array(tensor.data, dtype=np.float32).reshape(-1) for tensor in reader.tensors}
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        # The library reads whatever offsets a file names; all of its complaints mean the same.
        raise refused from error
    sums = {name.removesuffix(_SUM): values for name, values in data.items() if name.endswith(_SUM)}
    counts = {name.removesuffix(_COUNT): values for name, values in data.items() if name.endswith(_COUNT)}
    for name, values in sums.items():
        if len(counts.get(name, ())) != 1 or not np.isfinite(values).all():
            raise ModelError(
                f"'{name}' has no single count, or sums that are no numbers",
                where=str(path),
                hint="matrices of mixtures of experts are not read",
            )
    sets = reader.get_field("imatrix.datasets")
    named = sets.contents() if sets is not None else []
    return ImportanceMatrix(sums, {name: int(counts[name][0]) for name in sums}, ", ".join(map(str, named)))
