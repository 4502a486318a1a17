"""Takes the README's picture: the real console asks the real server of a home, and the screen is kept as SVG.

    python docs/images/console.py HOME "QUESTION" … docs/images/console.svg

Each question is a customer of their own; the first draft is accepted. The pictures of the agent's tour are taken in a
real terminal, by EDGEDESK_PICTURES=docs/images pytest tests/tui -k "agents_day or in_trouble".
"""  # noqa: INP001 - a script beside its pictures, not a package

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tui.app.console import Console
from tui.base.i18n import Catalogue
from tui.services.server_link import HttpServerLink
from tui.state import Link, NewConversation, Typed


async def take(home: Path, questions: list[str]) -> str:
    """Ask, wait for the whole answers; the screen as SVG."""
    app = Console(HttpServerLink(home), Catalogue("en"))
    async with app.run_test(size=(132, 34)) as pilot:
        while app.state.link is not Link.READY:
            await pilot.pause(0.1)
        for number, question in enumerate(questions):
            app.dispatch(NewConversation())
            app.dispatch(Typed(question))
            app.actions.send()
            while app.state.current is None or app.state.current.busy:
                await pilot.pause(0.1)
            if number == 0:
                app.do("accept")
                app.do("accept")  # where a figure is marked, it is accepted all the same
        while len(app.state.inbox) < len(questions) or app.state.unsaved():
            await pilot.pause(0.1)
        await pilot.pause(0.5)
        return app.export_screenshot(title="edgedesk console")


if __name__ == "__main__":
    picture = asyncio.run(take(Path(sys.argv[1]), sys.argv[2:-1]))
    Path(sys.argv[-1]).write_text(picture, encoding="utf-8")
