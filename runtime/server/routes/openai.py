"""The part of OpenAI's API that other programs expect: chat completions, models, embeddings.

    POST /v1/chat/completions   the last user message is answered by the desk: rules, retrieval, model, citations
    GET  /v1/models, /v1/models/{model}
    POST /v1/embeddings         vectors of the bundle's encoder

Promises: what cannot be done (tools, addresses of pictures, several choices, forced formats) is refused by name, never
passed over; errors have OpenAI's form. A client's system message is accepted and not shown to the model: the house
rules are the bundle's, and nobody may change them from outside. What stands in a picture is the customer's message.
Beside OpenAI's fields an answer carries `edgedesk`: citations, hand-off, unsupported figures, and the conversation's
name, which a client may send back in `metadata.conversation`.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Literal, get_args

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray

from runtime.errors import EdgedeskError, InputError, MissingError, UnavailableError
from runtime.events import Done, Failed
from runtime.perception.attachment import MAX_BYTES
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.speech_models import carries_speech
from runtime.server.chat_completion import ChatCompletion
from runtime.server.embedding_queue import EmbeddingQueue
from runtime.server.frontend_tasks import recognise_task
from runtime.server.http_errors import OversizedError, openai_error_response
from runtime.server.openai_forms import (
    MAX_PICTURES,
    ChatRequest,
    EmbeddingRequest,
    picture,
    read_chat,
    read_embedding,
)
from runtime.server.request_bodies import MAX_BODY_BYTES, documented, read_bytes, validate
from runtime.server.service import Service
from runtime.server.streams import AnswerStream, EventStream, collect_answer, run_while_connected
from runtime.text.personal_data import PersonalRules

MAX_EMBEDDING_BYTES = 8 * 1024 * 1024
"""2,048 texts of 4,000 characters."""
MAX_PICTURES_BYTES = MAX_BYTES["picture"]
"""Of all pictures of a conversation together: their base64 is held in memory while it is read."""
MAX_CHAT_BYTES = MAX_PICTURES_BYTES * 4 // 3 + MAX_BODY_BYTES
"""The pictures as base64, and a body without any."""
_PICTURE = re.compile(
    rb'"data:[a-z]{1,16}/[A-Za-z0-9.+-]{1,32}(?:;[A-Za-z0-9-]{1,32}=[A-Za-z0-9._-]{0,64}){0,4};base64,'
    rb'[A-Za-z0-9+/=\\]*"'
)
_HINT = "see docs/reference/api.md"
Purpose = Literal["chat", "embeddings", "speech"]
Handler = Callable[[Any, Request], Awaitable[Response]]


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    openai = OpenAIRoutes(service)
    router = APIRouter(prefix="/v1")
    for path, handler, model in (
        ("/chat/completions", openai.chat, ChatRequest),
        ("/embeddings", openai.embeddings, EmbeddingRequest),
    ):
        router.add_api_route(path, handler, methods=["POST"], response_model=None, openapi_extra=documented(model))
    router.add_api_route("/models", openai.models, methods=["GET"], response_model=None)
    router.add_api_route("/models/{model:path}", openai.model, methods=["GET"], response_model=None)
    return router


def _in_openai_form(handler: Handler) -> Handler:
    """Answer with errors in OpenAI's form, which its clients raise as their own classes."""

    @wraps(handler)
    async def answer(self: Any, request: Request) -> Response:
        try:
            return await handler(self, request)
        except EdgedeskError as error:
            return openai_error_response(error)

    return answer


class OpenAIRoutes:
    """The endpoints of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._embeddings = EmbeddingQueue(max_waiting=service.settings.queue_limit)
        self._attachments = service.attachments

    @_in_openai_form
    async def chat(self, request: Request) -> Response:
        """Answer the last user message."""
        desk = self._service.ready_desk()
        body = validate(read_chat(await _read_chat_bytes(request)), ChatRequest, _HINT)
        self._require_model(body.model, "chat")
        completion = ChatCompletion(
            body.model,
            conversation=(body.metadata or {}).get("conversation", ""),
            usage=bool(body.stream_options and body.stream_options.include_usage),
            final_only=self._service.bundle.prompt.min_agreement > 0,
        )
        if task := recognise_task([(message.role, message.text) for message in body.messages]):
            if body.stream:
                return Response(b"".join(completion.text_chunks(task.answer)), media_type="text/event-stream")
            return JSONResponse(completion.text(task.answer))
        read: dict[str, AttachmentText] = {}
        if any(message.picture_urls for message in body.messages):
            with self._attachments.place():
                read = await run_while_connected(self._read_pictures(body, desk.personal_rules), request.receive)
        question = self._service.for_caller(body.question(read), request.scope["caller"])
        await asyncio.to_thread(desk.check_question, question)
        answer = AnswerStream(self._service, desk, question, request.scope["caller"].name)
        if body.stream:
            return EventStream(answer, "text/event-stream", completion.chunks, idle_s=self._service.keep_alive_s)
        last = await collect_answer(answer, completion.observe, request.receive)
        if isinstance(last, Done):
            return JSONResponse(completion.whole(last))
        raise last.exception() if isinstance(last, Failed) else UnavailableError("the answer was cut")

    async def _read_pictures(self, body: ChatRequest, rules: PersonalRules) -> dict[str, AttachmentText]:
        """What stands in the pictures, by URL: of the last message all, of earlier ones those that are still known.

        Clients send a conversation's pictures again with each of its messages.
        """
        last = body.messages[-1].picture_urls
        if len(last) > MAX_PICTURES:
            raise InputError(f"{len(last)} pictures, {MAX_PICTURES} are allowed in a message", hint="send fewer")
        where = f"messages[{len(body.messages) - 1}]"
        # All are looked at before one is read, which takes seconds.
        shown = {url: picture(url, f"{where}, picture {place + 1}") for place, url in enumerate(last)}
        read = {url: await self._attachments.read(one, rules) for url, one in shown.items()}
        for number, message in enumerate(body.messages[:-1]):
            for place, url in enumerate(message.picture_urls):
                found = picture(url, f"messages[{number}], picture {place + 1}")
                if url not in read and (known := self._attachments.known(found)):
                    read[url] = known
        return read

    async def models(self) -> dict[str, Any]:
        """The bundle's model and its encoder, and the names they also go by here."""
        return {"object": "list", "data": [_model(name) for name in self._names()]}

    async def model(self, model: str) -> Response:
        """One model."""
        try:
            self._require_model(model, *get_args(Purpose))
        except MissingError as error:
            return openai_error_response(error)
        return JSONResponse(_model(model))

    @_in_openai_form
    async def embeddings(self, request: Request) -> Response:
        """Unit vectors of questions."""
        desk = self._service.ready_desk()
        given = read_embedding(await read_bytes(request, MAX_EMBEDDING_BYTES, "send fewer texts at a time"))
        body = validate(given, EmbeddingRequest, _HINT)
        self._require_model(body.model, "embeddings")
        encoder = desk.retriever.embedder
        if body.dimensions not in (None, encoder.spec.dim):
            raise InputError(
                f"'dimensions': {body.dimensions}; the encoder has {encoder.spec.dim}", hint="leave it out"
            )
        longest, most = max(map(len, body.texts)), self._service.settings.question_chars
        if longest > most:
            raise OversizedError(f"a text of {longest:,} characters, {most:,} are allowed", hint="cut the text")
        work = self._embeddings.embed(encoder, body.texts)
        vectors, tokens = await run_while_connected(work, request.receive)
        plain = body.encoding_format != "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": vector.tolist() if plain else _base64(vector)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": body.model, "usage": usage})

    def _names(self) -> dict[str, Purpose]:
        name, settings = self._service.bundle.info.name, self._service.settings
        names: dict[str, Purpose] = {name: "chat", f"{name}-embedder": "embeddings"}
        if carries_speech(self._service.bundle):
            names[f"{name}-speech"] = "speech"  # `runtime.server.routes.audio` answers for it
        return (
            names
            | dict.fromkeys(settings.chat_model_aliases, "chat")
            | dict.fromkeys(settings.embedding_model_aliases, "embeddings")
        )

    def _require_model(self, model: str, *purposes: Purpose) -> None:
        names = [name for name, purpose in self._names().items() if purpose in purposes]
        if model not in names:
            raise MissingError(f"no model '{model[:100]}' for this", hint=f"there is {', '.join(names)}")


async def _read_chat_bytes(request: Request) -> bytes:
    """The body; without its pictures it must keep the bound of every other body."""
    try:
        raw = await read_bytes(request, MAX_CHAT_BYTES)
    except OversizedError:  # no text is as long
        raise OversizedError(
            f"the pictures of this conversation are over {MAX_PICTURES_BYTES >> 20} MiB together",
            hint="send fewer or smaller pictures, or start a new conversation",
        ) from None
    if len(raw) > MAX_BODY_BYTES and len(raw) - sum(map(len, _PICTURE.findall(raw))) > MAX_BODY_BYTES:
        raise OversizedError(f"the body is over {MAX_BODY_BYTES // 1024:,} KiB", hint="ask a shorter question")
    return raw


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "edgedesk"}


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
