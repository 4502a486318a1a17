"""The part of OpenAI's API that other programs expect: chat completions, models, embeddings.

    POST /v1/chat/completions   the last user message is answered by the desk: rules, retrieval, model, citations
    GET  /v1/models, /v1/models/{model}
    POST /v1/embeddings         vectors of the bundle's encoder

Promises: what cannot be done (tools, pictures, several choices, forced formats) is refused by name, never passed over;
errors have OpenAI's form. A client's system message is accepted and not shown to the model: the house rules are the
bundle's, and nobody may change them from outside. Beside OpenAI's fields an answer carries `edgedesk`: citations,
hand-off, unsupported figures, and the conversation's name, which a client may send back in `metadata.conversation`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import EdgedeskError, InputError, MissingError, UnavailableError
from runtime.events import AskRequest, Done, Event, Failed, Stored, Token, make_request
from runtime.server.http_errors import OversizedError, openai_error, openai_error_response
from runtime.server.request_bodies import documented, parse, read_body, read_bytes
from runtime.server.service import Service
from runtime.server.streams import Answer, EventStream, collect_answer
from runtime.text.records import Turn

MAX_INPUTS = 256
Short = Annotated[str, Field(min_length=1, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Body):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class Message(_Body):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[TextPart, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """Its words."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(_Body):
    """What a stream holds besides."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatRequest(_Body):
    """The body of `POST /v1/chat/completions`."""

    model: str = Field(max_length=200)
    messages: tuple[Message, ...] = Field(min_length=1, max_length=256)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Short | Annotated[tuple[Short, ...], Field(max_length=4)] | None = None
    n: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None


class EmbeddingRequest(_Body):
    """The body of `POST /v1/embeddings`."""

    model: str = Field(max_length=200)
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=MAX_INPUTS)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None


_CHUNK = {"object": "chat.completion.chunk"}
_REFUSED = {
    "tools": "tools",
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
    "functions": "tools",
    "function_call": "tools",
    "response_format": "forced formats",
    "logit_bias": "biased tokens",
    "modalities": "other than text",
    "audio": "other than text",
}


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1")

    @router.post("/chat/completions", response_model=None, openapi_extra=documented(ChatRequest))
    async def chat(request: Request) -> Response:
        """Answer the last user message."""
        try:
            desk = service.ready_desk()
            raw = await read_bytes(request)
            _refuse_what_cannot_be(raw)
            body = parse(raw, ChatRequest, "see docs/reference/api.md")
            _known(service, body.model, ("chat",))
            question = to_question(body)
            await asyncio.to_thread(desk.admit, question)
            answer = Answer(service, desk, question, request.scope["caller"].name)
        except EdgedeskError as error:
            return openai_error_response(error)
        shape = _Chunks(body, whole=service.bundle.prompt.min_agreement > 0)
        if body.stream:
            return EventStream(answer, "text/event-stream", shape.lines)
        last = await collect_answer(answer, shape.see, lambda: _gone(request))
        if isinstance(last, Done):
            return JSONResponse(shape.completion(last))
        failed = last.exception() if isinstance(last, Failed) else UnavailableError("the answer was cut")
        return openai_error_response(failed)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The bundle's model and its encoder."""
        return {"object": "list", "data": [_model(name) for name in _names(service)]}

    @router.get("/models/{model}")
    async def model(model: str) -> Response:
        """One of them."""
        try:
            return JSONResponse(_model(_known(service, model, ("chat", "embeddings"))))
        except EdgedeskError as error:
            return openai_error_response(error)

    @router.post("/embeddings", response_model=None, openapi_extra=documented(EmbeddingRequest))
    async def embeddings(request: Request) -> Response:
        """Unit vectors of questions."""
        try:
            desk = service.ready_desk()
            body = await read_body(request, EmbeddingRequest, "see docs/reference/api.md")
            _known(service, body.model, ("embeddings",))
            texts = [body.input] if isinstance(body.input, str) else list(body.input)
            encoder = desk.retriever.embedder
            if body.dimensions not in (None, encoder.spec.dim):
                raise InputError(f"dimensions {body.dimensions}; the encoder has {encoder.spec.dim}")
            longest, most = max(len(text) for text in texts), service.settings.question_chars
            if longest > most:
                raise OversizedError(f"a text of {longest:,} characters, {most:,} are allowed")
            vectors = await asyncio.to_thread(encoder.queries, texts)
            tokens = await asyncio.to_thread(encoder.count_tokens, texts)
        except EdgedeskError as error:
            return openai_error_response(error)
        plain = body.encoding_format == "float"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector.tolist() if plain else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": body.model, "usage": usage})

    return router


def to_question(body: ChatRequest) -> AskRequest:
    """The desk's request: the last message is the question, what was said before it is its context."""
    said = [message for message in body.messages if message.role in ("user", "assistant")]
    if not said or body.messages[-1].role != "user":
        raise InputError("the last message must be the user's", hint='end messages with {"role": "user", …}')
    context = tuple(Turn(role=_role(one), content=one.text) for one in said[:-1] if one.text.strip())
    stop = (body.stop,) if isinstance(body.stop, str) else body.stop or ()
    return make_request(
        question=said[-1].text,
        conversation=(body.metadata or {}).get("conversation"),
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        stop=stop,
        context=context[-64:],
    )


class _Chunks:
    """The events of an answer in the form of a chat completion."""

    def __init__(self, body: ChatRequest, *, whole: bool) -> None:
        """`whole`: what is written may give way to another text, and this form cannot take it back."""
        self._whole = whole
        self._usage = bool(body.stream_options and body.stream_options.include_usage)
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": body.model}
        self._conversation = (body.metadata or {}).get("conversation", "")

    def see(self, event: Event) -> None:
        """Remember the conversation's name."""
        if isinstance(event, Stored):
            self._conversation = event.conversation

    def lines(self, event: Event) -> Iterator[bytes]:
        """Server-sent events."""
        self.see(event)
        if isinstance(event, Stored):
            yield self._chunk({"role": "assistant", "content": ""})
        elif isinstance(event, Token):
            if not self._whole:
                yield self._chunk({"content": event.text})
        elif isinstance(event, Done):
            if self._whole:
                yield self._chunk({"content": event.answer})
            yield self._chunk({}, finish=event.finish, edgedesk=self._more(event))
            if self._usage:
                yield self._line({**self._head, **_CHUNK, "choices": [], "usage": _usage(event)})
            yield b"data: [DONE]\n\n"
        elif isinstance(event, Failed):
            yield self._line(openai_error(event.exception()))
            yield b"data: [DONE]\n\n"

    def completion(self, done: Done) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": done.answer, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": done.finish, "logprobs": None}
        head = {**self._head, "object": "chat.completion", "choices": [choice], "usage": _usage(done)}
        return {**head, "edgedesk": self._more(done)}

    def _more(self, done: Done) -> dict[str, Any]:
        """What OpenAI's form has no place for."""
        return {
            "conversation": self._conversation or None,
            "citations": [one.model_dump() for one in done.citations],
            "handoff": done.handoff,
            "unsupported": list(done.unsupported),
            "model": done.model,
        }

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return self._line({**self._head, **_CHUNK, "choices": [choice], **more})

    @staticmethod
    def _line(value: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def _role(message: Message) -> Literal["user", "assistant"]:
    return "user" if message.role == "user" else "assistant"


def _usage(done: Done) -> dict[str, Any]:
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.answer_tokens,
        "total_tokens": done.prompt_tokens + done.answer_tokens,
        "prompt_tokens_details": {"cached_tokens": done.reused_tokens},
    }


def _names(service: Service) -> dict[str, str]:
    info = service.bundle.info
    return {info.name: "chat", f"{info.name}-embedder": "embeddings"}


def _known(service: Service, model: str, kinds: tuple[str, ...]) -> str:
    names = [name for name, kind in _names(service).items() if kind in kinds]
    if model not in names:
        raise MissingError(f"no model '{model[:100]}' for this", hint=f"there is {', '.join(names)}")
    return model


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "edgedesk"}


def _refuse_what_cannot_be(raw: bytes) -> None:
    """Name the feature, before the body's other mistakes are looked for."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return  # said better by who reads it in earnest
    if not isinstance(body, dict):
        return
    for key, what in _REFUSED.items():
        if body.get(key) not in (None, [], {}, {"type": "text"}, ["text"]):
            raise InputError(f"'{key}': {what} are not supported", hint="leave it out")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
