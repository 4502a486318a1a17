"""A signed release as an OCI artifact in the layout of CNCF ModelPack: its manifest and its config, written and read.

Every file of the release is one raw layer, called as in the release, so that a blob's digest is the SHA-256 that the
release's own metadata names: an update fetches the blobs that changed, and whatever tool pulls the artifact gets the
release's folder. Source: the ModelPack specification (https://github.com/modelpack/model-spec). The artifact proves
nothing: a branch believes the TUF metadata inside, wherever it came from. Knows no registry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tuf.api.metadata import Targets, Timestamp

from runtime.base.files import read_text, sha256_file
from runtime.base.manifest import FileEntry
from runtime.bundle.bundle import BundleInfo
from runtime.bundle.publish import read_published
from runtime.bundle.release_format import METADATA, file_name
from runtime.bundle.trust_record import signed_at
from runtime.errors import InputError, MissingError, UsageError

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MAX_MANIFEST_BYTES = 4 << 20
"""What registries take; about 9,000 files."""
MODELPACK_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
"""The same for tools that know OCI and not ModelPack, such as `oras pull`."""
_KIND = "application/vnd.cncf.model.{}.v1.raw"
_WEIGHTS = (".gguf", ".onnx", ".npz", ".safetensors", ".data")


class Descriptor(BaseModel):
    """A blob: what it is, its digest and its bytes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    mediaType: str  # noqa: N815 - OCI's own name
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    annotations: dict[str, str] = Field(default_factory=dict)


class ArtifactManifest(BaseModel):
    """What of an OCI manifest is read; a registry may add to it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    artifactType: str = ""  # noqa: N815 - OCI's own name
    layers: tuple[Descriptor, ...]


def release_files(folder: Path) -> list[FileEntry]:
    """The files of the newest release in a folder, by their path below it; `MissingError` where there is none."""
    published = read_published(folder)
    if not published:
        raise MissingError("no signed release", where=str(folder), hint="edgedesk release BUNDLE --to FOLDER")
    names = {f"{METADATA}/timestamp.json"}
    names |= {f"{METADATA}/{path.name}" for path in (folder / METADATA).glob("*.root.json")}
    names |= {
        f"{METADATA}/{each.signed.version}.{role}.json" for role, each in published.items() if role != "timestamp"
    }
    known = {
        file_name(target, info.hashes["sha256"]): FileEntry(
            path=file_name(target, info.hashes["sha256"]), sha256=info.hashes["sha256"], bytes=info.length
        )
        for each in published.values()
        if isinstance(each.signed, Targets)
        for target, info in each.signed.targets.items()
    }
    if (folder / "install.sh").is_file():
        names.add("install.sh")
    files = [
        FileEntry(path=name, sha256=sha256_file(folder / name), bytes=(folder / name).stat().st_size) for name in names
    ]
    return sorted((*files, *known.values()), key=lambda entry: entry.path)


def artifact(folder: Path, files: Iterable[FileEntry]) -> tuple[bytes, bytes]:
    """The manifest and the config of a release's files, the same bytes for the same release.

    `UsageError` for more files than a registry takes in one artifact.
    """
    layers = [_layer(entry) for entry in files]
    timestamp = read_published(folder)["timestamp"].signed
    assert isinstance(timestamp, Timestamp)
    signed = signed_at(timestamp)
    config = _json(_config(_bundle_info(folder, layers), [str(layer["digest"]) for layer in layers]))
    labels = {"org.opencontainers.image.version": str(timestamp.version)}
    if signed:
        labels["org.opencontainers.image.created"] = signed.isoformat()
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": layers,
            "annotations": labels,
        }
    )
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise UsageError(
            f"{len(layers):,} files are more than a registry takes in one artifact",
            where=str(folder),
            hint="serve this release from a static web server",
        )
    return manifest, config


def read_artifact(data: bytes, where: str) -> dict[str, Descriptor]:
    """The layers of a manifest by their path in the release; `InputError` for an artifact that is no release."""
    try:
        manifest = ArtifactManifest.model_validate_json(data)
    except ValidationError as error:
        why = str(error).splitlines()[0][:200]
        raise InputError(f"not an OCI manifest ({why})", where=where, hint="check the address") from None
    if manifest.artifactType != ARTIFACT:
        kind = manifest.artifactType[:100] or "an image"
        raise InputError(f"not a release but {kind!r}", where=where, hint="edgedesk release --oci pushes releases")
    named = ((layer.annotations.get(MODELPACK_PATH, ""), layer) for layer in manifest.layers)
    return {path: layer for path, layer in named if path}


def digest_of(data: bytes) -> str:
    """A blob's digest, as OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _layer(entry: FileEntry) -> dict[str, Any]:
    return {
        "mediaType": _KIND.format(_kind(PurePosixPath(entry.path))),
        "digest": f"sha256:{entry.sha256}",
        "size": entry.bytes,
        "annotations": {MODELPACK_PATH: entry.path, TITLE: entry.path},
    }


def _kind(path: PurePosixPath) -> str:
    """ModelPack's word for what a file of a release is."""
    part = path.parts[1] if path.parts[0] == "targets" else path.parts[0]
    if part == "articles":
        return "dataset"
    if part in ("app", "install.sh"):
        return "code"
    if part == METADATA or path.suffix == ".md" or {"licences", "report"} & set(path.parts):
        return "doc"
    return "weight" if path.suffix in _WEIGHTS else "weight.config"


def _bundle_info(folder: Path, layers: Iterable[dict[str, Any]]) -> BundleInfo | None:
    """`bundle.json` of the released model; None for a release without one."""
    for layer in layers:
        path = PurePosixPath(layer["annotations"][TITLE])
        if path.parent == PurePosixPath("targets/model") and path.name.endswith(".bundle.json"):
            return BundleInfo.model_validate_json(read_text(folder / path))
    return None


def _config(info: BundleInfo | None, digests: list[str]) -> dict[str, Any]:
    files = {"type": "layers", "diffIds": digests}  # raw layers: what is stored is what is meant
    if info is None:
        return {"descriptor": {}, "config": {}, "modelfs": files}
    quantization = next((name for name, path in info.models.items() if path == info.model), "")
    languages = [lang for lang in info.languages if len(lang) == 2 and lang.isascii() and lang.islower()]
    return {
        "descriptor": {"name": info.name, "version": info.version},
        "config": {
            "architecture": "transformer",
            "format": "gguf",
            **({"quantization": quantization} if quantization else {}),
            "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"], "languages": languages},
        },
        "modelfs": files,
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
