"""The files made from a checkpoint alone, each in its own cached stage folder: f16, every format, ONNX.

Promises: a stage whose inputs have not changed is not run again; its folder is whole or absent. Shared by the build of
a bundle and the `quantize` command.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize.formats.checkpoint import Checkpoint, fingerprint
from quantize.formats.compensated_gguf import compensate_gguf
from quantize.formats.gguf_quantize import UNWEIGHED, quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.formats.importance_matrix import measure_importance, write_importance
from quantize.formats.onnx_decoder import WAYS, AgreementBound, export_onnx_decoder
from quantize.measure.divergence import measure_decoders
from quantize.measure.samples import Sample
from runtime.base.build_stage import StageRunner, files_digest
from runtime.base.files import sha256_file
from runtime.base.manifest import digest
from runtime.base.progress import bar
from runtime.engine.tools.tokenizer_parity import PROBES, prove_parity
from runtime.prompting.json_tokenizer import JsonTokenizer

GGUF = "model.gguf"
"""The one file of a GGUF stage's folder."""
IMPORTANCE = "importance.gguf"
_PLAIN = "plain.gguf"
_CHECK_EVERY = 8


@dataclass(frozen=True)
class Calibration:
    """What matrices are rounded by so that their outputs err least (`quantize.formats.compensated_gguf`)."""

    checkpoint: Path
    texts: Sequence[Sequence[int]]
    """Token ids of the company's texts."""
    starts: Sequence[int] = ()
    """Index in each from which on predictions matter: where its reply begins. Without them all do."""

    def halves(self) -> tuple[list[Sequence[int]], list[int], list[Sample]]:
        """What is rounded by, with its starts, and every eighth text to check the result on.

        Of a text without a start the second half is checked. A single text serves for both.
        """
        pairs = [
            (text, start)
            for text, start in zip(self.texts, self.starts or [0] * len(self.texts), strict=True)
            if len(text) > 1
        ]
        checked = pairs[::_CHECK_EVERY]
        known = [pair for index, pair in enumerate(pairs) if index % _CHECK_EVERY] or checked
        samples = [
            Sample(f"text {n}", tuple(text), start or max(1, len(text) // 2)) for n, (text, start) in enumerate(checked)
        ]
        return [text for text, _ in known], [start for _, start in known], samples


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
    stages: StageRunner,
    f16: Path,
    out: Path,
    kind: str,
    *,
    importance: Path | None = None,
    compensated: Calibration | None = None,
    threads: int,
) -> Path:
    """`out/<kind>/model.gguf` from the f16 file of this run, its matrices `compensated` where texts are given for it.

    A type that ignores `importance` depends on neither.
    """
    weighed, calibration = (None, None) if kind in UNWEIGHED else (importance, compensated)

    def work(folder: Path) -> dict[str, Any]:
        if calibration is None:
            quantize_gguf(f16, folder / GGUF, kind, importance=weighed, threads=threads)
            return {}
        plain = folder / _PLAIN
        quantize_gguf(f16, plain, kind, importance=weighed, threads=threads)
        known, starts, checked = calibration.halves()
        with bar(f"rounding {kind}", Checkpoint(calibration.checkpoint).shape.layers, unit="layers") as advance:
            done = compensate_gguf(
                calibration.checkpoint,
                plain,
                folder / GGUF,
                known,
                starts=starts,
                threads=threads,
                advance=advance,
            )
        # Errors of layers are not errors of answers: on texts that nothing was rounded by the better file is kept.
        files = {"nearest": plain, "compensated": folder / GGUF}
        rows = measure_decoders(
            calibration.checkpoint, files, checked, scratch=folder, threads=threads, decode_tokens=2
        )
        kl = {row.format: row.kl for row in rows[1:]}
        kept = min(files, key=lambda name: kl[name])
        if kept == "nearest":
            stages.say(f"quantize: {kind} keeps llama.cpp's rounding, which is nearer to f32 here")
            plain.replace(folder / GGUF)
        plain.unlink(missing_ok=True)
        return {"output_error_left": round(done.remaining, 4), "kl": kl, "kept": kept}

    inputs: dict[str, Any] = {"f16": files_digest(stages.manifests["f16"]), "format": kind}
    if weighed:
        inputs["importance"] = sha256_file(weighed)
    if calibration:
        inputs["compensated"] = [
            fingerprint(calibration.checkpoint),
            digest([list(text) for text in calibration.texts]),
            list(calibration.starts),
        ]
    stages.run(kind, out / kind, inputs, work, kind="gguf")
    return out / kind / GGUF


def make_onnx(
    stages: StageRunner,
    checkpoint: Path,
    out: Path,
    *,
    bits: int = 8,
    probes: Sequence[Sequence[int]] = (),
    bound: AgreementBound | None = None,
    threads: int,
) -> Path:
    """`out/onnx/`: the decoder in `bits` bits; on `probes` its way to compute is chosen and its bound is checked."""
    bound = bound or AgreementBound()

    def work(folder: Path) -> dict[str, Any]:
        tried = export_onnx_decoder(checkpoint, folder, bits=bits, probes=probes, bound=bound, threads=threads)
        return {"tried": [row.model_dump() for row in tried]}

    inputs = {
        "checkpoint": fingerprint(checkpoint),
        "bits": bits,
        "probes": digest([list(probe) for probe in probes]),
        "bound": bound.model_dump(),
        "ways": WAYS[bits],
    }
    stages.run("onnx", out / "onnx", inputs, work)
    return out / "onnx"
