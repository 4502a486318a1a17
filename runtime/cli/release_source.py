"""From a place that a user or a setting names to the source that `install` and `update` read.

Opens no connection before it is asked to read. Knows nothing of what is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.base.files import expand_user
from runtime.base.settings import Settings
from runtime.bundle.sources import OCI_SCHEMES, FolderSource, HttpSource, Source, is_address
from runtime.errors import MissingError


@contextmanager
def open_source(place: str, settings: Settings) -> Iterator[Source]:
    """A place that a user or a setting names: a folder, a web server or a registry."""
    if place.lower().startswith(OCI_SCHEMES):
        from runtime.bundle.oci_registry import OciAddress, Registry, read_login
        from runtime.bundle.oci_source import OciSource

        address, login = OciAddress.parse(place), read_login(settings.update_login)
        with Registry(address, login=login, ca=settings.update_ca, hosts=settings.update_hosts) as registry:
            yield OciSource(registry)
        return
    if is_address(place):
        with HttpSource(place, ca=settings.update_ca) as source:
            yield source
        return
    folder = expand_user(Path(place)).absolute()
    if not folder.is_dir():
        raise MissingError("no such folder", where=str(folder), hint="put the stick in, or check the path")
    yield FolderSource(folder)
