"""The client of the branch's server: events of an answer, and what else the console and `ask` need, over its socket.

Promises: a server that is not there, not ready, or gone in the middle is an `UnavailableError` that says which;
errors of the server are raised as the classes they were there. What `ask` needs is there twice: plain, and `_async`.
Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx

from runtime.client.agents import AgentClient
from runtime.client.transport import TIMEOUT, answer_of, cut, error_of
from runtime.errors import UnavailableError
from runtime.events import Citation, Done, Event, Failed, make_request, parse_event
from runtime.perception.attachment import Attachment
from runtime.perception.attachment_text import AttachmentText

_READ = "/v1/attachments/read"


class Client(AgentClient):
    """Talks to the server of one home. Cheap to make; nothing is opened before a call."""

    def ask(self, question: str, **options: Any) -> Iterator[Event]:
        """Events of one answer; `options` are the other fields of `AskRequest`. Closing the iterator cancels.

        An `error` event is given out like any other; a stream cut without an end raises `UnavailableError`.
        """
        body = make_request(question=question, **options).model_dump(exclude_none=True)
        with self._http() as http, http.stream("POST", "/v1/ask", json=body, timeout=TIMEOUT) as got:
            if got.status_code != httpx.codes.OK:
                got.read()
                raise error_of(got)
            for line in got.iter_lines():
                event = parse_event(line)
                yield event
                if isinstance(event, Done | Failed):
                    return
        raise cut()

    async def ask_async(self, question: str, **options: Any) -> AsyncGenerator[Event, None]:
        """`ask`, for an event loop."""
        body = make_request(question=question, **options).model_dump(exclude_none=True)
        async with self._http_async() as http, http.stream("POST", "/v1/ask", json=body, timeout=TIMEOUT) as got:
            if got.status_code != httpx.codes.OK:
                await got.aread()
                raise error_of(got)
            async for line in got.aiter_lines():
                event = parse_event(line)
                yield event
                if isinstance(event, Done | Failed):
                    return
        raise cut()

    def status(self) -> dict[str, Any]:
        """`{state, bundle, version, model, languages}`; state is `starting`, `ready` or `stopping`."""
        return self._get("/v1/status")

    async def status_async(self) -> dict[str, Any]:
        """`status`, for an event loop."""
        return await self._get_async("/v1/status")

    def article(self, article: str, lang: str | None = None) -> dict[str, Any]:
        """`{article, title, lang, audience, topic, sections: [citation…]}`; `MissingError` when there is none."""
        return self._get(f"/v1/articles/{article}", lang=lang)

    async def article_async(self, article: str, lang: str | None = None) -> dict[str, Any]:
        """`article`, for an event loop."""
        return await self._get_async(f"/v1/articles/{article}", lang=lang)

    def search(self, question: str, *, lang: str | None = None, limit: int = 10) -> list[Citation]:
        """Sections nearest to a question, best first."""
        found = self._get("/v1/search", q=question, lang=lang, limit=limit)
        return [Citation.model_validate(item) for item in found["citations"]]

    async def search_async(self, question: str, *, lang: str | None = None, limit: int = 10) -> list[Citation]:
        """`search`, for an event loop."""
        found = await self._get_async("/v1/search", q=question, lang=lang, limit=limit)
        return [Citation.model_validate(item) for item in found["citations"]]

    def typing(
        self, text: str, *, conversation: str | None = None, lang: str | None = None, paused: bool = False
    ) -> dict[str, Any]:
        """Have what is typed read ahead, and answered where it may be whole: `{conversation, state, tokens, written}`.

        The question should bear that conversation. To be called when a word more is there, not at every key; with
        `paused` when the writer stops, with an empty text when they have gone.
        """
        return self._post("/v1/typing", text=text, conversation=conversation, lang=lang, paused=paused)

    async def typing_async(
        self, text: str, *, conversation: str | None = None, lang: str | None = None, paused: bool = False
    ) -> dict[str, Any]:
        """`typing`, for an event loop."""
        return await self._post_async("/v1/typing", text=text, conversation=conversation, lang=lang, paused=paused)

    def read_attachment(self, attachment: Attachment) -> AttachmentText:
        """What a picture says; nothing of it is stored."""
        with self._http() as http:
            got = http.post(_READ, content=attachment.data, params={"name": attachment.name}, timeout=TIMEOUT)
        return AttachmentText.model_validate(answer_of(got))

    async def read_attachment_async(self, attachment: Attachment) -> AttachmentText:
        """`read_attachment`, for an event loop."""
        async with self._http_async() as http:
            got = await http.post(_READ, content=attachment.data, params={"name": attachment.name}, timeout=TIMEOUT)
        return AttachmentText.model_validate(answer_of(got))

    def is_alive(self) -> bool:
        """Whether a server answers at all, ready or not."""
        try:
            self._get("/livez")
        except UnavailableError:
            return False
        return True

    def is_ready(self) -> bool:
        """Whether a server is there and can answer questions."""
        try:
            self._get("/readyz")
        except UnavailableError:
            return False
        return True
