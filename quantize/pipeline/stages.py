"""The files made from a checkpoint alone, each in its own cached stage folder: f16, every format, ONNX.

Promises: a stage whose inputs have not changed is not run again; its folder is whole or absent. Shared by the build of
a bundle and the `quantize` command.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from quantize.formats.checkpoint import fingerprint
from quantize.formats.gguf_quantize import UNWEIGHED, quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.importance_matrix import measure_importance, write_importance
from quantize.formats.onnx_decoder import export_onnx_decoder
from runtime.base.build_stage import StageRunner, files_digest
from runtime.base.files import sha256_file
from runtime.base.manifest import digest
from runtime.base.progress import bar
from runtime.engine.tools.tokenizer_parity import PROBES, prove_parity
from runtime.prompting.json_tokenizer import JsonTokenizer

GGUF = "model.gguf"
"""The one file of a GGUF stage's folder."""
IMPORTANCE = "importance.gguf"


def make_f16(
    stages: StageRunner,
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    licence: str = "",
    texts: Iterable[str] = (),
    stage: str = "f16",
) -> Path:
    """`out/<stage>/model.gguf`, its tokens proven equal to the checkpoint's on built-in probes and `texts`."""

    def work(folder: Path) -> dict[str, Any]:
        write_gguf(checkpoint, folder / GGUF, name=name, licence=licence)
        return {"tokens_equal_on": prove_parity(JsonTokenizer(checkpoint), folder / GGUF, [*PROBES, *texts])}

    inputs = {"checkpoint": fingerprint(checkpoint), "name": name, "licence": licence}
    stages.run(stage, out / stage, inputs, work, kind="gguf")
    return out / stage / GGUF


def make_importance(
    stages: StageRunner, checkpoint: Path, out: Path, texts: Sequence[Sequence[int]], *, source: str, threads: int
) -> Path:
    """`out/importance/importance.gguf` from token ids of the company's texts."""

    def work(folder: Path) -> dict[str, Any]:
        with bar("weighing columns", len(texts), unit="texts") as advance:
            matrix = measure_importance(checkpoint, texts, source=source, threads=threads, advance=advance)
        write_importance(matrix, folder / IMPORTANCE)
        return {"texts": len(texts), "tokens": sum(map(len, texts))}

    inputs = {"checkpoint": fingerprint(checkpoint), "texts": digest([list(text) for text in texts])}
    stages.run("importance", out / "importance", inputs, work)
    return out / "importance" / IMPORTANCE


def make_format(
    stages: StageRunner, f16: Path, out: Path, kind: str, *, importance: Path | None = None, threads: int
) -> Path:
    """`out/<kind>/model.gguf` from the f16 file of this run; a type that ignores `importance` does not depend on it."""
    weighed = None if kind in UNWEIGHED else importance

    def work(folder: Path) -> dict[str, Any]:
        quantize_gguf(f16, folder / GGUF, kind, importance=weighed, threads=threads)
        return {}

    inputs = {"f16": files_digest(stages.manifests["f16"]), "format": kind}
    if weighed:
        inputs["importance"] = sha256_file(weighed)
    stages.run(kind, out / kind, inputs, work, kind="gguf")
    return out / kind / GGUF


def make_onnx(stages: StageRunner, checkpoint: Path, out: Path, *, threads: int) -> Path:
    """`out/onnx/`: the 8-bit decoder."""

    def work(folder: Path) -> dict[str, Any]:
        export_onnx_decoder(checkpoint, folder, threads=threads)
        return {}

    stages.run("onnx", out / "onnx", {"checkpoint": fingerprint(checkpoint), "bits": 8}, work)
    return out / "onnx"
