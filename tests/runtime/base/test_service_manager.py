"""What systemd hears."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runtime.base.service_manager import VARIABLE, notify


@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager_hears_each_assignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"\0edgedesk-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(30)
        monkeypatch.setenv(VARIABLE, name.replace("\0", "@"))
        notify("READY=1", "STATUS=回答 the shop")
        assert manager.recv(4096).decode() == "READY=1\nSTATUS=回答 the shop"


@pytest.mark.parametrize("address", ["", "not a path", "/nowhere/at/all"])
def test_service_manager_that_is_not_there_is_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, address)
    notify("READY=1")
