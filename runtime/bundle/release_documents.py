"""What a release says about itself: the model card with front matter, and a bill of materials in CycloneDX.

Promises: the same bundle gives the same bytes, so that a release which is made twice has the same content. Knows
nothing of signatures. Head office only: cyclonedx comes with the extra `build`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import yaml
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from runtime.base.files import sha256_file
from runtime.base.manifest import FileEntry, Manifest
from runtime.bundle.bundle import BundleInfo
from runtime.bundle.gate_record import GateRecord, files_digest

CARD = "card.md"
SBOM = "sbom.cdx.json"
_KINDS = (
    (".gguf", ComponentType.MACHINE_LEARNING_MODEL),
    (".onnx", ComponentType.MACHINE_LEARNING_MODEL),
    (".npz", ComponentType.MACHINE_LEARNING_MODEL),
)


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


def bill_of_materials(info: BundleInfo, manifest: Manifest, wheels: Path | None) -> str:
    """CycloneDX 1.6 JSON: models with their hashes, and the Python packages a branch runs.

    With `wheels` the packages are those files, with their hashes; without, what is installed here for a branch.
    """
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"edgedesk:{files_digest(manifest)}"))
    bom.metadata.timestamp = _moment(info.created)
    bom.metadata.component = Component(
        name=info.name, version=info.version, type=ComponentType.APPLICATION, bom_ref="bundle"
    )
    for entry in manifest.files:
        kind = next((kind for suffix, kind in _KINDS if entry.path.endswith(suffix)), None)
        if kind is not None:
            bom.components.add(_file(entry, kind))
    for package in _wheels(wheels) if wheels else _installed():
        bom.components.add(package)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _file(entry: FileEntry, kind: ComponentType) -> Component:
    return Component(
        name=entry.path,
        type=kind,
        bom_ref=f"file:{entry.path}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)],
        properties=[Property(name="edgedesk:bytes", value=str(entry.bytes))],
    )


def _wheels(folder: Path) -> Iterator[Component]:
    for path in sorted(folder.rglob("*.whl")):
        name, version = path.name.split("-")[:2]
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256_file(path))]
        yield _package(name.replace("_", "-").lower(), version, hashes)


def _installed() -> Iterator[Component]:
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
        yield _package(name, found.version, [])
        waiting += [
            re.sub(r"[-_.]+", "-", match[0]).lower()
            for requirement in found.requires or []
            if "extra ==" not in requirement and (match := re.match(r"[A-Za-z0-9._-]+", requirement))
        ]


def _package(name: str, version: str, hashes: list[HashType]) -> Component:
    url = PackageURL("pypi", name=name, version=version)
    return Component(name=name, version=version, type=ComponentType.LIBRARY, bom_ref=str(url), purl=url, hashes=hashes)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = datetime(2000, 1, 1, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
