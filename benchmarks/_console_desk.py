"""The desk of benchmarks/console.py: 200 conversations, and drafts that stream at 100 tokens a second for ever.

python benchmarks/_console_desk.py      opens the console on it, in this terminal
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from runtime import events

CONVERSATIONS = 200
TOKENS_PER_S = 100
ANSWER_TOKENS = 500


def desk() -> Any:
    """200 conversations, and answers of 500 tokens of four or five characters, every seventh of them Chinese."""
    from tui.testing.fake_server import FakeServer, citation

    class Endless(FakeServer):
        async def ask(
            self,
            question: str,
            conversation: str | None,
            asking: str | None = None,  # noqa: ARG002 - the door's
        ) -> AsyncGenerator[events.Event, None]:
            turn = self.journal.ask(conversation or "c", question, "en")
            yield events.Stored(conversation="c", turn=turn["turn"], lang="en")
            yield events.SectionsFound(
                citations=tuple(citation(f"a{n}", "s", "Returns", f"Part {n}", "text") for n in range(3))
            )
            due = time.perf_counter()
            for number in range(ANSWER_TOKENS):
                due += 1 / TOKENS_PER_S
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                yield events.Token(text="退货" if number % 7 == 0 else (" your", " the", " item", " can")[number % 4])

    made = Endless()
    for number in range(CONVERSATIONS):
        turn = made.journal.ask(f"past-{number}", f"Where is parcel {number}? 加急包裹迟到了怎么办", "en")
        turn |= {"state": "complete", "draft": "On its way."}
    return made


if __name__ == "__main__":
    from tui.app.console import Console
    from tui.base.i18n import Catalogue

    Console(desk(), Catalogue("en")).run()
