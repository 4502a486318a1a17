"""Which faults and attacks are proven: each id stands in the docstring of the test that proves it.

A docstring, or a sentence of it, that begins with "Part of" proves nothing by itself. The list of what has no proof yet
is compared exactly, so that it can only shrink: a new proof must be taken out of it, a lost one is missed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
FAULTS = {
    "F1": "kill -9 at every write, fsync and rename of install, update, rollback, clean-up",
    "F2": "power cut: unsynced writes lost, torn, reordered",
    "F3": "disk full at each write",
    "F4": "EIO on read or fsync",
    "F5": "one flipped bit in any file of a bundle",
    "F6": "copy cut short, then resumed",
    "F7": "a bundle that installs well and runs badly",
    "F8": "kill during an answer or a log write",
    "F9": "upload cut after the receiver's commit, before the ack; replays",
    "F10": "30 days offline",
    "F11": "a poison row in the outbox",
    "F12": "damaged SQLite or Chroma",
    "F13": "clock -10 years, +10 years, jumps",
    "F14": "two installers",
    "F15": "several agents at once",
    "F16": "4x overload for 30 minutes",
    "F17": "client gone in mid-stream",
    "F18": "the engine crashes or runs out of memory",
    "S1": "wrong or revoked key, too few signatures",
    "S2": "downgrade, also after the TUF state is deleted",
    "S3": "mix-and-match, freeze, fast-forward, endless data",
    "S4": "a name that leads outside, a link, a device, a duplicate or case-clashing name",
    "S5": "malformed GGUF",
    "S6": "a template that runs code",
    "S7": "hostile article",
    "S8": "one article that blocks or floods answers",
    "S9": "oversized question",
    "S10": "invalid UTF-8, NUL, bidi marks, ANSI and OSC sequences, markup",
    "S11": "personal data in logs, traces, outbox, crash dumps",
    "S12": "any network use at run time",
    "S13": "another user of the machine, or a stranger on the network",
}
WITHOUT_PROOF = {
    *("F2", "F6", "F7", "F9", "F10", "F11"),
    *("S1", "S2", "S3"),
}
"""Take an id out with the test that proves it; never put one in."""


def ids(docstring: str) -> set[str]:
    """Ids of a docstring, without the sentences that claim a part only."""
    whole = [sentence for sentence in re.split(r"(?<=\.)\s+", docstring) if not sentence.startswith("Part of ")]
    return set(re.findall(r"\b[FS]\d+\b", " ".join(whole)))


def proofs() -> dict[str, set[str]]:
    """Id -> the tests that name it."""
    found = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for name in ids(ast.get_docstring(node) or ""):
                    found[name].add(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def test_a_part_of_a_fault_is_no_proof_of_it() -> None:
    assert ids("F1.") == {"F1"}
    assert ids("F3, F4: an fsync that fails.") == {"F3", "F4"}
    assert ids("Part of S11: the redactor.") == set()
    assert ids("S4. Part of S3: an endless file is cut.") == {"S4"}
    assert ids("Ids such as AF1 or F1x are none.") == set()


def test_every_fault_is_proven_but_those_known_to_be_open() -> None:
    found = proofs()
    for name, about in FAULTS.items():
        sys.stderr.write(f"{name:<4}{f'{len(found[name])} proofs' if found[name] else 'OPEN':<10}{about}\n")
    assert found.keys() <= FAULTS.keys(), "a docstring names an id that does not exist"
    without = {name for name in FAULTS if not found[name]}
    assert without - WITHOUT_PROOF == set(), "these have lost their proof"
    assert WITHOUT_PROOF - without == set(), "these are proven now: take them out of WITHOUT_PROOF"
