"""INT8 encoders kept between builds, by what they were made from: quantizing one takes minutes and gives the same file.

    EDGEDESK_CACHE, else the user's cache folder / encoders / <digest of source, prefixes and library versions>

Promises: what is taken out was verified against its hashes; a damaged or half-written entry is made again. The measured
cosines are those of the texts that the encoder was first compared on. Knows nothing of retrieval.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from quantize.encoder.export_encoder import EncoderMeasurement, export_encoder
from runtime.base.files import new_folder
from runtime.base.manifest import digest, read_manifest, verify, write_manifest
from runtime.base.user_cache import cache_folder
from runtime.errors import IntegrityError, MissingError

_LIBRARIES = ("onnxruntime", "optimum-onnx", "torch", "transformers")
_KIND = "encoder"


def cached_encoder(
    source: Path,
    out: Path,
    *,
    key: Mapping[str, Any],
    texts: Sequence[str],
    prefixes: tuple[str, str] | None = None,
    threads: int = 2,
) -> EncoderMeasurement:
    """Fill folder `out` with the INT8 encoder of `source`, from the cache where it is there; raises as the export does.

    `key` names the source by its content.
    """
    made_from = {**key, "libraries": {name: version(name) for name in _LIBRARIES}}
    entry = cache_folder() / "encoders" / digest(made_from)
    measured = _taken(entry, out)
    if measured is not None:
        return measured
    with new_folder(entry, private=True) as folder:
        measured = export_encoder(source, folder / "embedder", texts=texts, prefixes=prefixes, threads=threads)
        write_manifest(folder, _KIND, made_from, measured.model_dump())
    return _taken(entry, out) or measured


def _taken(entry: Path, out: Path) -> EncoderMeasurement | None:
    try:
        manifest = read_manifest(entry)
        verify(entry, manifest)
    except (MissingError, IntegrityError):
        return None
    shutil.copytree(entry / "embedder", out, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return EncoderMeasurement.model_validate({name: manifest.figures[name] for name in EncoderMeasurement.model_fields})
