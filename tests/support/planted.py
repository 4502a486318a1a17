"""Looks for planted values in every file of a folder, in the encodings in which a program may have written them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path


def spellings(value: str) -> Iterator[tuple[str, bytes]]:
    """A value as bytes, by the name of its encoding."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030", "latin-1"):
        try:
            yield encoding, value.encode(encoding)
        except UnicodeEncodeError:
            continue
    yield "JSON escapes", json.dumps(value)[1:-1].encode()
    yield "hex", value.encode().hex().encode()
    # Base64 depends on where in a text the value begins: what does not depend on its neighbours, for each offset.
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + value.encode()).rstrip(b"=")
        yield f"base64+{offset}", whole[4 if offset else 0 : len(whole) - len(whole) % 4 or None]


def find_planted(folder: Path, values: Sequence[str], *, but: Sequence[str] = ()) -> list[str]:
    """Where the values are: `value in file (encoding)`; files of the names in `but` are passed over."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in but:
            data = path.read_bytes()
            found += [
                f"{value} in {path.relative_to(folder)} ({encoding})"
                for value in values
                for encoding, written in spellings(value)
                if len(written) > 3 and written in data
            ]
    return found
