"""What head office puts into the parts of a release: a bundle that passed its gate, articles, wheels.

Promises: everything is looked at before anything is signed: hashes, the gate, models' headers, every article. Knows
nothing of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.bundle.bundle import open_bundle, read_bundle_manifest
from runtime.bundle.gate_record import require_passed
from runtime.bundle.release_format import MAX_DEPTH, part_of, target_of
from runtime.errors import InputError, MissingError
from runtime.text.articles import load_articles

INSTALL_SCRIPT = "install.sh"


def model_part(bundle: Path, extra: dict[str, Path]) -> dict[str, Path]:
    """The targets of a bundle without its articles; `extra` replaces or adds files by their path in the bundle.

    `GateError` for a bundle that did not pass its gate, `IntegrityError` naming a file that is not what was built.
    """
    require_passed(bundle)
    manifest = read_bundle_manifest(bundle)
    open_bundle(bundle, verify=True)
    files = {entry.path: bundle / entry.path for entry in manifest.files if part_of(entry.path) == "model"}
    return {_checked(target_of(path), bundle): file for path, file in (files | extra).items()}


def articles_part(folder: Path) -> dict[str, Path]:
    """The targets of a folder of articles, `<lang>/*.md`; `InputError` naming every article that cannot be read."""
    if not folder.is_dir():
        raise MissingError("no such folder of articles", where=str(folder), hint="the folder holds <lang>/*.md")
    if not load_articles(folder):
        raise MissingError("no articles", where=str(folder), hint="the folder holds <lang>/*.md")
    return {_checked(f"articles/{name}", folder): folder / name for name in _files(folder)}


def app_part(folder: Path) -> dict[str, Path]:
    """The targets of a folder with Edgedesk's wheels; its `install.sh` lies beside the parts and is none of them."""
    if not folder.is_dir():
        raise MissingError("no such folder of wheels", where=str(folder), hint="./build.sh wheels makes one")
    return {_checked(f"app/{name}", folder): folder / name for name in _files(folder) if name != INSTALL_SCRIPT}


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise InputError("a link, which is not released", where=str(path), hint="copy the file it leads to")
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            yield name


def _checked(target: str, where: Path) -> str:
    if target.count("/") > MAX_DEPTH:
        raise InputError(f"'{target}' lies too deep", where=str(where), hint=f"at most {MAX_DEPTH} folders")
    return target
