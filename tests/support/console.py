"""A console on the fake server: its answers, a morning's inbox, a driver that presses keys and reads the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from textual.pilot import Pilot

from tui.app.console import Console
from tui.testing.fake_server import FakeServer, answer, citation

RETURNS = citation(
    "returns", "window", "Returns", "How long you have", "You may return an article within 30 days of delivery."
)
INTERNAL = citation(
    "goodwill", "limits", "Goodwill", "How far you may go", "Up to 20 euros without asking.", audience="internal"
)
CHINESE = citation(
    "delivery-express",
    "late",
    "加急配送",
    "加急包裹迟到怎么办",
    "加急包裹晚于承诺时间送达的，我们全额退还加急运费。请在收货后7天内通过在线客服或电话告诉我们，并提供订单号。"
    "如果地址不完整，或者第一次派送时家中无人，则不退还。",
    lang="zh",
)
ENGLISH_ANSWER = answer(["You may ", "return it ", "within 30 days."], [RETURNS, INTERNAL])
CHINESE_ANSWER = answer(["加急包裹晚于承诺时间送达的，", "我们全额退还", "加急运费。"], [CHINESE, INTERNAL])


PATIENCE_S = 10.0
NOW = datetime(2026, 11, 26, 9, 40, tzinfo=UTC)


class ConsoleDriver:
    """What an agent sees and does: keys in, the screen out."""

    def __init__(self, app: Console, server: FakeServer, pilot: Pilot[None]) -> None:
        self.app = app
        self.server = server
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def ask(self, question: str) -> None:
        await self.press(*question, "enter")

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for a condition; a wait in vain shows the screen."""
        patience = time.monotonic() + PATIENCE_S
        while not wanted():
            await self.pilot.pause(0.01)
            assert time.monotonic() < patience, f"waited in vain, on screen:\n{self.text()}"

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.text())

    async def phase(self, name: str) -> None:
        await self.until(lambda: self.app.state.current is not None and self.app.state.current.phase == name)
        await self.pilot.pause()

    def text(self) -> str:
        """The terminal's rows."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)


def fill(server: FakeServer) -> FakeServer:
    """A morning's inbox, in both languages: waiting, answered, handed over, snoozed, closed, tagged."""
    rows = [
        ("Where is my parcel? I have been waiting since Monday.", "en", {}),
        ("加急包裹迟到了，运费退吗？", "zh", {"handoff": "no_article"}),
        ("Can I pay by invoice?", "en", {"feedback": {"verdict": "accepted"}}),
        ("我的发票在哪里下载？", "zh", {"about": {"status": "snoozed", "snooze_until": "2026-11-26T14:00:00+00:00"}}),
        ("The kettle leaks. I want to talk to your manager.", "en", {"handoff": "asks_for_person"}),
        ("Do you ship to Zürich?", "en", {"about": {"tags": ["shipping", "vip"], "notes": "call back"}}),
        ("Thanks, that was quick!", "en", {"about": {"status": "closed", "satisfaction": 5}}),
    ]
    for number, (question, lang, more) in enumerate(rows):
        turn = server.journal.ask(f"past-{number}", question, lang)
        turn |= {"state": "complete", "draft": "…", "asked": f"2026-11-26T08:{10 + number}:00.000+00:00"}
        turn["feedback"] = more.get("feedback")
        if more.get("handoff"):
            server.journal.hand_off(f"past-{number}", turn, more["handoff"])
        server.journal.states[f"past-{number}"] = more.get("about", {})
    return server


OpenConsole = Callable[..., AbstractAsyncContextManager[ConsoleDriver]]
