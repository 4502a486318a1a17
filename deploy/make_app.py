"""Head office: the `app` part of a release, everything a bare branch machine needs to run Edgedesk.

    OUT/install.sh         the installer; it holds the SHA-256 of SHA256SUMS
    OUT/SHA256SUMS         every other file, as `sha256sum` lists them
    OUT/requirements.txt   every package at one version, with the SHA-256 of each wheel that lies here
    OUT/wheels/*.whl       Edgedesk, its dependencies, llama.cpp for any x86-64, and pip itself
    OUT/systemd/*          unit templates

Promises: what `install.sh` installs hangs on one number, the SHA-256 of `install.sh`; a folder appears whole or not at
all; for each Python it is made for, pip resolved the whole set from this folder alone before it was kept.
With `--perception` the extra of that name comes too, which reads pictures and speech: 147 MB of wheels more.
Needs a checkout and the package index. Run by `./build.sh app`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.base.files import new_folder, sha256_file, write_atomic
from runtime.base.progress import say
from runtime.cli.output import run_app
from runtime.errors import EdgedeskError, InputError, MissingError

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
"""Debian 12 has 3.11, Ubuntu 24.04 has 3.12, Debian 13 has 3.13."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64")
OWN = ("edgedesk", "llama-cpp-python")
"""Built here: the lock has hashes of neither."""
DIGEST = "@LIST_SHA256@"
"""Stands in deploy/install.sh for the SHA-256 of SHA256SUMS."""
SUMS = "SHA256SUMS"
PACKAGES = ("distill", "quantize", "runtime", "tui")


@dataclass(frozen=True)
class Entry:
    """One package of a lock file: its line with the version, and the lines of its hashes."""

    name: str
    text: str


def read_lock(path: Path) -> list[Entry]:
    """The entries of a lock file in its order; `MissingError` when there is none."""
    if not path.is_file():
        raise MissingError("no such lock file", where=str(path), hint="run it in a checkout: ./build.sh app")
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return [Entry(canonical(one.split("==")[0]), one.strip()) for one in found if one.strip()]


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(wheels: Iterable[Path]) -> str:
    """requirements.txt of these wheels: each package at its one version, with the hash of every file of it.

    `InputError` when two versions of one package lie there: an installer would take either.
    """
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        found[canonical(name)][version].append(wheel)
    lines = []
    for name, versions in sorted(found.items()):
        if len(versions) > 1:
            where = ", ".join(sorted(wheel.name for files in versions.values() for wheel in files))
            raise InputError(f"two versions of {name}", where=where, hint="delete the one that is not wanted")
        ((version, files),) = versions.items()
        hashes = [f"    --hash=sha256:{digest}" for digest in sorted({sha256_file(file) for file in files})]
        lines.append(" \\\n".join([f"{name}=={version}", *hashes]))
    return "\n".join(lines) + "\n"


def locked_entries(*, perception: bool) -> list[Entry]:
    """What a branch installs besides what is built here: the branch's lock, pip, and where asked the extra's lock."""
    names = ["requirements-branch.lock", *(["requirements-perception.lock"] if perception else [])]
    locked = [entry for name in names for entry in read_lock(ROOT / name) if entry.name not in OWN]
    return locked + [entry for entry in read_lock(ROOT / "requirements.lock") if entry.name == "pip"]


def make_app(out: Path, llama_wheel: Path, pythons: Sequence[str], *, perception: bool = False) -> None:
    """Write the folder. `MissingError` without the llama.cpp wheel, `EdgedeskError` with pip's last words."""
    if not llama_wheel.is_file():
        raise MissingError("no portable llama.cpp", where=str(llama_wheel), hint="build it first: ./build.sh wheels")
    locked = locked_entries(perception=perception)
    with new_folder(out) as folder, tempfile.TemporaryDirectory(prefix="edgedesk-app-") as scratch:
        wheels = folder / "wheels"
        wheels.mkdir()
        list_ = Path(scratch) / "locked.txt"
        list_.write_text("\n".join(entry.text for entry in locked) + "\n", encoding="utf-8")
        for python in pythons:
            say(f"wheels for Python {python}")
            download(list_, wheels, python)
        say("edgedesk's own wheel")
        build_wheel(Path(scratch) / "source", wheels)
        shutil.copyfile(llama_wheel, wheels / llama_wheel.name)
        for python in pythons:
            say(f"checking the set for Python {python}")
            check(wheels, python, Path(scratch) / python, "edgedesk[perception]" if perception else "edgedesk")
        write_app(folder)


def write_app(folder: Path) -> None:
    """Add to a folder with `wheels/` what the installer needs: requirements, units, the list of all, the installer."""
    write_atomic(folder / "requirements.txt", requirements(sorted((folder / "wheels").glob("*.whl"))))
    shutil.copytree(ROOT / "deploy" / "systemd", folder / "systemd")
    write_atomic(folder / SUMS, checksums(folder))
    script = (ROOT / "deploy" / "install.sh").read_text(encoding="utf-8")
    write_atomic(folder / "install.sh", script.replace(DIGEST, sha256_file(folder / SUMS)), mode=0o755)


def checksums(folder: Path) -> str:
    """SHA256SUMS of a folder's files, and in a comment the room that an installation takes for one Python.

    What has a wheel for each Python counts with its largest, so the number is an upper bound.
    """
    largest: dict[str, int] = defaultdict(int)
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        name = canonical(wheel.name.split("-")[0])
        largest[name] = max(largest[name], size)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"# unpacked-bytes: {sum(largest.values())}"]
    return "\n".join([*lines, *(f"{sha256_file(path)}  {path.relative_to(folder)}" for path in files)]) + "\n"


def download(requirements_file: Path, wheels: Path, python: str) -> None:
    """Fetch every locked wheel for one Python: only files whose hash the lock has."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    _pip("download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", python, *platforms,
         "--dest", wheels, "--requirement", requirements_file)  # fmt: skip


def build_wheel(source: Path, wheels: Path) -> None:
    """Edgedesk's wheel, from a copy: a checkout's `build/` may hold modules that are gone."""
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source)


def tracked_files() -> Iterator[str]:
    """Files that the wheel is built from: those git knows, or all where this is no checkout of git."""
    names = ("edgedesk.py", "edgedesk_build.py", "pyproject.toml", "README.md", *PACKAGES)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *names],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0 and listed.stdout:
        yield from (name for name in listed.stdout.splitlines() if (ROOT / name).is_file())
        return
    for name in names:
        paths = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        yield from (str(path.relative_to(ROOT)) for path in paths if path.is_file() and path.suffix != ".pyc")


def check(wheels: Path, python: str, scratch: Path, wanted: str = "edgedesk") -> None:
    """Have pip resolve `wanted` for one Python from these wheels alone: nothing missing, nothing that disagrees."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    _pip("install", "--dry-run", "--no-index", "--find-links", wheels, "--only-binary", ":all:", "--target", scratch,
         "--python-version", python, *platforms, "--ignore-installed", wanted, "pip")  # fmt: skip


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise EdgedeskError(f"pip {words[0]} failed", hint=last or "run it again with the network")


def main() -> None:
    """`python -m deploy.make_app OUT [--llama-wheel FILE] [--python 3.11 …]`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to make; one that is there is replaced")
    parser.add_argument("--llama-wheel", type=Path, help="default: the one of ./build.sh wheels in dist/wheels")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="a Python of branches; default: all")
    parser.add_argument("--perception", action="store_true", help="with what reads pictures and speech")
    options = parser.parse_args()
    built = sorted((ROOT / "dist" / "wheels").glob("llama_cpp_python-*.whl"))
    wheel = options.llama_wheel or (built[-1] if built else ROOT / "dist" / "wheels" / "llama_cpp_python-*.whl")

    def run() -> None:
        make_app(options.out.absolute(), wheel.absolute(), options.python or PYTHONS, perception=options.perception)
        folder = options.out
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        say(f"{folder}: {len(list((folder / 'wheels').iterdir()))} wheels, {size / 1e6:,.0f} MB")
        sys.stdout.write(f"{sha256_file(folder / 'install.sh')}  {folder / 'install.sh'}\n")

    run_app(run)


if __name__ == "__main__":
    main()
