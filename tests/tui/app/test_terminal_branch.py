"""What goes on in the branch, as a console in a real terminal says it; and two consoles on one real server."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.branch import ANSWER
from tests.support.terminal import Terminal, engine_process, server_process

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed; the terminal run needs it")


def test_a_branch_in_trouble_says_what_is_wrong_and_what_still_works(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The engine dies and cannot come back, an update runs, a newer bundle lies there, the disk is nearly full."""
    home = make_home(scripted_gguf)
    terminal = Terminal(tmp_path_factory.mktemp("tty"), 132, 36)
    try:
        terminal.open(home, "--lang", "en")
        terminal.sees("· ready ·")
        models = [*(home / "current" / "model").glob("*.gguf")]
        for model in models:
            model.rename(model.with_suffix(".away"))
        os.kill(engine_process(server_process(home)), signal.SIGKILL)
        terminal.sees("The model is restarting: no drafts for a moment.")
        terminal.press("C-k")
        terminal.type("Christmas")
        terminal.sees("Return period > At Christmas")
        terminal.leave("Search the articles")
        terminal.keep("tour-degraded")
        for model in models:
            model.with_suffix(".away").rename(model)
        terminal.until(lambda: "is restarting" not in terminal.text())
        terminal.type("How long can I return most items?")
        terminal.press("Enter")
        terminal.sees("Draft · not sent")

        lock = os.open(home / "install.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        terminal.sees("Installing an update; everything keeps working")
        os.close(lock)
        terminal.until(lambda: "Installing an update" not in terminal.text())

        serving = (home / "current").resolve()
        shutil.copytree(serving, newer := serving.with_name("99"), symlinks=True)
        about = json.loads((newer / "bundle.json").read_text())
        (newer / "bundle.json").unlink()
        (newer / "bundle.json").write_text(json.dumps(about | {"version": "9.9"}))
        (home / "next").symlink_to(newer)
        (home / "next").rename(home / "current")
        terminal.sees("shop 9.9 is installed and not in use yet")
        terminal.type("How long can I return most items?")
        terminal.press("Enter")
        terminal.sees("Draft · not sent")
        terminal.quit()
    finally:
        subprocess.run(["tmux", "-S", terminal.socket, "kill-server"], capture_output=True, check=False)
        os.close(terminal.painted)


def test_a_disk_nearly_full_is_said(terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    """The real disk against a bar that no disk reaches."""
    terminal.program = (
        "import tui.services.branch_health; tui.services.branch_health.DISK_LOW_MB = 10**12; " + terminal.program
    )
    terminal.open(make_home(scripted_gguf), "--lang", "zh")
    terminal.sees("磁盘空间不足：仅剩")
    terminal.sees("问答仍可使用，请通知门店 IT")
    terminal.type("退货期限是多久")
    terminal.press("Enter")
    terminal.sees("草稿 · 未发送")
    terminal.quit()


def test_two_consoles_of_one_agent_agree(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On one real server: what is typed, what is drafted, and what was decided."""
    home = make_home(scripted_gguf)
    one, two = (Terminal(tmp_path_factory.mktemp(f"tty{n}"), 132, 36) for n in (1, 2))
    try:
        one.open(home, "--lang", "en")
        one.sees("· ready ·")
        one.type("How long can I return most items?")
        one.press("Enter")
        one.sees("Draft · not sent")
        two.open(home, "--lang", "en")
        two.sees("· ready ·")
        two.sees("Draft · not sent")  # What the first has open: they remember in one place.
        one.press("F6")
        one.sees("Your reply ─")
        one.type(" 你好")
        two.sees(f"{ANSWER[:20]}")
        two.sees("你好")
        two.press("Enter")
        two.sees("Draft · edited and sent")
        one.sees("Draft · edited and sent")
        one.press("F5")
        one.sees("A reply has already been sent.")
        two.quit()
        one.quit()
    finally:
        for window in (one, two):
            subprocess.run(["tmux", "-S", window.socket, "kill-server"], capture_output=True, check=False)
            os.close(window.painted)
