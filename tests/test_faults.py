"""Which faults and attacks are proven; the reference page says the same."""

from __future__ import annotations

import re

from tests.support.faults import FAULTS, claimed, find_proofs, proven
from tests.support.paths import ROOT

OPEN: set[str] = set()
"""Without a proof in the ordinary run. An id that loses its proof is put in here with the reason, or not at all."""
PAGE = ROOT / "docs" / "reference" / "faults.md"


def test_part_of_a_fault_is_no_proof_of_it() -> None:
    assert claimed("F1.") == {"F1"}
    assert claimed("F3, F4: an fsync that fails.") == {"F3", "F4"}
    assert claimed("Part of S11: the redactor.") == set()
    assert claimed("S4. Part of S3: an endless file is cut.") == {"S4"}
    assert claimed("Ids such as AF1 or F1x are none.") == set()


def test_claims_name_faults_that_exist() -> None:
    assert [proof.test for proof in find_proofs() if proof.fault not in FAULTS] == []


def test_open_faults_only_become_fewer() -> None:
    without = FAULTS.keys() - proven(find_proofs())
    assert without - OPEN == set(), "these have lost their proof"
    assert OPEN - without == set(), "these are proven now: take them out of OPEN"


def test_reference_page_names_what_is_proven() -> None:
    rows = dict(re.findall(r"^\| ([FS]\d+) \| [^|]+ \| (yes|no) \|", PAGE.read_text(encoding="utf-8"), re.M))
    assert rows.keys() == FAULTS.keys()
    said = {name for name, word in rows.items() if word == "yes"}
    assert said == proven(find_proofs()), "print it again: ./build.sh test --faults-page docs/reference/faults.md"
