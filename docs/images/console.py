"""Takes the README's picture: the real console asks the real server of a home, and the screen is kept as SVG.

python docs/images/console.py HOME "QUESTION" docs/images/console.svg [en|zh]
"""  # noqa: INP001 - a script beside its pictures, not a package

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tui.app import Console
from tui.desk import ServerDesk
from tui.state import Link
from tui.words import Words


async def take(home: Path, question: str, lang: str) -> str:
    """Ask, wait for the whole answer; the screen as SVG."""
    app = Console(ServerDesk(home), Words(lang))
    async with app.run_test(size=(100, 28)) as pilot:
        while app.state.link is not Link.READY:
            await pilot.pause(0.1)
        for letter in question:
            await pilot.press(letter)
        await pilot.press("enter")
        while app.state.current is None or app.state.current.busy:
            await pilot.pause(0.1)
        await pilot.pause()
        return app.export_screenshot(title="edgedesk console")


if __name__ == "__main__":
    picture = asyncio.run(take(Path(sys.argv[1]), sys.argv[2], sys.argv[4] if len(sys.argv) > 4 else "en"))
    Path(sys.argv[3]).write_text(picture, encoding="utf-8")
