"""The console in a real terminal (tmux) on the real server, which it starts itself, over a tiny real model."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.client import Client
from runtime.home import reachable, socket_path
from runtime.journal import Journal
from tests.branch import ANSWER

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed; the terminal run needs it")
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
        self.program = "from tui.cli import app; app()"

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-S", self.socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def command(self, home: Path, *flags: str) -> str:
        command = shlex.join([sys.executable, "-c", self.program, "--home", str(home), *flags])
        return f"{command}; echo $? > {shlex.quote(str(self.exit_file))}; echo back at the shell; exec cat"

    def open(self, home: Path, *flags: str) -> None:
        columns, rows = (str(number) for number in self.size)
        shell = self.command(home, *flags)
        root = str(Path(__file__).parents[2])
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


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    window = Terminal(tmp_path_factory.mktemp("tty"), 80, 24)
    yield window
    # Closing the window hangs up on the console, which stops the server it started.
    subprocess.run(["tmux", "-S", window.socket, "kill-server"], capture_output=True, check=False)
    os.close(window.painted)


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


def test_ask_open_a_citation_survive_a_killed_server_and_quit(
    terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    terminal.open(home, "--lang", "en")
    terminal.sees("the server is starting")
    terminal.sees("· ready ·")
    terminal.type("How long can I return most items?")
    terminal.press("Enter")
    terminal.sees("大多数商品可在30天内退货。")
    terminal.sees("tokens/s")
    terminal.sees("[1] Return period > How long")
    terminal.press("1")
    terminal.sees("Esc Back")
    terminal.press("a")
    terminal.sees("At Christmas")
    terminal.press("Escape")
    terminal.sees("Tab Write")

    first = server_process(home)
    os.kill(first, signal.SIGKILL)
    terminal.type("退货期限是多久")
    terminal.until(lambda: not gone(home) and server_process(home) != first)
    terminal.sees("· ready ·")
    terminal.sees("退货期限是多久")
    terminal.press("Enter")
    terminal.sees("[1] 退货期限")
    terminal.sees("大多数商品可在送达或自提后30天内退货。")
    terminal.quit()
    assert gone(home)


def test_an_agents_day_in_a_terminal(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = make_home(scripted_gguf)
    terminal = Terminal(tmp_path_factory.mktemp("tty"), 132, 36)
    try:
        terminal.open(home, "--lang", "en")
        terminal.sees("· ready ·")
        terminal.type("How long can I return most items?")
        terminal.press("Enter")
        terminal.sees("Draft · not sent")
        terminal.keep("tour-draft")
        terminal.press("1")
        terminal.sees("returns-window#how-long")
        terminal.keep("tour-source")
        terminal.press("Escape")
        terminal.sees("F5 Accept")
        terminal.press("F5")
        terminal.sees("Your reply · sent as drafted")

        terminal.type("And at Christmas?")
        terminal.press("Enter")
        terminal.sees("F6 Edit")
        terminal.press("F6")
        terminal.sees("Your reply ─")
        terminal.type(" You get 75 days.")
        terminal.press("Enter")
        terminal.sees("No source has it: 75 days")
        terminal.keep("tour-guard")
        terminal.press("Enter")
        terminal.sees("Draft · changed and sent")

        terminal.type("多长时间内可以退货？")
        terminal.press("Enter")
        terminal.sees("F7 Reject")
        terminal.press("F7")
        terminal.sees("What would have been right")
        terminal.type("5")
        terminal.type("三十天内。")
        terminal.sees("三十天内。")
        terminal.keep("tour-reject")
        terminal.press("C-s")
        terminal.sees("Draft · rejected · out of date")

        terminal.press("F8")
        terminal.sees("a complaint")
        terminal.type("complaint")
        terminal.press("Enter")
        terminal.sees("What was tried")
        terminal.keep("tour-card")
        terminal.leave("Hand-off card")
        terminal.sees("complaint (nobody has it yet)")

        terminal.press("C-g")
        terminal.sees("Sections found, with their scores")
        terminal.keep("tour-why")
        terminal.leave("Why this draft")
        terminal.press("C-l")
        terminal.sees("3 rows wait")
        terminal.keep("tour-leaves")
        terminal.leave("What would leave")

        terminal.press("C-n")
        terminal.sees("Type what the customer says")
        terminal.press("C-f")
        terminal.sees("Search past conversations")
        terminal.type("Christmas")
        terminal.sees("And at Christmas?  ")
        terminal.press("Enter")
        terminal.sees("You get 75 days.")
        terminal.keep("tour-inbox")
        terminal.quit()
    finally:
        subprocess.run(["tmux", "-S", terminal.socket, "kill-server"], capture_output=True, check=False)
        os.close(terminal.painted)
    with Journal(home / "journal.sqlite") as journal:
        (talk,) = {key.conversation for key, _ in journal.waiting(-1)}
        said = [turn.feedback for turn in journal.turns(talk)]
    assert [one and one.verdict for one in said] == ["accepted", "edited", "rejected"]
    assert [one and one.reply for one in said[1:]] == [f"{ANSWER} You get 75 days.", "三十天内。"]
    assert [one and one.reason for one in said] == [None, None, "outdated"]


def test_a_console_killed_in_mid_draft_shows_the_draft_again(
    terminal: Terminal, make_home: Callable[..., Path], endless_gguf: Path
) -> None:
    home = make_home(endless_gguf, context_tokens=60000, answer_tokens=55000)
    terminal.open(home, "--lang", "en")
    terminal.sees("· ready ·")
    terminal.type("How long can I return most items?")
    terminal.press("Enter")
    terminal.sees("writing")
    terminal.type("typed meanwhile")
    terminal.until(lambda: "typed meanwhile" in (home / "console.json").read_text())
    server = server_process(home)
    os.kill(terminal.console(), signal.SIGKILL)
    terminal.sees("back at the shell")
    terminal.tmux("respawn-pane", "-k", terminal.command(home, "--lang", "en"))
    terminal.sees("Draft · cancelled")
    terminal.sees("You can return most items within 30 days")
    terminal.sees("typed meanwhile")
    assert server_process(home) == server
    terminal.quit()
    os.kill(server, signal.SIGTERM)
    terminal.until(lambda: gone(home))


def engine_process(server: int) -> int:
    """The server's child that holds the model."""
    children = Path(f"/proc/{server}/task").glob("*/children")
    for child in (int(one) for path in children for one in path.read_text().split()):
        if b"runtime.engine.child" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("the server has no engine")


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
        terminal.sees("the model is being restarted: no drafts for a moment; articles, search, canned replies and")
        terminal.press("C-k")
        terminal.type("Christmas")
        terminal.sees("Return period > At Christmas")
        terminal.leave("Search the articles")
        terminal.keep("tour-degraded")
        for model in models:
            model.with_suffix(".away").rename(model)
        terminal.until(lambda: "being restarted" not in terminal.text())
        terminal.type("How long can I return most items?")
        terminal.press("Enter")
        terminal.sees("Draft · not sent")

        lock = os.open(home / "install.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        terminal.sees("an update is being installed; everything works meanwhile")
        os.close(lock)
        terminal.until(lambda: "being installed" not in terminal.text())

        serving = (home / "current").resolve()
        shutil.copytree(serving, newer := serving.with_name("99"), symlinks=True)
        about = json.loads((newer / "bundle.json").read_text())
        (newer / "bundle.json").unlink()
        (newer / "bundle.json").write_text(json.dumps(about | {"version": "9.9"}))
        (home / "next").symlink_to(newer)
        (home / "next").rename(home / "current")
        terminal.sees("shop 9.9 is installed and comes with the next start of the server")
        terminal.quit()
    finally:
        subprocess.run(["tmux", "-S", terminal.socket, "kill-server"], capture_output=True, check=False)
        os.close(terminal.painted)


def test_a_disk_nearly_full_is_said(terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    """The real disk against a bar that no disk reaches."""
    terminal.program = "import tui.branch; tui.branch.DISK_LOW_MB = 10**12; " + terminal.program
    terminal.open(make_home(scripted_gguf), "--lang", "zh")
    terminal.sees("磁盘即将写满：剩余")
    terminal.sees("问答仍可用；请通知门店IT")
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
        two.sees("Draft · changed and sent")
        one.sees("Draft · changed and sent")
        one.press("F5")
        one.sees("A reply was sent already.")
        two.quit()
        one.quit()
    finally:
        for window in (one, two):
            subprocess.run(["tmux", "-S", window.socket, "kill-server"], capture_output=True, check=False)
            os.close(window.painted)


def test_cancel_gives_the_text_back_and_a_hang_up_stops_the_server(
    terminal: Terminal, make_home: Callable[..., Path], endless_gguf: Path
) -> None:
    home = make_home(endless_gguf, context_tokens=60000, answer_tokens=55000)
    terminal.open(home, "--lang", "zh", "--theme", "light")
    terminal.sees("· 就绪 ·")
    terminal.type("How long can I return most items?")
    terminal.press("Enter")
    terminal.sees("正在撰写")
    terminal.press("Escape")
    terminal.sees("已取消，消息已放回下方")
    client = Client(home)
    terminal.until(lambda: client.status()["active"] == 0)
    server, console = os.pidfd_open(server_process(home)), os.pidfd_open(terminal.console())
    try:
        terminal.tmux("kill-server")
        assert select.select([server], [], [], PATIENCE_S)[0], "the server goes on without its console"
        assert select.select([console], [], [], PATIENCE_S)[0], "the console goes on without its terminal"
    finally:
        os.close(server)
        os.close(console)
    assert gone(home)


def test_without_a_bundle_the_console_says_what_is_missing(terminal: Terminal, home: Path) -> None:
    terminal.open(home, "--lang", "en")
    terminal.sees("the server is gone: the server did not start")
    terminal.quit()


def test_no_colour_is_needed(
    terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.open(make_home(scripted_gguf), "--lang", "en")
    terminal.sees("· ready ·")
    painted = terminal.tmux("capture-pane", "-p", "-e")
    for red, green, blue in re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", painted):
        assert red == green == blue
    for number in re.findall(r"[34]8;5;(\d+)", painted):
        assert int(number) in {0, 7, 8, 15, 16, 231, *range(232, 256)}, number
    terminal.quit()


def test_a_pipe_is_told_to_use_ask() -> None:
    done = subprocess.run(
        [sys.executable, "edgedesk.py", "console"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2
    assert "the console needs a terminal" in done.stderr
    assert "edgedesk ask" in done.stderr
    assert done.stdout == ""
