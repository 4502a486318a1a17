"""Tokens, and who changes them at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import IntegrityError
from runtime.server.access import AccessList, Role, master_token

ADD = """
import sys
from pathlib import Path
from runtime.server.access import AccessList, Role
agents = AccessList(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    agents.add(f"{sys.argv[2]}-{number}", Role.AGENT)
"""


def test_names_added_by_two_at_once_are_all_kept(tmp_path: Path) -> None:
    count = 60
    command = [sys.executable, "-c", ADD, str(tmp_path)]
    both = [subprocess.Popen([*command, name, str(count)]) for name in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    assert len(AccessList(tmp_path).names()) == 2 * count


def test_change_within_the_clocks_grain_is_seen(tmp_path: Path) -> None:
    agents, others = AccessList(tmp_path), AccessList(tmp_path)
    token = agents.add("ann", Role.AGENT)
    assert others.caller(token) is not None
    status = (tmp_path / "agents.json").stat()
    agents.remove("ann")
    agents.add("bob", Role.AGENT)
    os.utime(tmp_path / "agents.json", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert others.caller(token) is None


def test_token_reads_internal_articles_only_where_it_was_made_so(tmp_path: Path) -> None:
    agents = AccessList(tmp_path)
    tokens = {internal: agents.add(f"n-{internal}", Role.AGENT, internal=internal) for internal in (False, True)}
    for internal, token in tokens.items():
        caller = agents.caller(token)
        assert caller is not None
        assert caller.internal is internal
    assert [entry["internal"] for entry in json.loads((tmp_path / "agents.json").read_text())["agents"]] == [
        False,
        True,
    ]


def test_masters_token_is_never_written_through_a_link(tmp_path: Path) -> None:
    """S13."""
    (tmp_path / "run").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / "run" / "token").symlink_to(victim)
    with pytest.raises(IntegrityError, match="cannot be opened"):
        master_token(tmp_path)
    assert victim.read_text() == ""


def test_masters_token_is_made_once_and_owner_only(tmp_path: Path) -> None:
    token = master_token(tmp_path)
    (tmp_path / "run" / "token").chmod(0o644)
    assert master_token(tmp_path) == token
    assert (tmp_path / "run" / "token").stat().st_mode & 0o777 == 0o600
