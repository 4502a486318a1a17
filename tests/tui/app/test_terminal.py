"""The console in a real terminal (tmux) on the real server, which it starts itself, over a tiny real model."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.client.client import Client
from runtime.journal.encryption import make_key
from runtime.journal.journal import Journal
from tests.support.branch import ANSWER
from tests.support.paths import ROOT
from tests.support.terminal import PATIENCE_S, Terminal, gone, server_process

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed; the terminal run needs it")


def test_ask_open_a_citation_survive_a_killed_server_and_quit(
    terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    terminal.open(home, "--lang", "en")
    terminal.sees("Starting: loading the model")
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
        terminal.sees("Not in any source: 75 days")
        terminal.keep("tour-guard")
        terminal.press("Enter")
        terminal.sees("Draft · edited and sent")

        terminal.type("多长时间内可以退货？")
        terminal.press("Enter")
        terminal.sees("F7 Reject")
        terminal.press("F7")
        terminal.sees("The right answer")
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
        terminal.sees("complaint (not taken yet)")

        terminal.press("C-g")
        terminal.sees("Sections found, with scores")
        terminal.keep("tour-why")
        terminal.leave("Why this draft")
        terminal.press("C-l")
        terminal.sees("3 rows waiting")
        terminal.keep("tour-leaves")
        terminal.leave("Outgoing data")

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
    terminal.sees(
        "cancelled; your text is back in the field below"
    )  # The draft may be too long for its heading to be in sight.
    terminal.sees("You can return most items within 30 days")
    terminal.sees("typed meanwhile")
    assert server_process(home) == server
    terminal.quit()
    os.kill(server, signal.SIGTERM)
    terminal.until(lambda: gone(home))


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
    terminal.sees("已取消，文字已放回下方输入框")
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
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2
    assert "the console needs a terminal" in done.stderr
    assert "edgedesk ask" in done.stderr
    assert done.stdout == ""


def asked(home: Path) -> list[str]:
    """What customers asked, as the journal has it."""
    with Journal(home / "journal.sqlite") as journal:
        names = {key.conversation for key, _ in journal.waiting(-1)}
        return [turn.question for name in names for turn in journal.turns(name)]


@pytest.mark.parametrize("bracketed", [True, False], ids=["bracketed", "as keys"])
def test_paste_of_several_lines_is_one_message(
    terminal: Terminal, make_home: Callable[..., Path], scripted_gguf: Path, bracketed: bool
) -> None:
    """A multiplexer pastes with and without brackets; the console is quit while the text is too long to keep."""
    home = make_home(scripted_gguf)
    terminal.open(home, "--lang", "en")
    terminal.sees("· ready ·")
    terminal.paste("How long can I\nreturn most\u00ad items?\n退货期限\u200b是多久", bracketed=bracketed)
    terminal.sees("退货期限是多久")
    session = home / "console.json"
    wanted = "How long can I\\nreturn most items?\\n退货期限是多久"
    terminal.until(lambda: wanted in session.read_text(encoding="utf-8"))
    assert "Draft" not in terminal.text()
    terminal.press("Enter")
    terminal.sees("Draft · not sent")
    if bracketed:
        terminal.paste("x" * 25_000, bracketed=True)
        terminal.sees("Too long: at most 20,000 characters.")
        terminal.press("1")
        terminal.sees("[1] ")
        terminal.press("Escape")
    terminal.quit()
    assert gone(home)
    assert asked(home) == ["How long can I\nreturn most items?\n退货期限是多久"]


def test_console_of_an_encrypted_branch_leaves_nothing_in_clear(
    terminal: Terminal,
    make_home: Callable[..., Path],
    scripted_gguf: Path,
    tmp_path: Path,
    count_trials: Callable[[str, int], None],
) -> None:
    """S11: 0 of the planted values in any file of the home, with a console that asked, wrote, copied and quit."""
    pytest.importorskip("sqlcipher3")
    home, key = make_home(scripted_gguf), tmp_path / "branch.key"
    make_key(key)
    (home / "settings.toml").write_text(f'threads = 1\njournal_key = "{key}"\n')
    planted = ["Wetherby", "0612345678", "退货单号甲乙丙"]
    terminal.open(home, "--lang", "en")
    terminal.sees("· ready ·")
    terminal.type(f"I am Ms {planted[0]}, call {planted[1]}")
    terminal.press("Enter")
    terminal.sees("Draft · not sent")
    terminal.press("F6")
    terminal.sees("Your reply ─")
    terminal.type(planted[2])
    terminal.sees(planted[2])
    terminal.press("C-y")
    terminal.press("C-y")  # The second time it is copied even where a figure is marked.
    terminal.sees("not to a file")
    terminal.until(lambda: (home / "console.sqlite").exists())
    terminal.quit()
    assert gone(home)
    tried = 0
    for path in (path for path in home.rglob("*") if path.is_file() and not path.is_symlink()):
        data = path.read_bytes()
        for value in planted:
            for encoding in ("utf-8", "utf-16-le", "unicode_escape"):
                tried += 1
                assert value.encode(encoding) not in data, f"{value} in {path.relative_to(home)}"
    count_trials("S11", tried)
