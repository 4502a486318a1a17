"""Capture: run the teacher once over the packs and keep what the student is to learn from.

Per reply token the k largest log-probabilities with their ids, and the mass of the rest as one tail bucket; without the
tail a truncated teacher is biased (arXiv:2503.16870). Then the teacher is unloaded. One Parquet file, a row a pack with
its token ids, is put together from parts that survive a kill (`distill.compute.resumable_parquet`). Knows nothing of
the student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from distill.compute.device import memory_is_an_error
from distill.compute.resumable_parquet import ResumableParquet
from distill.packing.packing import Pack
from distill.teacher.teacher import CheckpointTeacher, Teacher
from runtime.base.files import full_disk_is_an_error, need_space
from runtime.errors import IntegrityError, ModelError, UsageError

TOP_K = 32
PART_PACKS = 8
"""Packs a part of an unfinished capture holds: what a kill costs at most."""
NO_ROOM = "what was captured is kept; lower packing.tokens, or let a GGUF teach (docs/how-to/large-teachers.md)"
_MASS = "captured_mass"


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
    """float16 [token, hidden]: the teacher's last hidden states at the pack's last tokens, all of them as captured."""

    def laid_out(self, pack: Pack) -> Captured:
        """The same row for a student that reads the same pack in the layout of `pack`.

        Where that is another than the teacher's, articles see other tokens than they did, and no student could give
        them the teacher's states: only those after them are kept.
        """
        states = self.states
        if states is not None and pack.layout != self.pack.layout:
            states = states[pack.prefix :]
        return replace(self, pack=pack, states=states)


def capture(
    teacher: Any,
    packs: Sequence[Pack],
    out: Path,
    *,
    k: int = TOP_K,
    states: bool = False,
    precision: str = "auto",
    vocabulary: int | None = None,
    parts: ResumableParquet | None = None,
    part_packs: int = PART_PACKS,
    advance: Callable[[int], None] = lambda _tokens: None,
) -> dict[str, float]:
    """Write `out` (Parquet) and return figures: tokens, positions, mean captured mass, bytes a position.

    `teacher` is a model of transformers or any other `Teacher`. `states` keeps the last hidden states as well, two
    bytes a number: for students of the teacher's width. Probabilities are over the first `vocabulary` ids, those the
    student shares, or over all. With `parts` what an earlier run finished is taken up; a kill costs `part_packs`
    packs at most. `IntegrityError` when a part holds other packs than these.
    """
    tokens = sum(len(pack.tokens) for pack in packs)
    positions = sum(len(pack.reply_targets()) for pack in packs)
    reader: Teacher = teacher if hasattr(teacher, "read") else CheckpointTeacher(teacher, precision)
    if states and not reader.hidden:
        raise UsageError("this teacher gives no hidden states", where="capture.states", hint="leave it out")
    if vocabulary is not None and vocabulary > reader.vocabulary:
        raise ModelError(
            f"the teacher has {reader.vocabulary} tokens, its student {vocabulary}", hint="take a student of its family"
        )
    need = capture_bytes(tokens, positions, k, reader.vocabulary, reader.hidden if states else 0)
    need_space(out.parent, 2 * need, "the capture")  # its parts, and the file they make up
    schema = _schema(reader.vocabulary)
    mass = 0.0
    parts = parts or ResumableParquet(out.parent / f"{out.name}.parts", {})
    groups = [packs[start : start + part_packs] for start in range(0, len(packs), part_packs)]
    for number, group in enumerate(groups):
        if parts.path(number).is_file():
            _check_part(parts.path(number), group)
            advance(sum(len(pack.tokens) for pack in group))
            continue
        with parts.write(number) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
            held = 0.0
            for pack in group:
                with memory_is_an_error(f"at a pack of {len(pack.tokens)} tokens", NO_ROOM):
                    table, more = _captured_row(reader, pack, schema, k, states, vocabulary)
                writer.write_table(table)
                held += more
                advance(len(pack.tokens))
            writer.add_key_value_metadata({_MASS: str(held)})
    with full_disk_is_an_error(out), pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for number in range(len(groups)):
            with pq.ParquetFile(parts.path(number)) as part:
                mass += float(part.metadata.metadata[_MASS.encode()])
                for row in range(part.num_row_groups):
                    writer.write_table(part.read_row_group(row))
    parts.remove()
    return {
        "packs": len(packs),
        "records": sum(len(pack.records) for pack in packs),
        "tokens": tokens,
        "positions": positions,
        "captured_mass": round(mass / max(positions, 1), 4),
        "bytes_a_position": round(out.stat().st_size / max(positions, 1), 1),
    }


def capture_bytes(tokens: int, positions: int, k: int, vocabulary: int, hidden: int = 0) -> int:
    """The most a capture may weigh; `hidden` is the width of the states kept at every token, 0 for none."""
    width = (2 if vocabulary <= 1 << 16 else 4) + 2
    return positions * (k * width + 8) + tokens * (2 * hidden + 4)


def _schema(vocabulary: int) -> Any:
    return pa.schema(
        [
            ("tokens", pa.list_(pa.int32())),
            ("prefix", pa.int32()),
            ("branches", pa.list_(pa.int32())),
            ("records", pa.list_(pa.string())),
            ("articles", pa.list_(pa.int32())),
            ("layout", pa.string()),
            ("index", pa.list_(pa.int32())),
            ("ids", pa.list_(pa.uint16() if vocabulary <= 1 << 16 else pa.int32())),
            ("logprobs", pa.list_(pa.float16())),
            ("states", pa.list_(pa.float16())),
        ]
    )


def _captured_row(
    teacher: Teacher, pack: Pack, schema: Any, k: int, states: bool, vocabulary: int | None
) -> tuple[Any, float]:
    """One pack read by the teacher: its row as an Arrow table, and the mass its top-k tokens hold."""
    index = pack.reply_targets()
    logits, every = teacher.read(pack)
    top = [top_logprobs(rows[:, :vocabulary], k) for rows in logits]
    logprobs, ids = (torch.cat(column).cpu() for column in zip(*top, strict=True))
    if not logprobs.isfinite().all():
        raise ModelError(
            f"the teacher's probabilities are no numbers (records {', '.join(pack.records[:3])} …)",
            hint="what was captured before is kept; the file may be damaged, or its weights too large for bf16",
        )
    kept = every if states else None
    row = {
        "tokens": list(pack.tokens),
        "prefix": pack.prefix,
        "branches": [edge for branch in pack.branches for edge in branch],
        "records": list(pack.records),
        "articles": list(pack.articles),
        "layout": pack.layout,
        "index": index,
        "ids": ids.flatten().numpy().astype(schema.field("ids").type.value_type.to_pandas_dtype()),
        "logprobs": logprobs.flatten().numpy().astype(np.float16),
        "states": None if kept is None else kept.flatten().float().cpu().numpy().astype(np.float16),
    }
    table = pa.table({name: pa.array([row[name]], schema.field(name).type) for name in row}, schema)
    return table, float(logprobs.exp().sum())


def _check_part(path: Path, packs: Sequence[Pack]) -> None:
    """`IntegrityError` unless the part holds the token ids of these packs."""
    found = [row.pack.tokens for row in read_capture(path)]
    if found != [pack.tokens for pack in packs]:
        raise IntegrityError(
            "an unfinished capture holds other token ids than the records give now",
            where=str(path),
            hint="begin again: --from capture, or delete its folder",
        )


def top_logprobs(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest log-probabilities [n, k] of logits [n, vocab], and their ids."""
    values, ids = logits.topk(k, -1)
    return values - logits.logsumexp(-1, keepdim=True), ids


def read_capture(path: Path) -> Iterator[Captured]:
    """Rows of a capture file, one pack at a time; `IntegrityError` when it is cut short or not a capture."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1):
                yield _captured({name: batch.column(name)[0] for name in batch.schema.names})
    except (OSError, ValueError, KeyError) as error:  # Arrow's own errors are kinds of these
        raise IntegrityError("not a finished capture", where=str(path), hint="capture again") from error


def _captured(row: dict[str, Any]) -> Captured:
    """A row's Arrow values as arrays of their own: torch wants them writable."""
    index = np.array(row["index"].values, dtype=np.int32)
    states = row["states"]
    edges = row["branches"].as_py()
    pack = Pack(
        tuple(row["tokens"].as_py()),
        row["prefix"].as_py(),
        tuple(zip(edges[0::3], edges[1::3], edges[2::3], strict=True)),
        tuple(row["records"].as_py()),
        tuple(row["articles"].as_py()),
        row["layout"].as_py(),
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
