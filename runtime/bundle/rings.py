"""Which branches may take a model: names in the signed metadata, so that a roll-out by rings holds in every branch.

    N.model.json   "model/bundle.json": {"custom": {"branches": ["Lisbon", "里斯本"]}, "hashes": …, "length": …}

No list means everybody, and so does `*` in it; an empty list means nobody, which is how a roll-out stops. Promises: a
list that cannot be read is an error and never means everybody. A branch is whoever its setting `branch` says it is:
this keeps a roll-out in order and keeps nothing secret. Pure; knows nothing of how a roll-out decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tuf.api.metadata import TargetFile

from runtime.bundle.bundle import Label
from runtime.bundle.release_format import target_of
from runtime.errors import InputError

EVERYBODY = "*"
RING_TARGET = target_of("bundle.json")
"""The target that carries the list: every model has this file, and the key of the model signs it."""
MAX_BRANCHES = 100_000


class _Custom(BaseModel):
    """TUF's custom data of that target; what else a later version may write there is not ours to judge."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    branches: list[Label] | None = Field(default=None, max_length=MAX_BRANCHES)


@dataclass(frozen=True)
class AllowedBranches:
    """Those that may take a model."""

    names: frozenset[str] | None = None
    """None = everybody."""

    def refusal(self, branch: str) -> str:
        """Why a branch may not take the model, in one sentence; empty when it may."""
        if self.names is None or EVERYBODY in self.names or (branch and branch in self.names):
            return ""
        if not self.names:
            return "its roll-out has been stopped"
        who = f"'{branch}' is not among them" if branch else "this branch has no name (setting 'branch')"
        return f"it is rolled out to {len(self.names):,} branches first, and {who}"


def with_branches(target: TargetFile, branches: Iterable[str]) -> TargetFile:
    """The target with a list of branches in its custom data; `*` in it takes the list away."""
    names = sorted(set(branches))
    custom = {key: value for key, value in (target.custom or {}).items() if key != "branches"}
    if EVERYBODY not in names:
        custom["branches"] = names
    fields = {key: value for key, value in target.unrecognized_fields.items() if key != "custom"}
    return TargetFile(target.length, target.hashes, target.path, fields | ({"custom": custom} if custom else {}))


def allowed_branches(target: TargetFile) -> AllowedBranches:
    """The list of a target; `InputError` for one that is none."""
    if target.custom is None:
        return AllowedBranches()
    try:
        found = _Custom.model_validate(target.custom).branches
    except ValidationError:
        raise InputError("its list of branches cannot be read", hint="do not use it, and tell head office") from None
    return AllowedBranches(None if found is None else frozenset(found))
