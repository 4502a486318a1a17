"""How a release is laid out: which part a file of a bundle belongs to, and what it is called in the release.

    RELEASE/metadata/   timestamp.json  N.root.json  N.snapshot.json  N.targets.json
                        N.model.json  N.articles.json  N.app.json
    RELEASE/targets/    model/<sha256>.bundle.json  model/model/<sha256>.q4_k_m.gguf
                        articles/en/<sha256>.returns.md  app/<sha256>.edgedesk-0.1.0-py3-none-any.whl

Every part has a key and metadata of its own, so that the team which writes articles can sign without the one which
builds models. Files carry their SHA-256 in their names as TUF's consistent snapshots ask for; an update therefore
copies what changed, and nothing is ever overwritten. Knows nothing of keys and of where a release lies.
"""

from __future__ import annotations

from typing import Literal, get_args

Part = Literal["model", "articles", "app"]
PARTS: tuple[Part, ...] = get_args(Part)
METADATA = "metadata"
TARGETS = "targets"
MAX_DEPTH = 12
"""Folders below a part: TUF's patterns name each depth by itself."""


def part_of(path: str) -> Part:
    """The part that a file of a bundle belongs to, by its path below the bundle."""
    return "articles" if path.startswith("articles/") else "model"


def target_of(path: str) -> str:
    """A bundle's file in the metadata: `articles/en/a.md` keeps its name, all else is below `model/`."""
    return path if part_of(path) == "articles" else f"model/{path}"


def bundle_path(target: str) -> str:
    """The path below the bundle of a target of `model` or `articles`."""
    return target.removeprefix("model/")


def file_name(target: str, sha256: str) -> str:
    """Where a target lies below the release: `targets/model/<sha256>.bundle.json`."""
    folder, _, name = target.rpartition("/")
    return f"{TARGETS}/{folder}/{sha256}.{name}"


def patterns(part: Part) -> list[str]:
    """The paths that a part's role may sign: TUF's `*` stops at a slash."""
    return [part + "/*" * depth for depth in range(1, MAX_DEPTH + 1)]
