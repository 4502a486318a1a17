"""What clients of OpenAI's API send, read strictly: the bodies of chat completions and embeddings.

Promises: a field that asks for nothing (`tools: []`, `logit_bias: {}`, `refusal: null`) is passed over, since clients
send back what they were given and name every default; a field that asks for something this server cannot do is refused
by name, never passed over. Knows nothing of HTTP and of the desk.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import InputError
from runtime.events import AskRequest, make_request
from runtime.perception.attachment import MAX_BYTES, Attachment, attach
from runtime.perception.attachment_text import AttachmentText, asking_lines, with_question
from runtime.text.records import Turn

MAX_INPUTS = 2048
"""Texts of one embeddings request, as with OpenAI."""
MAX_CONTEXT_TURNS = 64
_MAX_STOPS = 4
_MAX_STOP_CHARS = 64
_MAX_SEED = 2**32 - 1
_LEAVE_OUT = "leave it out"
_NOTHING_READ: Mapping[str, AttachmentText] = {}
MAX_PICTURES = 4
"""In one message."""
_DATA_URL = re.compile(
    r"data:(?:image/[a-z0-9.+-]{1,32}|application/pdf)(?:;[a-z0-9-]{1,32}=[a-z0-9._-]{0,64}){0,4};base64,",
    re.ASCII | re.IGNORECASE,
)
Short = Annotated[str, Field(min_length=1, max_length=_MAX_STOP_CHARS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Body):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_Body):
    """A picture by its data URL."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Body):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class Message(_Body):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[Annotated[TextPart | ImagePart, Field(discriminator="type")], ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The words of the message."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def picture_urls(self) -> tuple[str, ...]:
        """The data URLs of its pictures."""
        parts = () if isinstance(self.content, str) else self.content
        return tuple(part.image_url.url for part in parts if isinstance(part, ImagePart))


class StreamOptions(_Body):
    """What a stream holds beside the answer."""

    include_usage: bool | None = False
    include_obfuscation: bool | None = None


class ChatRequest(_Body):
    """The body of `POST /v1/chat/completions`."""

    model: str = Field(max_length=200)
    messages: tuple[Message, ...] = Field(min_length=1, max_length=256)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Short | Annotated[tuple[Short, ...], Field(max_length=_MAX_STOPS)] | None = None
    metadata: dict[str, str] | None = None

    def question(self, read: Mapping[str, AttachmentText] = _NOTHING_READ) -> AskRequest:
        """The desk's request: the last message is the question, what was said before it is its context.

        `read` is what stands in pictures, by their URLs; one that is not in it says nothing.
        """
        said = [message for message in self.messages if message.role in ("user", "assistant")]
        if not said or self.messages[-1].role != "user":
            raise InputError("the last message must be the user's", hint='end messages with {"role": "user", …}')
        shown = [tuple(read[url] for url in one.picture_urls if url in read) for one in said]
        texts = [with_question(one.text, *pictures) for one, pictures in zip(said, shown, strict=True)]
        context = tuple(
            Turn(role=_role(one), content=text) for one, text in zip(said[:-1], texts, strict=False) if text.strip()
        )
        return make_request(
            question=texts[-1] if shown[-1] else said[-1].text,
            asking=asking_lines(said[-1].text, *shown[-1]) if shown[-1] else None,
            conversation=(self.metadata or {}).get("conversation"),
            # The nucleus of no width is the likeliest token alone.
            temperature=0.0 if self.top_p == 0 else self.temperature,
            top_p=self.top_p or None,
            seed=None if self.seed is None else self.seed % _MAX_SEED,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=(self.stop,) if isinstance(self.stop, str) else self.stop or (),
            context=context[-MAX_CONTEXT_TURNS:],
        )


class EmbeddingRequest(_Body):
    """The body of `POST /v1/embeddings`."""

    model: str = Field(max_length=200)
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=MAX_INPUTS)]
    )
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(default=None, ge=1)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts, also where one was sent without a list."""
        return (self.input,) if isinstance(self.input, str) else self.input


def _role(message: Message) -> Literal["user", "assistant"]:
    return "user" if message.role == "user" else "assistant"


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def _is_one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: _is_empty(value) or any(value == known and type(value) is not bool for known in values)


def _is_text_format(value: Any) -> bool:
    if isinstance(value, dict) and value.get("type") == "text":
        return all(_is_empty(more) for key, more in value.items() if key != "type")
    return _is_empty(value)


def _biases_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(bias == 0 and type(bias) is not bool for bias in value.values())
    return _is_empty(value)


def _is_anything(_: Any) -> bool:
    return True


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


# Field -> what it asks for, and which values ask for nothing. What is in neither table nor model is refused when it is
# not empty. Labels of a request (who asks, caching, billing) ask for no other answer.
_CHAT_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "tools": ("tools are not supported", _is_empty),
    "tool_choice": ("tools are not supported", _is_one_of("none", {"type": "none"})),
    "parallel_tool_calls": ("tools are not supported", _is_flag),
    "functions": ("tools are not supported", _is_empty),
    "function_call": ("tools are not supported", _is_one_of("none")),
    "response_format": ("forced formats are not supported", _is_text_format),
    "logit_bias": ("biased tokens are not supported", _biases_nothing),
    "modalities": ("only text is supported", _is_one_of(["text"])),
    "audio": ("only text is supported", _is_empty),
    "prediction": ("predicted outputs are not supported", _is_empty),
    "web_search_options": ("web search is not supported", lambda value: value is None),
    "reasoning_effort": ("the model does not reason before it answers", _is_one_of("none")),
    "verbosity": ("the length of answers cannot be chosen", _is_one_of("medium")),
    "service_tier": ("service tiers are not supported", _is_one_of("auto", "default")),
    "n": ("one choice is given", _is_one_of(1)),
    "best_of": ("one choice is given", _is_one_of(1)),
    "logprobs": ("log probabilities are not supported", _is_empty),
    "top_logprobs": ("log probabilities are not supported", _is_one_of(0)),
    "frequency_penalty": ("penalties are not supported", _is_one_of(0)),
    "presence_penalty": ("penalties are not supported", _is_one_of(0)),
    "repetition_penalty": ("penalties are not supported", _is_one_of(1)),
    "repeat_penalty": ("penalties are not supported", _is_one_of(1)),
    "top_k": ("it is not supported", _is_one_of(0, -1)),
    "min_p": ("it is not supported", _is_one_of(0)),
    "store": ("", _is_anything),
    "user": ("", _is_anything),
    "safety_identifier": ("", _is_anything),
    "prompt_cache_key": ("", _is_anything),
    "prompt_cache_retention": ("", _is_anything),
}
_MESSAGE_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "tool_calls": ("tools are not supported", _is_empty),
    "function_call": ("tools are not supported", _is_empty),
    "tool_call_id": ("tools are not supported", _is_empty),
    "audio": ("only text is supported", _is_empty),
    "images": ("only text is supported", _is_empty),
    # Of an answer that a client sends back.
    "annotations": ("", _is_anything),
    "refusal": ("", _is_anything),
    "reasoning_content": ("", _is_anything),
    "reasoning": ("", _is_anything),
    "id": ("", _is_anything),
    "index": ("", _is_anything),
}
_PARTS = {
    "input_image": "pictures are",
    "video_url": "films are",
    "input_audio": "sound is",
    "audio_url": "sound is",
    "file": "files are",
    "input_file": "files are",
}
_EMBEDDING_FIELDS = {"user": ("", _is_anything), "truncate": ("texts are not cut", _is_empty)}


def read_chat(raw: bytes) -> dict[str, Any]:
    """A chat body without the fields that ask for nothing; `InputError` names what cannot be done.

    What is no JSON object is passed on as an empty one: the model says better what is missing.
    """
    body = _read(raw)
    tools_are_empty = "tools" in body and _is_empty(body["tools"])
    if tools_are_empty and body.get("tool_choice") == "auto":
        body = {key: value for key, value in body.items() if key != "tool_choice"}
    body = _without_idle(body, ChatRequest, _CHAT_FIELDS)
    for key in ("max_tokens", "max_completion_tokens"):
        if body.get(key) == -1:  # how programs made for local models write "as many as there are"
            del body[key]
    if "stop" in body:
        body["stop"] = _stops(body["stop"])
    if isinstance(body.get("messages"), list):
        body["messages"] = [
            _message(message, f"messages[{place}]") if isinstance(message, dict) else message
            for place, message in enumerate(body["messages"])
        ]
    return body


def read_embedding(raw: bytes) -> dict[str, Any]:
    """An embeddings body without the fields that ask for nothing; `InputError` for token ids."""
    body = _without_idle(_read(raw), EmbeddingRequest, _EMBEDDING_FIELDS)
    given = body.get("input")
    if isinstance(given, list):
        if any(isinstance(one, int | float | list) for one in given):
            raise InputError(
                "'input': token ids are not supported, the encoder has a vocabulary of its own",
                hint="send texts; in LangChain set check_embedding_ctx_length=False",
            )
        if len(given) > MAX_INPUTS:
            raise InputError(f"'input': {len(given):,} texts, {MAX_INPUTS:,} are allowed", hint="send them in parts")
        if "" in given:
            raise InputError(f"'input[{given.index('')}]': the text is empty", hint="leave empty texts out")
    return body


def _read(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise InputError("the body is not JSON", hint="see docs/reference/api.md") from None
    if not isinstance(body, dict):
        raise InputError("the body is not a JSON object", hint="see docs/reference/api.md")
    return body


def _without_idle(
    given: dict[str, Any],
    model: type[BaseModel],
    table: Mapping[str, tuple[str, Callable[[Any], bool]]],
    place: str = "",
    hint: str = _LEAVE_OUT,
) -> dict[str, Any]:
    kept = {}
    for key, value in given.items():
        why, asks_for_nothing = table.get(key, ("it is not supported", _is_empty))
        if key in model.model_fields and key not in table:
            kept[key] = value
        elif not asks_for_nothing(value):
            name = key[:100].encode("utf-8", "backslashreplace").decode()  # JSON may name half a surrogate pair
            raise InputError(f"'{place}{name}': {why}", hint=hint)
    return kept


def _stops(given: Any) -> list[str] | None:
    """What ends an answer, without empty texts; `InputError` by place, where the model would name both its forms."""
    if given is None or given == "":
        return None
    if not isinstance(given, str | list):
        raise InputError("'stop' must be text or a list of texts", hint=_LEAVE_OUT)
    stops = []
    for place, stop in enumerate(given) if isinstance(given, list) else ((None, given),):
        name = "'stop'" if place is None else f"'stop[{place}]'"
        if not isinstance(stop, str):
            raise InputError(f"{name} must be text", hint=_LEAVE_OUT)
        if len(stop) > _MAX_STOP_CHARS:
            raise InputError(f"{name}: {len(stop):,} characters, {_MAX_STOP_CHARS} are allowed", hint="shorten it")
        if stop:
            stops.append(stop)
    if len(stops) > _MAX_STOPS:
        raise InputError(f"'stop': {len(stops):,} texts, {_MAX_STOPS} are allowed", hint="leave some out")
    return stops


def _message(message: dict[str, Any], place: str) -> dict[str, Any]:
    message = _without_idle(message, Message, _MESSAGE_FIELDS, f"{place}.")
    content = message.get("content")
    if content is None and message.get("role") == "assistant":
        return {**message, "content": ""}
    if isinstance(content, list):
        return {**message, "content": [_part(part, f"{place}.content[{at}]") for at, part in enumerate(content)]}
    return message


def picture(url: str, place: str) -> Attachment:
    """The picture of a data URL; `InputError` names the place of one that is none, or too large, or an address."""
    try:
        found = attach(base64.b64decode(url[_data_url(url, place) :], validate=True), place)
    except binascii.Error:
        raise InputError(f"'{place}': the data URL is not base64", hint="encode the picture's bytes again") from None
    if found.kind != "picture":
        raise InputError(f"'{place}': a {found.kind}, not a picture", hint="send PNG, JPEG, WebP, HEIC or PDF")
    return found


def _data_url(url: str, place: str) -> int:
    """Where the base64 of a picture's data URL begins."""
    head = _DATA_URL.match(url)
    if head is None and url[:5].lower() == "data:":
        raise InputError(
            f"'{place}': not the data URL of a picture in base64",
            hint="it must begin data:image/png;base64, or with image/jpeg, image/webp, image/heic or application/pdf",
        )
    if head is None:
        raise InputError(
            f"'{place}': a picture must be a data URL, nothing is fetched from an address",
            hint="send data:image/jpeg;base64,… with the picture's bytes",
        )
    if (len(url) - head.end()) * 3 // 4 > MAX_BYTES["picture"] + 3:
        raise InputError(f"'{place}': more than {MAX_BYTES['picture'] >> 20} MiB", hint="send a smaller picture")
    return head.end()


def _image(part: dict[str, Any], place: str) -> dict[str, Any]:
    """A picture's part with its URL where OpenAI has it; some clients give the address alone."""
    image = part.get("image_url")
    image = {"url": image} if isinstance(image, str) else image
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        raise InputError(f"'{place}': image_url has no url", hint="send data:image/jpeg;base64,…")
    _data_url(url, place)
    known = f"{_LEAVE_OUT}; known: {', '.join(ImageUrl.model_fields)}"
    image = _without_idle(image, ImageUrl, {}, f"{place}.image_url.", hint=known)
    return {"type": "image_url", "image_url": image}


def _part(part: Any, place: str) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "image_url":
        return _image(part, place)
    if isinstance(kind, str) and kind in _PARTS:
        raise InputError(f"'{place}': {_PARTS[kind]} not supported", hint="send text")
    if kind in ("text", "input_text", "output_text"):
        # Hints for a cache or a display, such as `cache_control`, ask for no other answer.
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    return part
