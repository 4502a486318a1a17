"""A release as an OCI artifact: what other tools find in it, and what is refused as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from runtime.bundle.oci_layout import MAX_MANIFEST_BYTES, artifact, digest_of, read_artifact, release_files
from runtime.errors import InputError, MissingError, UsageError
from tests.support.releases import Company

Small = Callable[[str], Path]
MODEL_CONFIG_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["descriptor", "config", "modelfs"],
    "properties": {
        "descriptor": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"name": {"type": "string", "minLength": 1}, "version": {"type": "string"}},
        },
        "config": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "architecture": {"type": "string"},
                "format": {"type": "string"},
                "quantization": {"type": "string"},
                "capabilities": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "inputTypes": {"type": "array", "items": {"enum": ["text"]}},
                        "outputTypes": {"type": "array", "items": {"enum": ["text"]}},
                        "languages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}},
                    },
                },
            },
        },
        "modelfs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "diffIds"],
            "properties": {
                "type": {"enum": ["layers"]},
                "diffIds": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^sha256:"}},
            },
        },
    },
}
"""What the ModelPack specification demands of a model's config, as far as a release has it."""


@pytest.fixture
def parts(company: Company, small_bundle: Small) -> tuple[dict, dict]:  # type: ignore[type-arg]
    """The manifest and the config of a release."""
    company.release(small_bundle("1"))
    manifest, config = artifact(company.folder, release_files(company.folder))
    return json.loads(manifest), json.loads(config)


def test_artifact_config_is_what_the_modelpack_specification_demands(parts: tuple[dict, dict]) -> None:  # type: ignore[type-arg]
    manifest, config = parts
    jsonschema.validate(config, MODEL_CONFIG_SCHEMA)
    assert config["descriptor"]["version"] == "1"
    assert config["config"]["format"] == "gguf"
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"


def test_artifact_layers_are_the_files_of_the_release_under_their_own_hashes(
    company: Company,
    parts: tuple[dict, dict],  # type: ignore[type-arg]
) -> None:
    layers = {layer["annotations"]["org.cncf.model.filepath"]: layer for layer in parts[0]["layers"]}
    assert set(layers) == {
        path.relative_to(company.folder).as_posix() for path in company.folder.rglob("*") if path.is_file()
    }
    for path, layer in layers.items():
        data = (company.folder / path).read_bytes()
        assert layer["digest"] == digest_of(data), "an update can tell from the metadata which blobs it has"
        assert layer["size"] == len(data)
        assert layer["annotations"]["org.opencontainers.image.title"] == path
    kinds = {
        path.split(".", 1)[1]: layer["mediaType"].removeprefix("application/vnd.cncf.model.")
        for path, layer in layers.items()
    }
    assert kinds["q4_k_m.gguf"] == "weight.v1.raw"
    assert kinds["bundle.json"] == "weight.config.v1.raw"
    assert kinds["returns-window.md"] == "dataset.v1.raw"
    assert kinds["root.json"] == "doc.v1.raw"


def test_artifact_of_one_release_is_the_same_bytes_each_time(company: Company, small_bundle: Small) -> None:
    company.release(small_bundle("1"))
    assert artifact(company.folder, release_files(company.folder)) == artifact(
        company.folder, release_files(company.folder)
    )


def test_artifact_leaves_out_files_of_the_release_before(company: Company, small_bundle: Small) -> None:
    company.release(small_bundle("1"))
    before = {entry.path for entry in release_files(company.folder)}
    company.release(small_bundle("2"))
    after = {entry.path for entry in release_files(company.folder)}
    gone = before - after
    assert any(path.endswith("bundle.json") for path in gone)
    assert all((company.folder / path).exists() for path in gone), "a branch that reads the folder still finds them"


def test_artifact_of_more_files_than_a_registry_takes_is_refused(company: Company, small_bundle: Small) -> None:
    company.release(small_bundle("1"))
    (entry, *rest) = release_files(company.folder)
    many = [entry.model_copy(update={"path": f"targets/articles/en/{number:06}.md"}) for number in range(15_000)]
    with pytest.raises(UsageError, match="more than a registry takes"):
        artifact(company.folder, [*rest, *many])
    assert len(many) * 200 < MAX_MANIFEST_BYTES, "half as many would have gone in"


def test_folder_without_a_release_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no signed release"):
        release_files(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"layers": 1}',
        b'{"layers": [{"mediaType": "x", "digest": "md5:1", "size": 1}]}',
        b'{"layers": [{"mediaType": "x", "digest": "sha256:../../etc/passwd", "size": 1}]}',
        b'{"artifactType": "application/vnd.cncf.model.manifest.v1+json", "layers": [{"size": -1}]}',
        b"\xff\xfe",
    ],
)
def test_manifest_that_is_none_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(InputError, match="not an OCI manifest"):
        read_artifact(data, "here")


@pytest.mark.parametrize("kind", ["", "application/vnd.oci.image.config.v1+json"])
def test_artifact_of_another_kind_is_no_release(kind: str) -> None:
    with pytest.raises(InputError, match="not a release"):
        read_artifact(json.dumps({"artifactType": kind, "layers": []}).encode(), "here")
