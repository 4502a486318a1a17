"""Capture: run the teacher once over the packs and keep what the student is to learn from.

Per reply token the k largest log-probabilities with their ids, and the mass of the rest as one tail bucket; without the
tail a truncated teacher is biased (arXiv:2503.16870). Then the teacher leaves memory. One Parquet file: a row a
pack, token ids stored beside the log-probabilities so that training can compare them with its own. Knows nothing of
the student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.device import autocast
from distill.packs import Pack
from runtime.errors import IntegrityError
from runtime.files import full_disk_is_an_error, need_space

if TYPE_CHECKING:
    import numpy as np
    import torch

TOP_K = 32
CHUNK = 128
"""Positions whose full-vocabulary logits stand in memory at once."""
ROUND = 128


@dataclass(frozen=True)
class Captured:
    """A pack with the teacher's view of its targets."""

    pack: Pack
    index: np.ndarray[Any, Any]
    """int32 [n]: positions within the pack whose next token is part of a reply."""
    ids: np.ndarray[Any, Any]
    """int32 [n, k]: the teacher's most likely next tokens, most likely first."""
    logprobs: np.ndarray[Any, Any]
    """float16 [n, k]: their natural log-probabilities; the tail is what is left to one."""
    states: np.ndarray[Any, Any] | None = None
    """float16 [token, hidden]: the teacher's last hidden states at every token of the pack, where asked for."""


def capture(
    teacher: Any,
    packs: Sequence[Pack],
    out: Path,
    *,
    k: int = TOP_K,
    states: bool = False,
    precision: str = "auto",
    advance: Callable[[int], None] = lambda _tokens: None,
) -> dict[str, float]:
    """Write `out` (Parquet) and return figures: tokens, positions, mean captured mass, bytes a position.

    `states` keeps the last hidden states as well, two bytes a number: for students of the teacher's width.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    tokens = sum(len(pack.tokens) for pack in packs)
    narrow = teacher.config.vocab_size <= 1 << 16
    width = (2 if narrow else 4) + 2
    positions = sum(len(pack.reply_targets()) for pack in packs)
    hidden = 2 * teacher.config.hidden_size if states else 0
    need_space(out.parent, positions * (k * width + 8) + tokens * (hidden + 4), "the capture")
    id_type = pa.uint16() if narrow else pa.int32()
    schema = pa.schema(
        [
            ("tokens", pa.list_(pa.int32())),
            ("prefix", pa.int32()),
            ("branches", pa.list_(pa.int32())),
            ("records", pa.list_(pa.string())),
            ("index", pa.list_(pa.int32())),
            ("ids", pa.list_(id_type)),
            ("logprobs", pa.list_(pa.float16())),
            ("states", pa.list_(pa.float16())),
        ]
    )
    mass = 0.0
    teacher.eval()
    with full_disk_is_an_error(out), pq.ParquetWriter(out, schema, compression="zstd") as writer, torch.no_grad():
        for pack in packs:
            index = pack.reply_targets()
            with autocast(precision):
                every = forward(teacher, pack)
                top = [
                    top_logprobs(teacher.lm_head(part)[: len(index) - start].float(), k)
                    for start, part in chunks(every, index)
                ]
            logprobs, ids = (torch.cat(parts) for parts in zip(*top, strict=True))
            mass += float(logprobs.exp().sum())
            row = {
                "tokens": list(pack.tokens),
                "prefix": pack.prefix,
                "branches": [edge for branch in pack.branches for edge in branch],
                "records": list(pack.records),
                "index": index,
                "ids": ids.flatten().numpy().astype(np.uint16 if narrow else np.int32),
                "logprobs": logprobs.flatten().numpy().astype(np.float16),
                "states": every.flatten().float().numpy().astype(np.float16) if states else None,
            }
            writer.write_table(pa.table({name: pa.array([row[name]], schema.field(name).type) for name in row}, schema))
            advance(len(pack.tokens))
    return {
        "packs": len(packs),
        "records": sum(len(pack.records) for pack in packs),
        "tokens": tokens,
        "positions": positions,
        "captured_mass": round(mass / max(positions, 1), 4),
        "bytes_a_position": round(out.stat().st_size / max(positions, 1), 1),
    }


def top_logprobs(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest log-probabilities [n, k] of logits [n, vocab], and their ids."""
    values, ids = logits.topk(k, -1)
    return values - logits.logsumexp(-1, keepdim=True), ids


@dataclass(frozen=True)
class Inputs:
    """A pack as a model takes it: a batch of one, its length rounded up to `ROUND`.

    oneDNN compiles and keeps kernels for every length it meets, gigabytes of them over a few hundred packs.
    """

    ids: torch.Tensor
    """int64 [1, length]"""
    mask: torch.Tensor
    """bool [1, 1, query, key], True = may attend; what fills the pack up sees itself, or it would be NaN."""
    positions: torch.Tensor
    """int64 [1, length]"""


def inputs(pack: Pack) -> Inputs:
    """A pack's tokens, mask and positions, each branch blind to the others."""
    import torch

    count = len(pack.tokens)
    extra = -count % ROUND
    mask = torch.eye(count + extra, dtype=torch.bool)[None, None]
    mask[..., :count, :count] = pack.attention()
    ids = torch.tensor([[*pack.tokens, *[0] * extra]])
    return Inputs(ids, mask, torch.tensor([[*pack.positions(), *[0] * extra]]))


def forward(model: Any, pack: Pack) -> torch.Tensor:
    """Last hidden states [token, hidden] of a pack."""
    given = inputs(pack)
    out = model.model(input_ids=given.ids, attention_mask=given.mask, position_ids=given.positions, use_cache=False)
    hidden: torch.Tensor = out.last_hidden_state[0, : len(pack.tokens)]
    return hidden


def chunks(states: torch.Tensor, index: Sequence[int]) -> list[tuple[int, torch.Tensor]]:
    """The states at some positions, as (number of the first, states [CHUNK, hidden]).

    The last chunk is filled up by repeating; take `[: len(index) - first]` of what is computed from it.
    """
    chosen = states[[*index, *[index[-1]] * (-len(index) % CHUNK)]]
    return [(start, chosen[start : start + CHUNK]) for start in range(0, len(chosen), CHUNK)]


def target_states(model: Any, pack: Pack) -> list[tuple[int, torch.Tensor]]:
    """Hidden states in front of a pack's reply tokens, in `chunks`."""
    return chunks(forward(model, pack), pack.reply_targets())


def read_capture(path: Path) -> Iterator[Captured]:
    """Rows of a capture file, one pack at a time; `IntegrityError` when it is cut short or not a capture."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1):
                yield _captured({name: batch.column(name)[0] for name in batch.schema.names})
    except (OSError, ValueError, KeyError) as error:  # Arrow's own errors are kinds of these
        raise IntegrityError("not a finished capture", where=str(path), hint="capture again") from error


def _captured(row: dict[str, Any]) -> Captured:
    """A row's Arrow values as arrays of their own: torch wants them writable."""
    import numpy as np

    index = np.array(row["index"].values, dtype=np.int32)
    states = row["states"]
    edges = row["branches"].as_py()
    pack = Pack(
        tuple(row["tokens"].as_py()),
        row["prefix"].as_py(),
        tuple(zip(edges[0::3], edges[1::3], edges[2::3], strict=True)),
        tuple(row["records"].as_py()),
    )
    return Captured(
        pack,
        index,
        np.array(row["ids"].values, dtype=np.int32).reshape(len(index), -1),
        np.array(row["logprobs"].values.to_numpy(zero_copy_only=False), dtype=np.float16).reshape(len(index), -1),
        np.array(states.values.to_numpy(zero_copy_only=False), dtype=np.float16).reshape(len(pack.tokens), -1)
        if states.is_valid
        else None,
    )
