"""Companies with keys and signed releases, small enough to make in a blink, and releases forged from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, MetaFile

from runtime.base.manifest import write_manifest
from runtime.bundle.gate_record import write_gate_record
from runtime.bundle.keys import KeyFolder, make_keys, metadata_bytes
from runtime.bundle.publish import PublishedRelease, publish
from runtime.bundle.release_parts import articles_part, model_part
from tests.support.branch import write_bundle

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass
class Company:
    """Head office: keys, and the folder it publishes to."""

    keys: KeyFolder
    folder: Path

    def release(
        self,
        bundle: Path | None = None,
        articles: Path | None = None,
        now: datetime = NOW,
        branches: Iterable[str] | None = None,
    ) -> PublishedRelease:
        """Publish a bundle, articles alone, or the same again; for some branches where they are named."""
        parts: dict[Any, dict[str, Path]] = {}
        if bundle is not None:
            parts["model"] = model_part(bundle, {})
        if articles is not None or bundle is not None:
            parts["articles"] = articles_part(articles or Path(str(bundle)) / "articles")
        return publish(self.folder, self.keys, parts, now, branches=branches)

    def copy(self, to: Path) -> Path:
        """The release as it is now, as a stick carries it."""
        return shutil.copytree(self.folder, to)

    def metadata(self, name: str) -> Path:
        """A metadata file by its role, the newest version."""
        place = self.folder / "metadata"
        if name == "timestamp":
            return place / "timestamp.json"
        return max(place.glob(f"*.{name}.json"), key=lambda path: int(path.name.split(".")[0]))


def passed(bundle: Path) -> Path:
    """A bundle with the record of a gate that it passed."""
    write_gate_record(bundle, bounds={"max_kl": 0.3}, figures={"kl": 0.1})
    return bundle


def seal(bundle: Path) -> Path:
    """A changed bundle with a manifest and a gate's record that fit it."""
    write_manifest(bundle, "bundle", {}, {})
    return passed(bundle)


def resign(company: Company, path: Path, change: Callable[[Any], None], keys: KeyFolder | None = None) -> None:
    """Change a metadata file and sign it again, with the company's own key for its role or a stranger's."""
    metadata: Metadata[Any] = Metadata.from_file(str(path))
    change(metadata.signed)
    role = path.name.removesuffix(".json").rpartition(".")[2]
    metadata.signatures.clear()
    for key in (keys or company.keys).keys_of(role):
        metadata.sign((keys or company.keys).signers()[key.keyid], append=True)
    path.write_bytes(metadata_bytes(metadata))


def make_fit(company: Company, role: str, data: bytes, version: int) -> None:
    """Sign snapshot and timestamp anew so that they name a changed role."""
    fit = MetaFile.from_data(version, data, ["sha256"])
    if role != "snapshot":
        snapshot = company.metadata("snapshot")
        resign(company, snapshot, lambda signed: signed.meta.__setitem__(f"{role}.json", fit))
        number = int(snapshot.name.split(".")[0])
        fit = MetaFile.from_data(number, snapshot.read_bytes(), ["sha256"])

    def change(signed: Any) -> None:
        signed.version += 1
        signed.snapshot_meta = fit

    resign(company, company.metadata("timestamp"), change)


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that tests copy: making nine takes longer than copying them."""
    return make_keys(tmp_path_factory.mktemp("keys") / "keys", NOW).folder


@pytest.fixture
def company(key_folder: Path, tmp_path: Path) -> Company:
    """A company that has released nothing yet."""
    return Company(KeyFolder(shutil.copytree(key_folder, tmp_path / "keys")), tmp_path / "release")


@pytest.fixture(scope="session")
def small_template(tmp_path_factory: pytest.TempPathFactory, embedder_folder: Path) -> Path:
    """A bundle with as few and as small files as a bundle can have: what is copied counts, not what it says."""
    bundle = write_bundle(tmp_path_factory.mktemp("small") / "bundle", embedder_folder, "1")
    for path in sorted((bundle / "articles").rglob("*.md")):
        if path.name != "returns-window.md":
            path.unlink()
    (bundle / "model" / "q8_0.gguf").unlink()
    (bundle / "embedder" / "model.onnx").write_bytes(b"encoder")
    return bundle


@pytest.fixture
def small_bundle(small_template: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Writes a small bundle of a version, each in a folder of its own; it passed its gate."""

    def make(version: str) -> Path:
        bundle = shutil.copytree(small_template, tmp_path / f"build {version}" / "bundle")
        info = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        info |= {"version": version, "models": {"q4_k_m": "model/q4_k_m.gguf"}}
        (bundle / "bundle.json").write_text(json.dumps(info), encoding="utf-8")
        (bundle / "embedder" / "model.onnx").write_bytes(b"encoder of version " + version.encode())
        return seal(bundle)

    return make
