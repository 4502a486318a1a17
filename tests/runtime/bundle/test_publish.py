"""What a publication signs anew, and into which folder it goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from runtime.bundle.generations import current_bundle
from runtime.bundle.keys import KeyFolder, make_keys
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource
from runtime.errors import MissingError, UsageError
from tests.support.releases import NOW, Company

Small = Callable[[str], Path]


@pytest.fixture
def released(company: Company, small_bundle: Small) -> Company:
    company.release(small_bundle("1"))
    return company


@pytest.mark.parametrize("role", ["app", "articles", "model"])
def test_release_signed_again_after_a_key_was_replaced_is_believed(
    released: Company, tmp_path: Path, role: str, small_bundle: Small
) -> None:
    """No part is given: each is signed anew whose key is new, or branches would believe none of it."""
    home = tmp_path / "home"
    install_release(FolderSource(released.folder), home)
    released.release(small_bundle("2"))
    released.keys.rotate(role, NOW)
    released.release()
    install_release(FolderSource(released.folder), home)
    assert current_bundle(home).info.version == "2"


def test_release_after_years_renews_what_has_ended(released: Company) -> None:
    later = NOW + timedelta(days=760)  # targets and parts are good for 730
    released.release(now=later)
    for role in ("targets", "model", "articles", "app"):
        metadata: Metadata[Any] = Metadata.from_file(str(released.metadata(role)))
        assert metadata.signed.expires > later + timedelta(days=120), role


def test_part_whose_key_is_elsewhere_is_renewed_only_once_it_has_ended(company: Company, small_bundle: Small) -> None:
    company.release(small_bundle("1"))
    (key,) = company.keys.folder.glob("model*.pem")
    key.unlink()
    keys = KeyFolder(company.keys.folder)
    ours = Company(keys, company.folder)
    ours.release(now=NOW + timedelta(days=700))
    with pytest.raises(MissingError, match="private key of the role 'model'"):
        ours.release(now=NOW + timedelta(days=760))


def test_release_into_the_folder_of_another_company_is_refused(
    released: Company, tmp_path: Path, small_bundle: Small
) -> None:
    stranger = make_keys(tmp_path / "stranger", NOW)
    before = {path: path.read_bytes() for path in released.folder.rglob("*.json")}
    with pytest.raises(UsageError, match="signed with other keys"):
        Company(stranger, released.folder).release(small_bundle("9"))
    assert {path: path.read_bytes() for path in released.folder.rglob("*.json")} == before
