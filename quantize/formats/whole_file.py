"""A file that a library writes under a name of our choosing, yet appears whole or not at all.

`runtime.base.files.write_atomic` takes bytes; gguf and llama.cpp want a path. Knows no format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.base.files import fsync_folder, full_disk_is_an_error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A neighbour's path to write to; renamed to `path` when the block ends well, else removed (Ctrl-C too)."""
    with full_disk_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".{path.name}.{os.getpid()}.partial"
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)
