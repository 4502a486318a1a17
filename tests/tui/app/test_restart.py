"""What survives the end of the console, and two consoles at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tui.state import Mode
from tui.testing.fake_server import FakeServer
from tui.widgets.composer import Composer


def wrote(server: FakeServer, ending: str) -> list[dict[str, Any]]:
    return [body for _, path, body in server.journal.written if path.endswith(ending)]


async def test_a_console_killed_in_mid_draft_shows_it_again(
    open_console: Any, plain: FakeServer, tmp_path: Path
) -> None:
    plain.hold()
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("How long?")
        plain.release(5)
        await console.sees("You may return it")
        await console.press(*"还有")
        await console.until(lambda: "还有" in _read(tmp_path))
        # As a kill would leave it: what the file says now, and the server's own journal.
        kept = _read(tmp_path)
    (tmp_path / "console.json").write_text(kept, encoding="utf-8")
    async with open_console(plain, folder=tmp_path) as console:
        await console.sees("You may return it")
        await console.sees("How long?")
        assert console.app.chat.query_one(Composer).text == "还有"


def _read(folder: Path) -> str:
    path = folder / "console.json"
    return path.read_text(encoding="utf-8") if path.exists() else ""


async def test_a_verdict_the_server_never_got_outlives_the_console(
    open_console: Any, plain: FakeServer, tmp_path: Path
) -> None:
    async with open_console(plain, folder=tmp_path) as console:
        await console.ask("How long?")
        await console.phase("done")
        plain.down = True
        await console.sees("the server is gone")
        await console.press("f5")
        await console.sees("not saved yet")
    assert wrote(plain, "feedback") == []
    plain.down = False
    async with open_console(plain, folder=tmp_path) as console:
        await console.until(lambda: wrote(plain, "feedback") != [])
        await console.sees("sent as drafted")
    assert wrote(plain, "feedback")[0]["reply"] == "You may return it within 30 days."


async def test_two_consoles_of_one_agent_agree_on_what_is_typed(open_console: Any, plain: FakeServer) -> None:
    async with open_console(plain) as one, open_console(plain) as two:
        await one.ask("How long?")
        await one.phase("done")
        two.app.actions.open_conversation("c1")
        await two.sees("How long?")
        await one.press("f6", *" 你好")
        await two.until(lambda: two.app.chat.query_one(Composer).text == "You may return it within 30 days. 你好")
        assert two.app.state.mode is Mode.REPLY
        await two.press("!")
        await one.until(lambda: one.app.chat.query_one(Composer).text.endswith("你好!"))
