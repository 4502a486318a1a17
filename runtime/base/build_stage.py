"""A build step that runs once: its folder is taken from the last run while nothing that went in has changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from runtime.base.files import new_folder, recover_folder
from runtime.base.manifest import Manifest, digest, read_manifest, safe_path, write_manifest
from runtime.base.memory_watch import release_memory, watch_memory
from runtime.errors import IntegrityError, MissingError


def _is_there(folder: Path, manifest: Manifest) -> bool:
    """Whether every file of the manifest is there in its size."""
    return all(
        safe_path(entry.path)
        and (path := folder / PurePosixPath(entry.path)).is_file()
        and path.stat().st_size == entry.bytes
        for entry in manifest.files
    )


def stage(
    folder: Path,
    kind: str,
    inputs: Mapping[str, Any],
    work: Callable[[Path], Mapping[str, Any]],
    *,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Run `work(partial_folder) -> figures` unless `folder` was made from the same inputs; returns (manifest, ran).

    A file that was deleted or cut since makes it run again. Hashes are not compared: that would read gigabytes at every
    start of a build; `verify` does it where a folder is handed on.
    """
    recover_folder(folder)  # of a run that was killed while it replaced the last one
    wanted = json.loads(json.dumps(dict(inputs), default=str))
    if not force:
        try:
            manifest = read_manifest(folder)
            if manifest.kind == kind and manifest.inputs == wanted and _is_there(folder, manifest):
                return manifest, False
        except (MissingError, IntegrityError):
            pass
    release_memory()
    started = time.monotonic()
    with new_folder(folder) as partial:
        with watch_memory() as peak:
            figures = dict(work(partial))
        figures.setdefault("seconds", round(time.monotonic() - started, 1))
        figures.setdefault("peak_mb", peak.megabytes)
        manifest = write_manifest(partial, kind, wanted, figures)
    return manifest, True


def files_digest(manifest: Manifest) -> str:
    """What identifies a stage's output, for the stages that read it: the hashes of its files, not its figures."""
    return digest([[entry.path, entry.sha256] for entry in manifest.files])


class StageRunner:
    """Runs the stages of one build one after the other, and keeps their manifests by name."""

    def __init__(self, say: Callable[[str], None], *, force: Collection[str] = (), prefix: str = "") -> None:
        """`force` names stages that run though nothing has changed; `prefix` starts every line that is said."""
        self.manifests: dict[str, Manifest] = {}
        self.seconds: dict[str, float] = {}
        """Of this run, by stage: about 0 for one taken from the last."""
        self.say = say
        self._force = frozenset(force)
        self._prefix = prefix

    def run(
        self,
        name: str,
        folder: Path,
        inputs: Mapping[str, Any],
        work: Callable[[Path], Mapping[str, Any]],
        *,
        kind: str = "",
    ) -> Manifest:
        """`stage` under its name; `kind` is what its manifest says, by default the name."""
        began = time.monotonic()

        def announced(partial: Path) -> Mapping[str, Any]:
            self.say(f"{self._prefix}{name:<15} started")
            return work(partial)

        manifest, ran = stage(folder, kind or name, inputs, announced, force=name in self._force)
        self.manifests[name] = manifest
        self.seconds[name] = round(time.monotonic() - began, 1)
        outcome = f"done in {manifest.figures['seconds']} s" if ran else "unchanged"
        self.say(f"{self._prefix}{name:<15} {outcome}")
        return manifest
