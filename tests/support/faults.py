"""Faults and attacks that Edgedesk survives, and the account of which tests prove it, with how many trials.

A test that proves an id names it in its docstring and counts what it tried: `count_trials("F8", 40)`. The counts of a
run are printed at its end; `pytest --faults-page docs/reference/faults.md` writes them into the reference.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

PROPERTY = "fault trials"
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


@dataclass(frozen=True)
class Proof:
    """A test that claims an id."""

    fault: str
    test: str
    """`path::function` below tests/."""
    slow: bool
    counts: bool
    """Whether it calls `count_trials` with the id."""


def claimed(docstring: str) -> set[str]:
    """Ids that a docstring claims; a sentence that begins with "Part of" claims none."""
    whole = [sentence for sentence in re.split(r"(?<=\.)\s+", docstring) if not sentence.startswith("Part of ")]
    return set(re.findall(r"\b[FS]\d+\b", " ".join(whole)))


def find_proofs(tests: Path = ROOT / "tests") -> list[Proof]:
    """Every claim of every test, in the order of the files."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module_slow = any("pytestmark" in ast.unparse(node) and "slow" in ast.unparse(node) for node in tree.body)
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            slow = module_slow or any("mark.slow" in ast.unparse(mark) for mark in node.decorator_list)
            body = ast.unparse(node)
            found += [
                Proof(fault, f"{path.relative_to(tests)}::{node.name}", slow, f"count_trials('{fault}'" in body)
                for fault in sorted(claimed(ast.get_docstring(node) or ""))
            ]
    return found


def proven(proofs: Iterable[Proof]) -> set[str]:
    """Ids with a test of the ordinary run that counts its trials."""
    return {proof.fault for proof in proofs if proof.counts and not proof.slow}


def page(trials: dict[tuple[str, str], int]) -> str:
    """The reference page: `trials` maps (id, test) to what the run counted."""
    proofs = find_proofs()
    done = proven(proofs)
    lines = [
        "# Faults and attacks",
        "",
        "Printed from the tests by `./build.sh test --faults-page docs/reference/faults.md`. An id is proven when a",
        "test of the ordinary run tries it and counts its trials. Slow ones: `./build.sh test --slow`.",
        "",
        f"Proven in the ordinary run: {len(done)} of {len(FAULTS)}.",
        "",
        "| id | fault or attack | proven | trials | tests of the ordinary run |",
        "|---|---|---|---:|---|",
    ]
    for fault, about in FAULTS.items():
        mine = [proof for proof in proofs if proof.fault == fault and not proof.slow]
        count = sum(number for (name, _), number in trials.items() if name == fault)
        tests = "<br>".join(f"`{proof.test}`" for proof in mine if proof.counts)
        lines.append(f"| {fault} | {about} | {'yes' if fault in done else 'no'} | {count or ''} | {tests} |")
    slow = [proof for proof in proofs if proof.slow]
    lines += [
        "",
        "## Slow tests",
        "",
        "| id | test |",
        "|---|---|",
        *(f"| {one.fault} | `{one.test}` |" for one in slow),
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def count_trials(record_property: Callable[[str, Any], None]) -> Callable[[str, int], None]:
    """`count_trials(id, number)`: what a test has tried; printed at the end of the run."""

    def count(fault: str, number: int) -> None:
        assert fault in FAULTS
        record_property(PROPERTY, [fault, number])

    return count


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the page goes."""
    parser.addoption("--faults-page", metavar="FILE", help="write the counted trials of this run as a reference page")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The trials that the run counted, by id."""
    trials: dict[tuple[str, str], int] = defaultdict(int)
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name == PROPERTY and report.when == "call":
                trials[value[0], report.nodeid] += value[1]
    if trials:
        terminalreporter.section("trials of faults and attacks")
        for fault in FAULTS:
            mine = {test: number for (name, test), number in trials.items() if name == fault}
            if mine:
                terminalreporter.write_line(
                    f"{fault:<4}{sum(mine.values()):>8,} trials in {len(mine)} tests: {FAULTS[fault]}"
                )
    if file := config.getoption("--faults-page"):
        Path(file).write_text(page(trials), encoding="utf-8")
