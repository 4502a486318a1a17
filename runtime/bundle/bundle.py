"""A bundle: the folder a branch installs, read and checked.

Promises: no parser sees a file of it before its hash was compared, and a file that is not what head office built is
named; a model file that is not sound is refused before any C code opens it. Knows nothing of where bundles are
installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runtime.base.files import read_text
from runtime.base.manifest import Manifest, check_names, read_manifest, read_verified, safe_path
from runtime.base.manifest import verify as verify_files
from runtime.base.validation import first_problem
from runtime.bundle.gguf_check import check_gguf
from runtime.errors import InputError, IntegrityError, MissingError
from runtime.prompting.prompt_spec import PromptSpec


def printable(text: str) -> str:
    """The text; `ValueError` where a terminal would not show it as it is."""
    if not text.isprintable():
        raise ValueError("must be printable: no control characters, escape sequences or signs that turn a line around")
    return text


Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)]
"""A short text that terminals and logs show as it is: it may come from a stranger's bundle."""
Model = TypeVar("Model", bound=BaseModel)
KIND = "bundle"


class BundleInfo(BaseModel):
    """`bundle.json`: what the bundle is called and where its parts lie (paths below the bundle)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    version: Label
    created: Label
    languages: tuple[Label, ...] = Field(min_length=1)
    model: str
    """The GGUF used unless another is asked for."""
    models: dict[str, str] = Field(default_factory=dict)
    """GGUF files by quantization: `q8_0`, `q4_k_m` …"""
    embedder: str = "embedder"


@dataclass(frozen=True)
class Bundle:
    """An open bundle: paths and small settings; nothing heavy is loaded."""

    root: Path
    info: BundleInfo
    prompt: PromptSpec

    @property
    def model_path(self) -> Path:
        """The default GGUF."""
        return self.root / self.info.model

    @property
    def onnx_path(self) -> Path:
        """The folder of the ONNX student; bundles have it where their recipe says `onnx_in_bundle`."""
        return self.root / "onnx"

    @property
    def embedder_path(self) -> Path:
        """The embedder's folder."""
        return self.root / self.info.embedder

    @property
    def articles_path(self) -> Path:
        """The folder of articles, `<lang>/*.md`."""
        return self.root / "articles"

    def policy_path(self, lang: str) -> Path:
        """`policy.<lang>.toml` where the bundle has one, else `policy.toml`."""
        own = self.root / f"policy.{lang}.toml"
        return own if own.is_file() else self.root / "policy.toml"

    def public_text(self) -> str:
        """Everything the articles say: values found in it (the hotline, a branch's address) are no personal data."""
        return "\n".join(read_text(path) for path in sorted(self.articles_path.rglob("*.md")))


def open_bundle(path: Path, *, verify: bool, check_models: bool | None = None) -> Bundle:
    """Read a bundle folder.

    With `verify` every file is hashed; without, only what is read here: for a bundle that was verified when it was
    installed. Nothing is parsed before its hash is compared. `check_models` is whether each model's header is checked
    as well, by default when verifying.
    `MissingError` when there is none or a part is gone, `IntegrityError` naming a file that is not what was built,
    `InputError` or `ModelError` for one that was built wrong.
    """
    if not path.is_dir():
        raise MissingError("no such bundle folder", where=str(path), hint="check the path")
    manifest = read_bundle_manifest(path)
    if verify:
        verify_files(path, manifest)
    info = _read(BundleInfo, path, manifest, "bundle.json")
    bundle = Bundle(path, info, _read(PromptSpec, path, manifest, "prompt.json"))
    for name in sorted({info.model, *info.models.values()}):
        model = _inside(path, name)
        if verify if check_models is None else check_models:
            check_gguf(model)
        elif not model.is_file():
            raise MissingError("the model file is not there", where=str(model), hint="install the bundle again")
    for folder in (_inside(path, info.embedder), bundle.articles_path):
        if not folder.is_dir():
            raise MissingError(f"the bundle lacks its folder {folder.name}/", where=str(path), hint="build it again")
    if not (path / "policy.toml").is_file():
        raise MissingError("the bundle lacks policy.toml", where=str(path), hint="build it again")
    return bundle


def read_bundle_manifest(path: Path) -> Manifest:
    """A bundle's manifest with names that stay inside; `InputError` for a folder of another kind."""
    manifest = read_manifest(path)
    if manifest.kind != KIND:
        raise InputError(f"a folder of kind '{manifest.kind}', not a bundle", where=str(path), hint="give a bundle")
    check_names(path, manifest)
    return manifest


def _inside(root: Path, name: str) -> Path:
    if not safe_path(name):
        raise IntegrityError(
            f"'{name}' leads outside the bundle", where=str(root / "bundle.json"), hint="do not use it"
        )
    return root / PurePosixPath(name)


def _read(model: type[Model], path: Path, manifest: Manifest, name: str) -> Model:
    data = read_verified(path, manifest, name)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        problem = first_problem(error, "key", model)
        raise InputError(problem.sentence, where=str(path / name), hint="build the bundle again") from None
