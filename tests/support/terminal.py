"""A console in a real terminal (tmux), and the server it talks to; for tests, which wait for what is on screen."""

from __future__ import annotations

import io
import os
import re
import select
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runtime.base.home import reachable, socket_path
from tests.support.paths import ROOT

PATIENCE_S = 60.0
"""A cold server on a busy machine is ready within this."""
LOOK_AGAIN_S = 0.2
"""What a condition may depend on besides the screen, such as the server's own state, tells nobody when it changes."""


class Terminal:
    """One tmux window with a server of its own."""

    def __init__(self, folder: Path, columns: int, rows: int) -> None:
        self.socket = folder / "tmux"
        self.exit_file = folder / "exit"
        os.mkfifo(folder / "painted")
        # For reading and writing, so that it stays open when the window closes.
        self.painted = os.open(folder / "painted", os.O_RDWR | os.O_NONBLOCK)
        self.size = (columns, rows)
        self.program = "from tui.cli.main import app; app()"

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-S", self.socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def words(self, home: Path, *flags: str) -> list[str]:
        """The command line of the console."""
        return [sys.executable, "-c", self.program, "--home", str(home), *flags]

    def command(self, home: Path, *flags: str) -> str:
        command = shlex.join(self.words(home, *flags))
        return f"{command}; echo $? > {shlex.quote(str(self.exit_file))}; echo back at the shell; exec cat"

    def open(self, home: Path, *flags: str) -> None:
        columns, rows = (str(number) for number in self.size)
        shell = self.command(home, *flags)
        root = str(ROOT)
        where = ["-x", columns, "-y", rows, "-c", root]
        subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", *where, shell],
            check=True,
            env={
                **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "LANG": "C.UTF-8",
                "TMUX": "",
                "PYTHONPATH": root,
            },
        )
        self.tmux("pipe-pane", "-O", f"cat > {shlex.quote(str(self.socket.with_name('painted')))}")

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def paste(self, text: str, *, bracketed: bool) -> None:
        """Paste as a terminal does: in brackets, if the program asked for them, or as keys."""
        # Through a file: a command line of tmux is too short for what people paste.
        buffer = self.socket.with_name("buffer")
        buffer.write_text(text, encoding="utf-8")
        self.tmux("load-buffer", str(buffer))
        self.tmux("paste-buffer", *(["-p"] if bracketed else []))

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def until(self, wanted: Callable[[], bool]) -> None:
        """Look again whenever something is painted."""
        deadline = time.monotonic() + PATIENCE_S
        while not wanted():
            assert time.monotonic() < deadline, f"waited in vain, on screen:\n{self.text()}"
            if select.select([self.painted], [], [], LOOK_AGAIN_S)[0]:
                os.read(self.painted, 1 << 16)

    def sees(self, text: str) -> None:
        """The text stands on a row, or a Chinese run of it goes over from one row to the next."""
        self.until(lambda: text in self.text() or text in "".join(row.strip(" ▎│") for row in self.text().splitlines()))

    def leave(self, title: str) -> None:
        """Close a box, and wait until it is gone: Escape and a key right behind it are Alt with that key."""
        self.press("Escape")
        self.until(lambda: title not in self.text())

    def keep(self, name: str) -> None:
        """A picture of the screen for the docs, where EDGEDESK_PICTURES names their folder."""
        if folder := os.environ.get("EDGEDESK_PICTURES"):
            from rich.console import Console
            from rich.text import Text

            columns, rows = self.size
            paper = Console(width=columns, height=rows, record=True, file=io.StringIO(), color_system="truecolor")
            paper.print(Text.from_ansi(self.tmux("capture-pane", "-p", "-e", "-N").rstrip("\n")), end="")
            paper.save_svg(str(Path(folder) / f"{name}.svg"), title="edgedesk console")

    def console(self) -> int:
        """The console's process."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def quit(self) -> None:
        """Leave by the key, and see that the terminal is the shell's again."""
        self.press("C-q")
        self.sees("back at the shell")
        assert self.exit_file.read_text().strip() == "0"
        assert "Edgedesk" not in self.text()


def server_process(home: Path) -> int:
    found = re.search(r"process (\d+)", (home / "run" / "edgedesk.lock").read_text())
    assert found
    return int(found[1])


def gone(home: Path) -> bool:
    """Nobody listens on the home's socket."""
    with socket.socket(socket.AF_UNIX) as line, reachable(socket_path(home)) as name:
        try:
            line.connect(name)
        except OSError:
            return True
        return False


def engine_process(server: int) -> int:
    """The server's child that holds the model."""
    children = Path(f"/proc/{server}/task").glob("*/children")
    for child in (int(one) for path in children for one in path.read_text().split()):
        if b"runtime.engine.process.engine_process" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("the server has no engine")
