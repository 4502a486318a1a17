"""A release in an OCI registry: how head office pushes it, and a source that branches install and update from.

Promises: the manifest is pushed last, so whoever reads the tag finds the release before or the new one; a source reads
the manifest once, so that a tag that moves in the middle changes nothing for it; a blob that is there is not sent
again, and one that is known is not fetched again. Believes nothing: hashes and signatures are the reader's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from runtime.bundle.oci_layout import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    artifact,
    digest_of,
    read_artifact,
    release_files,
)
from runtime.bundle.oci_registry import Registry
from runtime.errors import MissingError

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class PushedRelease(NamedTuple):
    """What a push came to."""

    digest: str
    """Of the manifest: names this very release whatever becomes of the tag."""
    files: int
    """In the release."""
    sent_files: int
    sent_bytes: int


class OciSource:
    """A release behind a registry's tag."""

    def __init__(self, registry: Registry) -> None:
        """Reads the manifest; `MissingError` without one, `InputError` for an artifact that is no release."""
        self._registry = registry
        self._layers = read_artifact(registry.manifest(MANIFEST, MAX_MANIFEST_BYTES), registry.where)

    @property
    def where(self) -> str:
        """The address."""
        return self._registry.where

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `Source`."""
        layer = self._layers.get(name)
        if layer is None:
            raise MissingError(f"'{name}' is missing", where=self.where, hint="is the release pushed whole?")
        yield from self._registry.read_blob(layer.digest, start)


def push_release(folder: Path, registry: Registry, progress: Progress = lambda _done, _all: None) -> PushedRelease:
    """Push the release in a folder; run again after an error it sends only what is not there yet.

    `InputError` where the tag names something that is no release.
    """
    files = release_files(folder)
    manifest, config = artifact(folder, files)
    by_digest = {f"sha256:{entry.sha256}": entry for entry in files}
    there = _pushed_before(registry)
    missing = {
        digest: entry for digest, entry in by_digest.items() if digest not in there and not registry.has_blob(digest)
    }
    all_bytes = sum(entry.bytes for entry in missing.values())
    done = 0

    def advance(sent: int) -> None:
        nonlocal done
        done += sent
        progress(done, all_bytes)

    for digest, entry in missing.items():
        registry.push_blob(digest, entry.bytes, folder / entry.path, advance)
    if not registry.has_blob(digest_of(config)):
        registry.push_bytes(digest_of(config), config)
    registry.push_manifest(manifest, MANIFEST)
    return PushedRelease(digest_of(manifest), len(files), len(missing), all_bytes)


def _pushed_before(registry: Registry) -> set[str]:
    """The blobs of the release that the tag names now, which need not be asked for one by one.

    `InputError` where the tag names something else: it is not pushed over.
    """
    try:
        manifest = registry.manifest(MANIFEST, MAX_MANIFEST_BYTES)
    except MissingError:
        return set()
    return {layer.digest for layer in read_artifact(manifest, registry.where).values()}
