"""Installing from a signed release: its metadata is believed first, then its files are copied and compared.

Promises: not a byte of a release's files is read before the list that names them is believed; what a branch has
believed once stays its high-water mark, whether the installation succeeds or not. Knows nothing of trials.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from runtime.base.manifest import Manifest, check_names, read_manifest
from runtime.bundle.bundle import KIND
from runtime.bundle.gate_record import files_digest
from runtime.bundle.generations import CURRENT, Progress, add_generation, installing, switch
from runtime.bundle.release_format import part_of
from runtime.bundle.sources import Source
from runtime.bundle.trust import VerifiedRelease, verify_release
from runtime.errors import EdgedeskError, InputError, UnavailableError


def install_release(
    source: Source,
    home: Path,
    progress: Progress | None = None,
    *,
    branch: str = "",
    root: bytes | None = None,
    now: datetime | None = None,
) -> tuple[int, VerifiedRelease]:
    """Install a release and make it current; returns its generation and what was believed.

    Raises as `verify_release` and `generations.install` do, and `UnavailableError` where another generation is current
    and the release is not for `branch` yet; whatever it raises, the current generation stays so.
    """
    with installing(home):
        release = verify_release(source, home, now or datetime.now(UTC), root=root)
        if why := for_branch(release, home, branch)[1]:
            raise UnavailableError(
                f"the release is not for this branch yet: {why}",
                where=source.where,
                hint="head office widens its roll-out; edgedesk update takes the articles of it now",
            )
        number = stage_release(source, home, release, progress)
        switch(home, number)
        return number, release


def stage_release(
    source: Source, home: Path, release: VerifiedRelease, progress: Progress | None = None, *, quick: bool = False
) -> int:
    """Make a generation of a release without making it current; the caller holds `installing`.

    `quick`: files that the current generation has are not read again; for an update of articles alone.
    """
    manifest = release_manifest(release)
    if not any(entry.path == "bundle.json" for entry in manifest.files):
        raise InputError("the release holds no model yet", where=source.where, hint="edgedesk release BUNDLE adds it")
    check_names(Path(source.where), manifest)
    trusted = _current_hashes(home) if quick else ()
    return add_generation(home, source, manifest, places=release.places, trusted=trusted, progress=progress)


def release_manifest(release: VerifiedRelease) -> Manifest:
    """The manifest of the generation that a release becomes."""
    return Manifest(kind=KIND, inputs={"release": dict(release.versions)}, files=release.files)


def content_digest(release: VerifiedRelease) -> str:
    """What a release holds, whatever it is called and whoever signed it when: what was refused once is known by it."""
    return files_digest(release_manifest(release))


def for_branch(release: VerifiedRelease, home: Path, branch: str) -> tuple[VerifiedRelease, str]:
    """What of a release a branch may take, and why its model is held back; empty when it may take all.

    A model that is rolled out to other branches first leaves a branch with the model that it runs. Articles are facts
    and reach everybody at once: otherwise a price could not be corrected while a roll-out lasts. A branch without any
    generation, or with one that cannot be read, takes all: a release folder holds nothing older.
    """
    why = release.branches.refusal(branch)
    try:
        current = read_manifest(home / CURRENT).files if why else ()
    except EdgedeskError:
        current = ()
    here = {entry for entry in current if part_of(entry.path) == "model"}
    if not here or here == {entry for entry in release.files if part_of(entry.path) == "model"}:
        return release, ""
    articles = {entry for entry in release.files if part_of(entry.path) == "articles"}
    return replace(release, files=tuple(sorted(here | articles, key=lambda entry: entry.path))), why


def current_content(home: Path) -> str:
    """What the current generation holds, as `content_digest` says it of a release; empty without one."""
    try:
        return files_digest(read_manifest(home / CURRENT))
    except EdgedeskError:
        return ""


def _current_hashes(home: Path) -> Collection[str]:
    try:
        return {entry.sha256 for entry in read_manifest(home / CURRENT).files}
    except EdgedeskError:
        return ()
