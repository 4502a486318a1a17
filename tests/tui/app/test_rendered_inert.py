"""Hostile text on every path to the screen: what is rendered holds no character that commands on a terminal."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runtime import events
from tui.testing.fake_server import FakeServer, answer, citation

HOSTILE = st.text(
    st.sampled_from("\x1b\x9b\x07\x00\r\n\t\u202e\u2066\u200f\ufeff\ud800[]()/\\{}$@link=bold'\"中，e\u0301x "),
    max_size=40,
)


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(HOSTILE, min_size=8, max_size=8))
def test_no_escape_byte_reaches_the_rendered_output(
    open_console: Any, texts: list[str], count_trials: Callable[[str, int], None]
) -> None:
    """S10: drafts, sources, model names, labels, what the inbox and the boxes show."""
    title, heading, body, draft, model, handoff, unsupported, question = texts
    cited = citation("a", "s", title, heading, body)
    said = answer([draft, "\x1b]0;x\x07"], [cited], model=model, handoff=handoff or "x", unsupported=(unsupported,))
    said.insert(1, events.Understood(intent=title or "x", emotion=body or "x", intent_confidence="low"))
    server = FakeServer([said])
    old = server.journal.ask("old", heading, "en")
    old |= {"state": "complete", "draft": draft, "handoff": handoff}
    server.journal.states["old"] = {"tags": [title, body], "notes": draft}
    server.journal.pages["canned"] = {"canned": [{"id": "x", "title": title, "text": body}]}
    server.journal.pages["outbox"] = {"rows": [{"key": title, "question": body, "draft": draft}]}

    async def run() -> None:
        async with open_console(server, size=(140, 40)) as console:
            console.app.chat.query_one("Composer").load_text("q" + question)
            await console.press("enter")
            await console.phase("done")
            await console.until(lambda: len(console.app.state.inbox) == 2)
            await console.pilot.pause()
            check(console.app)
            for keys in (["1"], ["ctrl+l"], ["f8"], ["f12"], ["f6"]):
                await console.press(*keys)
                await console.pilot.pause()
                check(console.app)
                await console.press("escape")
            console.app.do("canned")
            await console.until(lambda: getattr(console.app.screen, "found", []) != [])
            check(console.app)

    def check(app: Any) -> None:
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in segment.text), segment.text
                assert segment.style is None or segment.style.link is None

    asyncio.run(run())
    count_trials("S10", 1)
