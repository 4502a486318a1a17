"""requirements.lock: what ./build.sh setup installs, so nothing may be in it without a hash, and nothing missing."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    """Versions by package; every line of the file belongs to an entry with a hash or is a comment."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [line for line in ENTRY.sub("", text).splitlines() if line and not line.startswith("#")] == []
    return {canonicalize_name(found[1]): found[2] for found in ENTRY.finditer(text)}


def test_lock_has_a_hash_for_every_package() -> None:
    assert len(pins("requirements.lock")) >= 100
    assert {"nvidia-cudnn-cu13", "triton"} <= pins("requirements-cuda.lock").keys()


def test_lock_of_a_branch_is_the_builds_without_the_build() -> None:
    everything, branch = pins("requirements.lock"), pins("requirements-branch.lock")
    assert branch.items() <= everything.items()
    assert not branch.keys() & {"torch", "transformers", "pytest"}


def test_lock_of_perception_is_what_a_branch_lacks_of_the_extra() -> None:
    everything, branch = pins("requirements.lock"), pins("requirements-branch.lock")
    perception = pins("requirements-perception.lock")
    assert perception.items() <= everything.items()
    assert not perception.keys() & branch.keys()
    assert {"rapidocr", "sherpa-onnx", "opencv-python-headless", "pillow"} <= perception.keys()


def test_lock_fits_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["build"]]
    wanted += project["project"]["optional-dependencies"]["perception"]
    wanted += [text for group in groups.values() for text in group if isinstance(text, str)]
    wanted += project["build-system"]["requires"]
    locked = pins("requirements.lock")
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{name} is not locked: ./build.sh lock"
        assert requirement.specifier.contains(locked[name]), f"{requirement}, but {locked[name]} is locked"
