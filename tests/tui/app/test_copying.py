"""Copying over SSH, in tmux, and into a file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tui.services import clipboard
from tui.testing.fake_server import FakeServer


async def test_copy_goes_to_the_terminal_and_into_a_file(open_console: Any, plain: FakeServer, tmp_path: Path) -> None:
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("How long?")
        await console.phase("done")
        written: list[str] = []
        console.app._driver.write = written.append
        await console.press("ctrl+y")
        await console.sees("Copied 33 characters; also saved in")
        text = base64.b64encode(b"You may return it within 30 days.").decode()
        assert any(f"\x1b]52;c;{text}\x07" in one for one in written)
    kept = tmp_path / "clipboard.txt"
    assert kept.read_text() == "You may return it within 30 days."
    assert kept.stat().st_mode & 0o777 == 0o600


def test_copy_is_wrapped_for_tmux_and_screen() -> None:
    plain = clipboard.sequence("退货", {})
    assert base64.b64decode(plain.removeprefix("\x1b]52;c;").removesuffix("\x07")).decode() == "退货"
    wrapped = clipboard.sequence("退货", {"TMUX": "/tmp/tmux"})
    assert wrapped == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"
    assert clipboard.sequence("退货", {"STY": "1"}) == f"\x1bP{plain}\x1b\\"
    assert clipboard.sequence("x" * 100_000, {}) == ""
