"""Reads TOML files that people write by hand: settings, policies, recipes, templates.

Promises: a byte-order mark, as some editors write it, is no error; what is not TOML is refused with file and place.
Knows no key.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from runtime.base.files import read_text
from runtime.errors import EdgedeskError, InputError


def read_toml(path: Path, *, refuse: type[EdgedeskError] = InputError, hint: str = "") -> dict[str, Any]:
    """The tables of a TOML file; raises `refuse` when it is not TOML, and what `read_text` raises.

    An empty file is an empty table. `hint` says what a right line looks like.
    """
    try:
        return tomllib.loads(read_text(path, allow_empty=True))
    except (ValueError, RecursionError) as error:  # broken TOML, a number of 5,000 digits, 5,000 brackets
        reason = str(error).splitlines()[0][:200]
        raise refuse(
            f"not TOML: {reason}", where=str(path), hint=hint or "check quotes, brackets and equals signs"
        ) from None
