"""Which certificates a connection of ours believes: the system's, or those of a file.

Imported only by what opens a connection: `ssl` takes a while. Knows no address.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from runtime.errors import InputError


def trusted_certificates(ca: Path | None, setting: str) -> ssl.SSLContext:
    """A context for https; `InputError` naming file and setting where no certificate can be read from `ca`."""
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"no certificates can be read from it ({error})", where=str(ca), hint=f"a PEM file: {setting}"
        ) from None
