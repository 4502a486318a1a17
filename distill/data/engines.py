"""Runs one function over many rows: in this process, by `datasets.map` on one machine, by Ray Data on a cluster.

The function takes a batch of JSON lines and gives `Outcome`s; it is pure, so that the three engines give the same
outcomes in the same order. Rows wait on disk in a folder of the caller's, which holds what customers wrote until it is
deleted. Promises: memory does not grow with the number of rows. Knows nothing of what a row is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from runtime.errors import UsageError

Engine = Literal["auto", "process", "datasets", "ray"]
BATCH = 256
FEW_ROWS = 5_000
"""So many rows are through before worker processes have started."""
_SHARD_ROWS = 20_000


class Outcome(NamedTuple):
    """One result of a row: what sort it is, and its JSON."""

    kind: str
    value: str


RowFunction = Callable[[Sequence[str]], list[Outcome]]
"""Pure and picklable: workers get a copy."""


def run_rows(rows: Iterable[str], function: RowFunction, folder: Path, *, engine: Engine = "auto") -> Iterator[Outcome]:
    """The outcomes of all rows, in their order; `folder` is for what waits on disk, and is the caller's to delete.

    `auto` is this process for `FEW_ROWS`, `datasets` for more.
    """
    rows = iter(rows)
    if engine in ("auto", "process"):
        first = list(islice(rows, FEW_ROWS + 1)) if engine == "auto" else []
        rows = chain(first, rows)
        if len(first) <= FEW_ROWS:
            for batch in _batched(rows, BATCH):
                yield from function(batch)
            return
    shards = _write_shards(rows, folder)
    if not shards:
        return
    yield from (_ray if engine == "ray" else _datasets)(shards, function, folder)


def _batched(rows: Iterable[str], size: int) -> Iterator[list[str]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _write_shards(rows: Iterable[str], folder: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shards: list[str] = []
    for batch in _batched(rows, _SHARD_ROWS):
        path = folder / f"rows-{len(shards):06d}.parquet"
        pq.write_table(pa.table({"row": pa.array(batch, pa.large_string())}), path, compression="zstd")
        path.chmod(0o600)
        shards.append(str(path))
    return shards


class _OnColumns:
    """The function as the engines call it: columns in, columns out."""

    def __init__(self, function: RowFunction) -> None:
        self._function = function

    def __call__(self, columns: Any) -> dict[str, list[str]]:
        outcomes = self._function(list(columns["row"]))
        return {"kind": [each.kind for each in outcomes], "value": [each.value for each in outcomes]}


def _datasets(shards: Sequence[str], function: RowFunction, folder: Path) -> Iterator[Outcome]:
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_parquet(list(shards), cache_dir=str(folder / "cache"))
    workers = max(1, min(len(os.sched_getaffinity(0)), len(rows) // FEW_ROWS))
    done = rows.map(
        _OnColumns(function),
        batched=True,
        batch_size=BATCH,
        num_proc=workers if workers > 1 else None,
        remove_columns=["row"],
        cache_file_name=str(folder / "done.arrow"),
        new_fingerprint="outcomes",  # else the function and its index are hashed, which takes longer than it saves
        features=datasets.Features({"kind": datasets.Value("string"), "value": datasets.Value("large_string")}),
    )
    for batch in done.with_format("arrow").iter(batch_size=1000):
        yield from map(Outcome, batch["kind"].to_pylist(), batch["value"].to_pylist())


def _ray(shards: Sequence[str], function: RowFunction, _folder: Path) -> Iterator[Outcome]:
    # Before the import: Ray reports its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError(
            "Ray is not installed", where="data.engine", hint='pip install "ray[data]", or engine = "datasets"'
        ) from None
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), include_dashboard=False, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    done = ray.data.read_parquet(list(shards)).map_batches(
        _OnColumns(function), batch_size=BATCH, batch_format="numpy", zero_copy_batch=True
    )
    for batch in done.iter_batches(batch_size=1000, batch_format="pyarrow"):
        yield from map(Outcome, batch["kind"].to_pylist(), batch["value"].to_pylist())
