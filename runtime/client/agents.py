"""What an agent does besides asking: the inbox, drafts' fates, hand-offs, canned replies, text being typed.

Every method is for an event loop and gives what the server says, as docs/reference/api.md describes it.
"""

from __future__ import annotations

from typing import Any

from runtime.client.transport import Transport


class Agents(Transport):
    """The agents' part of the client."""

    async def conversations_async(
        self, *, status: str | None = None, tag: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Conversations, the one last touched first, each with its standing and its newest turn."""
        got = await self._get_async("/v1/conversations", status=status, tag=tag, limit=limit, offset=offset)
        return list(got["conversations"])

    async def conversation_async(self, conversation: str) -> dict[str, Any]:
        """How a conversation stands, and its `turns`, oldest first; `MissingError` when there is none."""
        return await self._get_async(f"/v1/conversations/{conversation}")

    async def change_conversation_async(self, conversation: str, **changes: Any) -> dict[str, Any]:
        """Change status, snooze_until, assignee, tags, notes, summary, satisfaction; gives how it stands then."""
        return await self._send_async("PATCH", f"/v1/conversations/{conversation}", changes)

    async def find_turns_async(self, query: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """Past turns that hold every word of the query."""
        return list((await self._get_async("/v1/conversations/search", q=query, limit=limit))["turns"])

    async def note_async(self, conversation: str, text: str, lang: str | None = None) -> dict[str, Any]:
        """Store a customer's message that nobody drafts an answer to; `{conversation, turn, lang}`."""
        return await self._send_async("POST", f"/v1/conversations/{conversation}/turns", {"text": text, "lang": lang})

    async def feedback_async(self, conversation: str, turn: int, **feedback: Any) -> None:
        """What became of a draft: verdict, reply, reason, rating, seconds."""
        await self._send_async("POST", f"/v1/conversations/{conversation}/turns/{turn}/feedback", feedback)

    async def label_async(
        self, conversation: str, turn: int, *, intent: str | None = None, emotion: str | None = None
    ) -> None:
        """Correct a turn's intent or emotion, with names from `labels_async`."""
        body = {"intent": intent, "emotion": emotion}
        await self._send_async("POST", f"/v1/conversations/{conversation}/turns/{turn}/labels", body)

    async def labels_async(self) -> dict[str, list[str]]:
        """`{intents, emotions}`: the names to choose from."""
        return await self._get_async("/v1/labels")

    async def why_async(self, conversation: str, turn: int) -> dict[str, Any]:
        """How a draft came about."""
        return await self._get_async(f"/v1/conversations/{conversation}/turns/{turn}/why")

    async def canned_async(self, lang: str = "en") -> list[dict[str, str]]:
        """Replies to insert: `{id, title, text}`."""
        return list((await self._get_async("/v1/canned", lang=lang))["canned"])

    async def composer_async(self, conversation: str) -> dict[str, Any]:
        """`{text, revision}`: what is typed and not sent."""
        return await self._get_async(f"/v1/conversations/{conversation}/composer")

    async def compose_async(self, conversation: str, text: str, revision: int) -> dict[str, Any]:
        """Keep what is typed; `BusyError` when it has changed since `revision` was read."""
        body = {"text": text, "revision": revision}
        return await self._send_async("PUT", f"/v1/conversations/{conversation}/composer", body)

    async def handoffs_async(self, *, state: str = "open", limit: int = 100) -> list[dict[str, Any]]:
        """Turns a person should take over, oldest first."""
        return list((await self._get_async("/v1/handoffs", state=state, limit=limit))["handoffs"])

    async def change_handoff_async(self, conversation: str, turn: int, state: str) -> None:
        """Take (`taken`), close or reopen a hand-off."""
        await self._send_async("POST", f"/v1/handoffs/{conversation}/{turn}", {"state": state})

    async def card_async(self, conversation: str, turn: int) -> dict[str, Any]:
        """A hand-off's card."""
        return await self._get_async(f"/v1/handoffs/{conversation}/{turn}/card")

    async def outbox_async(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """What would leave the branch, redacted."""
        return list((await self._get_async("/v1/outbox", limit=limit))["rows"])
