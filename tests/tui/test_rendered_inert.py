"""Hostile text on every path to the screen: what is rendered holds no character that acts on a terminal."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui.fake import FakeDesk, answer, citation

HOSTILE = st.text(
    st.sampled_from("\x1b\x9b\x07\x00\r\n\t\u202e\u2066\u200f\ufeff\ud800[]()/\\{}$@link=bold'\"中，e\u0301x "),
    max_size=40,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(HOSTILE, min_size=8, max_size=8))
def test_no_escape_byte_reaches_the_rendered_output(sit: Any, texts: list[str]) -> None:
    title, heading, body, draft, model, handoff, unsupported, question = texts
    cited = citation("a", "s", title, heading, body)
    desk = FakeDesk(
        [answer([draft, "\x1b]0;x\x07"], [cited], model=model, handoff=handoff or "x", unsupported=(unsupported,))]
    )

    async def run() -> None:
        async with sit(desk) as seat:
            seat.app.chat.query_one("Composer").load_text("q" + question)
            await seat.press("enter")
            await seat.phase("done")
            check(seat.app)
            await seat.press("1")
            await seat.pilot.pause()
            check(seat.app)

    def check(app: Any) -> None:
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in segment.text), segment.text
                assert segment.style is None or segment.style.link is None

    asyncio.run(run())
