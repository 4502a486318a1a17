"""The background work: verdicts are kept until the server has them, and only a silent server counts as gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.client.client import Client
from runtime.client.server_process import OwnServer
from runtime.errors import (
    BusyError,
    EdgedeskError,
    InputError,
    IntegrityError,
    MissingError,
    SpaceError,
)
from tests.support.paths import ROOT
from tui.services.server_link import HttpServerLink
from tui.services.session_file import FILE_NAME
from tui.state import Typed
from tui.testing.fake_server import FakeServer


def _feedback(server: FakeServer) -> list[dict[str, Any]]:
    return [body for _, path, body in server.journal.written if path.endswith("feedback")]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "refusal",
    [
        SpaceError("the disk is full"),
        EdgedeskError("it broke inside"),
        IntegrityError("the journal cannot be written"),
        BusyError("the journal is locked"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_verdict_is_sent_again_until_the_server_has_it(
    open_console: Any, server: FakeServer, tmp_path: Path, lang: str, refusal: EdgedeskError
) -> None:
    """Part of F3: a disk that is full at the server costs no verdict."""
    async with open_console(server, lang=lang, folder=tmp_path) as console:
        await console.ask("How long?")
        await console.phase("done")
        server.journal.refusal = refusal
        await console.press("f5")
        await console.until(lambda: len(_feedback(server)) >= 3)
        turn = console.app.state.current
        assert not turn.saved
        assert console.app.state.link == "ready"
        await console.sees(refusal.what)
        await console.until(lambda: '"verdict": "accepted"' in (tmp_path / FILE_NAME).read_text(encoding="utf-8"))
        server.journal.refusal = None
        await console.until(lambda: console.app.state.current.saved)
    assert server.journal.turns["c1"][0]["feedback"]["verdict"] == "accepted"


@pytest.mark.parametrize("refusal", [MissingError("no turn 1"), InputError("verdict is wrong")])
async def test_verdict_that_the_server_will_never_take_is_said_once(
    open_console: Any, server: FakeServer, refusal: EdgedeskError
) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        server.journal.refusal = refusal
        await console.press("f5")
        await console.sees(refusal.what)
        await console.until(lambda: console.app.state.current.saved)
        looks = server.looks
        await console.until(lambda: server.looks > looks + 2)
        assert len(_feedback(server)) == 1


async def test_refused_request_leaves_the_link_and_the_other_requests(open_console: Any, server: FakeServer) -> None:
    async with open_console(server) as console:
        await console.ask("How long?")
        await console.phase("done")
        server.journal.refusal = InputError("text is too long")
        console.app.dispatch(Typed("next"))
        looks = server.looks
        await console.until(lambda: server.looks > looks + 3)
        assert console.app.state.link == "ready"
        server.journal.ask("c2", "Somebody else", "en")
        await console.until(lambda: len(console.app.state.inbox) == 2)
        server.journal.refusal = None
        await console.until(lambda: server.journal.unsent.get("c1", {}).get("text") == "next")
    assert server.starts == 0


async def test_server_that_was_started_here_is_stopped_however_often_it_was_looked_for(tmp_path: Path) -> None:
    children = []

    def start_child(home: Path) -> OwnServer:
        if children:
            return OwnServer(Client(home), None)  # The first one holds the home by now.
        children.append(subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE))
        return OwnServer(Client(home), children[0])

    link = HttpServerLink(tmp_path, start_child=start_child)
    assert await link.start()
    assert await link.start()
    await link.close()
    assert children[0].poll() is not None
    children[0].stdin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="another user is made with setuid")
@pytest.mark.parametrize("closed", ["run", "home"])
def test_server_of_another_user_is_named_with_what_to_do(tmp_path_factory: pytest.TempPathFactory, closed: str) -> None:
    """Part of S13: whoever may not open the branch is told whose it is; nothing is started, nothing breaks."""
    from os import geteuid

    if geteuid() != 0:
        pytest.skip("only root can become another user")
    home = Path("/tmp") / tmp_path_factory.mktemp("other").name
    (home / "run").mkdir(parents=True)
    try:
        (home / "run").chmod(0o700)
        home.chmod(0o700 if closed == "home" else 0o755)
        code = (
            "import asyncio, concurrent.futures.thread, os, sys; from pathlib import Path\n"
            "from tui.services.server_link import HttpServerLink\n"
            "from tui.services.private_files import find_protection\n"
            "from tui.services.session_file import SessionFile\n"
            "from runtime.errors import EdgedeskError\n"
            "os.setegid(65534); os.seteuid(65534)  # after the imports: root's packages may be closed to others\n"
            "home = Path(sys.argv[1]); link = HttpServerLink(home)\n"
            "SessionFile(home, find_protection(home)).read()\n"
            "for call in (link.status, link.start):\n"
            "    try: asyncio.run(call())\n"
            "    except EdgedeskError as error: print(type(error).__name__, error, '|', error.hint)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(home)],
            capture_output=True,
            text=True,
            cwd="/",
            env={"PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        assert len(lines) == 2
        for line in lines:
            assert "belongs to root and may not be opened by this user" in line
            assert "sudo -u root" in line
    finally:
        (home / "run").rmdir()
        home.rmdir()
