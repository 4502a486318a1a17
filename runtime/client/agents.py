"""What an agent does besides asking: the inbox, verdicts on drafts, hand-offs, canned replies, unsent text.

Promises: every method is for an event loop, returns a typed answer (`runtime.client.answers`) and raises the error
class that the server raised. Every call goes through `call_async`, which is the one method a fake replaces.
"""

from __future__ import annotations

from typing import Any

from runtime.client.answers import (
    CannedReply,
    CardPage,
    Conversation,
    ConversationRow,
    Explanation,
    HandoffRow,
    LabelNames,
    OutgoingRow,
    PastTurn,
    ReceiptAnswer,
    UnsentText,
)
from runtime.client.transport import Transport


class AgentClient(Transport):
    """The agents' part of the client."""

    async def list_conversations(self, *, limit: int = 50) -> list[ConversationRow]:
        """Conversations, the one last touched first, each with its state and its newest turn."""
        got = await self.call_async("GET", "/v1/conversations", limit=limit)
        return [ConversationRow.parse(one) for one in got["conversations"]]

    async def read_conversation(self, conversation: str) -> Conversation:
        """A conversation with its turns; `MissingError` when there is none."""
        return Conversation.parse(await self.call_async("GET", f"/v1/conversations/{conversation}"))

    async def change_conversation(self, conversation: str, changes: dict[str, Any]) -> None:
        """Change status, snooze_until, assignee, tags, notes, summary, satisfaction; what is left out stays."""
        await self.call_async("PATCH", f"/v1/conversations/{conversation}", changes)

    async def search_turns(self, query: str, *, limit: int = 20) -> list[PastTurn]:
        """Past turns that hold every word of the query."""
        got = await self.call_async("GET", "/v1/conversations/search", q=query, limit=limit)
        return [PastTurn.parse(one) for one in got["turns"]]

    async def send_feedback(self, conversation: str, turn: int, feedback: dict[str, Any]) -> None:
        """What became of a draft: verdict, reply, reason, rating, seconds."""
        await self.call_async("POST", f"/v1/conversations/{conversation}/turns/{turn}/feedback", feedback)

    async def correct_label(self, conversation: str, turn: int, kind: str, name: str) -> None:
        """Correct a turn's `intent` or `emotion`, with a name from `list_labels`."""
        await self.call_async("POST", f"/v1/conversations/{conversation}/turns/{turn}/labels", {kind: name})

    async def list_labels(self) -> LabelNames:
        """The names to choose from."""
        return LabelNames.parse(await self.call_async("GET", "/v1/labels"))

    async def explain_turn(self, conversation: str, turn: int) -> Explanation:
        """How a draft came about."""
        got = await self.call_async("GET", f"/v1/conversations/{conversation}/turns/{turn}/why")
        return Explanation.parse(got)

    async def list_canned_replies(self, lang: str) -> list[CannedReply]:
        """Ready-made replies in a language; in the bundle's first one where that has none."""
        got = await self.call_async("GET", "/v1/canned", lang=lang)
        return [CannedReply.parse(one) for one in got["canned"]]

    async def read_unsent_text(self, conversation: str) -> UnsentText:
        """What is typed in a conversation and not sent."""
        return UnsentText.parse(await self.call_async("GET", f"/v1/conversations/{conversation}/composer"))

    async def keep_unsent_text(self, conversation: str, text: str, revision: int) -> UnsentText:
        """Keep what is typed; `BusyError` when somebody else changed it since `revision` was read."""
        body = {"text": text, "revision": revision}
        return UnsentText.parse(await self.call_async("PUT", f"/v1/conversations/{conversation}/composer", body))

    async def list_handoffs(self, state: str = "open", *, limit: int = 100) -> list[HandoffRow]:
        """Hand-offs in a state (`open`, `taken`, `closed`), oldest first."""
        got = await self.call_async("GET", "/v1/handoffs", state=state, limit=limit)
        return [HandoffRow.parse(one) for one in got["handoffs"]]

    async def change_handoff(self, conversation: str, turn: int, state: str, reason: str = "") -> None:
        """Take, close or reopen a hand-off; with a reason and the state `open`, hand over a turn."""
        body = {"state": state, **({"reason": reason} if reason else {})}
        await self.call_async("POST", f"/v1/handoffs/{conversation}/{turn}", body)

    async def read_handoff_card(self, conversation: str, turn: int) -> CardPage:
        """A hand-off's card."""
        return CardPage.parse(await self.call_async("GET", f"/v1/handoffs/{conversation}/{turn}/card"))

    async def read_receipt(self) -> ReceiptAnswer:
        """Which corrections the model in use answers right."""
        return ReceiptAnswer.parse(await self.call_async("GET", "/v1/receipt"))

    async def list_outgoing(self, *, limit: int = 100) -> list[OutgoingRow]:
        """What would leave the branch, redacted; exactly the fields that would be sent."""
        return list((await self.call_async("GET", "/v1/outbox", limit=limit))["rows"])
