"""The finished parts of a long stage: complete files under their names or none, so that kill -9 costs one part at most.

    <folder>/parts.json          what is being captured: hashes of model, tokenizer, prompt and data, and settings
    <folder>/part-00000.parquet  written as `partial`, synced, renamed

Promises: parts are only ever taken up by the capture they belong to; another is refused by name, never mixed in and
never thrown away in silence. Knows nothing of what is in a part.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.base.files import fsync_folder, full_disk_is_an_error, read_text, write_atomic
from runtime.errors import IntegrityError

MANIFEST = "parts.json"


class ResumableParquet:
    """A folder of parts; nothing is written before the first part is."""

    def __init__(
        self, folder: Path, inputs: Mapping[str, Any], what: str = "capture", *, suffix: str = ".parquet"
    ) -> None:
        self.folder = folder
        self._suffix = suffix
        self._what = what
        self._inputs = json.loads(json.dumps(dict(inputs), default=str))
        if (folder / MANIFEST).is_file():
            self._check()

    def _check(self) -> None:
        """`IntegrityError` naming what has changed since the parts were begun."""
        try:
            found = json.loads(read_text(self.folder / MANIFEST))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._refusal("cannot be read")
        changed = sorted(key for key in {*found, *self._inputs} if found.get(key) != self._inputs.get(key))
        if changed:
            raise self._refusal(f"belongs to another: {', '.join(changed)} changed")

    def _refusal(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"an unfinished {self._what} {why}",
            where=str(self.folder),
            hint=f"undo the change to go on with it, or begin again: --from {self._what}, or delete the folder",
        )

    def begin(self) -> None:
        """Make the folder and record in it what the parts belong to; parts that exist stay."""
        if not (self.folder / MANIFEST).is_file():
            write_atomic(self.folder / MANIFEST, json.dumps(self._inputs, ensure_ascii=False, indent=1) + "\n")

    def path(self, number: int) -> Path:
        """The file of a part, once it is complete."""
        return self.folder / f"part-{number:05}{self._suffix}"

    @contextmanager
    def write(self, number: int) -> Iterator[Path]:
        """A file to write, which becomes part `number` when the block ends well."""
        with full_disk_is_an_error(self.folder):
            self.begin()
            partial = self.folder / "partial"
            try:
                yield partial
            except BaseException:
                partial.unlink(missing_ok=True)
                if not self.path(0).is_file():
                    self.remove()
                raise
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, self.path(number))
            fsync_folder(self.folder)

    def remove(self) -> None:
        """Delete the parts, once what they make up is stored elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)
