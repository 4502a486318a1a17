"""The client that tuf-conformance drives: Edgedesk's updater behind the command line of that suite.

    client.py --metadata-dir DIR init ROOT
    client.py --metadata-dir DIR --metadata-url URL refresh
    client.py --metadata-dir DIR --metadata-url URL --target-name NAME --target-base-url URL --target-dir DIR download

What it calls is what `edgedesk update` calls: `runtime.bundle.trust.believing` over an `HttpSource`, the branch's own
record, and the store that files are copied into. Its own part is to put copies where the suite looks. The home of the
branch lies in the metadata folder. Exit code 1 after any refusal, as the suite asks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from tuf.api.metadata import TargetFile

from runtime.base.manifest import FileEntry
from runtime.bundle.generations import installing
from runtime.bundle.release_format import METADATA
from runtime.bundle.sources import HttpSource
from runtime.bundle.store import Store
from runtime.bundle.trust import believing
from runtime.bundle.trust_record import read_record
from runtime.errors import EdgedeskError, IntegrityError, MissingError


def main(words: list[str]) -> int:
    """Run one command of the suite; its exit code."""
    parser = argparse.ArgumentParser(description="Edgedesk's updater as a client under test")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-base-url", default="")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    options = parser.parse_args(words)
    folder: Path = options.metadata_dir
    try:
        if options.command == "init":
            shutil.copyfile(options.root, folder / "root.json")
            return 0
        targets = read(folder, options.metadata_url, options.target_name if options.command == "download" else [])
        if targets:
            download(folder / "home", options.target_base_url, targets, options.target_dir)
    except EdgedeskError as error:
        sys.stderr.write(f"refused: {error}\n")
        return 1
    return 0


def read(folder: Path, url: str, names: list[str]) -> list[TargetFile]:
    """What the newest metadata says of the files asked for; believed metadata is put where the suite looks."""
    home = folder / "home"
    try:
        with HttpSource(url.rstrip("/").removesuffix(METADATA)) as source, installing(home):
            root = (folder / "root.json").read_bytes()
            with believing(source, home, datetime.now(UTC), root=root) as metadata:
                metadata.refresh()
                found = []
                for name in names:
                    target = metadata.find(name)
                    if target is None:
                        raise MissingError(f"no role names '{name}'", where=url)
                    found.append(target)
                return found
    finally:
        if (state := read_record(home).state) is not None:
            for role, text in {**state.metadata, "root": state.root}.items():
                (folder / f"{role}.json").write_text(text, encoding="utf-8")


def download(home: Path, url: str, targets: list[TargetFile], to: Path) -> None:
    """Copy files into the branch's store as an update does, and link them where the suite looks."""
    store = Store(home)
    with HttpSource(url) as source, installing(home):
        store.prepare()
        for target in targets:
            sha256 = target.hashes.get("sha256")
            if sha256 is None:
                raise IntegrityError(f"'{target.path}' has no SHA-256", where=url)
            entry = FileEntry(path=target.path, sha256=sha256, bytes=target.length)
            place, slash, name = target.path.rpartition("/")
            for missing in store.missing([entry]):
                store.copy(source, missing, f"{place}{slash}{sha256}.{name}", lambda _: None)
            link = to / quote(target.path, safe="")
            link.unlink(missing_ok=True)
            os.link(store.path(sha256), link)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
