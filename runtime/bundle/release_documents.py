"""What a release says about itself: the model card with front matter, and a bill of materials in CycloneDX.

Promises: the same bundle gives the same bytes, so that a release which is made twice has the same content. Knows
nothing of signatures. Head office only: cyclonedx, which is loaded at need, comes with the extra `build`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import yaml

from runtime.base.files import sha256_file
from runtime.base.manifest import Manifest
from runtime.bundle.bundle import BundleInfo
from runtime.bundle.gate_record import GateRecord, files_digest

CARD = "card.md"
SBOM = "sbom.cdx.json"
_MODELS = (".gguf", ".onnx", ".npz")


@dataclass(frozen=True)
class Material:
    """A model's file, or a Python package with its version."""

    name: str
    version: str | None = None
    """None for a model's file."""
    sha256: str = ""
    size: int = 0
    """Bytes of a model's file."""


def card_with_front_matter(card: str, info: BundleInfo, gate: GateRecord, licences: list[str]) -> str:
    """The model card with the YAML head that model registries read; a card that has one stays as it is."""
    if card.startswith("---\n"):
        return card
    head = {
        "language": list(info.languages),
        "license": "other",
        "license_name": "see the folder licences/",
        "license_files": licences,
        "library_name": "llama.cpp",
        "pipeline_tag": "text-generation",
        "tags": ["customer-support", "gguf", "distilled", "edgedesk"],
        "model-index": [
            {
                "name": f"{info.name} {info.version}",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "held-out questions of the company", "type": "private"},
                        "metrics": [
                            {"type": name, "value": value} for name, value in gate.figures.items() if value is not None
                        ],
                    }
                ],
            }
        ],
        "gate": dict(gate.bounds),
    }
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\n{card}"


def materials(manifest: Manifest, wheels: Path | None) -> Iterator[Material]:
    """Models, and the Python packages a branch runs: the files in `wheels`, else what is installed here."""
    for entry in manifest.files:
        if entry.path.endswith(_MODELS):
            yield Material(entry.path, sha256=entry.sha256, size=entry.bytes)
    yield from _wheels(wheels) if wheels else _installed()


def bill_of_materials(info: BundleInfo, manifest: Manifest, wheels: Path | None) -> str:
    """CycloneDX 1.6 JSON: everything the release consists of, with its hash where it has one."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    bundle = Component(name=info.name, version=info.version, type=ComponentType.APPLICATION, bom_ref="bundle")
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"edgedesk:{files_digest(manifest)}"))
    bom.metadata.timestamp = _moment(info.created)
    bom.metadata.component = bundle
    for each in materials(manifest, wheels):
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=each.sha256)] if each.sha256 else []
        if each.version is None:
            component = Component(
                name=each.name, type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref=f"file:{each.name}", hashes=hashes,
                properties=[Property(name="edgedesk:bytes", value=str(each.size))],
            )  # fmt: skip
        else:
            url = PackageURL("pypi", name=each.name, version=each.version)
            component = Component(
                name=each.name, version=each.version, type=ComponentType.LIBRARY, bom_ref=str(url), purl=url,
                hashes=hashes,
            )  # fmt: skip
        bom.components.add(component)
    bom.register_dependency(bundle, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _wheels(folder: Path) -> Iterator[Material]:
    for path in sorted(folder.rglob("*.whl")):
        name, version = path.name.split("-")[:2]
        yield Material(name.replace("_", "-").lower(), version, sha256_file(path))


def _installed() -> Iterator[Material]:
    """The packages that `edgedesk` needs in a branch, found from what it says it requires."""
    seen: set[str] = set()
    waiting = ["edgedesk"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or Python
        yield Material(name, found.version)
        waiting += [
            re.sub(r"[-_.]+", "-", match[0]).lower()
            for requirement in found.requires or []
            if "extra ==" not in requirement and (match := re.match(r"[A-Za-z0-9._-]+", requirement))
        ]


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = datetime(2000, 1, 1, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
