"""Turns the events of an answer into OpenAI's chat completions: one object, or server-sent chunks.

Promises: the chunks of a stream add up to the answer; any text passes any reader of lines; while nothing may be sent
yet the stream carries comments, so that neither client nor proxy takes it for dead. Pure but for its id and time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from runtime.events import Done, Event, Failed, Stored, Token, escape_line_breaks
from runtime.server.http_errors import openai_error

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: every reader of server-sent events passes over it."""
_DONE = b"data: [DONE]\n\n"


class ChatCompletion:
    """Collects one answer's events; to be used for one answer, as a stream or as a whole."""

    def __init__(self, model: str, *, conversation: str = "", usage: bool = False, final_only: bool = False) -> None:
        """With `usage` a last chunk counts tokens; with `final_only` nothing of the draft is sent.

        A draft may be replaced when it is checked, and this form cannot take back what was sent.
        """
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}
        self._conversation = conversation
        self._usage = usage
        self._final_only = final_only

    def observe(self, event: Event) -> None:
        """Remember the conversation's name."""
        if isinstance(event, Stored):
            self._conversation = event.conversation

    def chunks(self, event: Event | None) -> Iterator[bytes]:
        """Server-sent events of an event; None stands for a while without any."""
        if event is None:
            yield KEEP_ALIVE
            return
        self.observe(event)
        if isinstance(event, Stored):
            yield self._chunk({"role": "assistant", "content": ""})
        elif isinstance(event, Token):
            if not self._final_only:
                yield self._chunk({"content": event.text})
        elif isinstance(event, Done):
            if self._final_only:
                yield self._chunk({"content": event.answer})
            yield self._chunk({}, finish=event.finish, edgedesk=self._extension(event))
            if self._usage:
                yield _line({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(event)})
            yield _DONE
        elif isinstance(event, Failed):
            yield _line(openai_error(event.exception()))
            yield _DONE

    def whole(self, done: Done) -> dict[str, Any]:
        """The answer as one object."""
        body = self._text(done.answer, finish=done.finish, usage=_usage(done))
        return {**body, "edgedesk": self._extension(done)}

    def text(self, answer: str) -> dict[str, Any]:
        """A text that no desk made, as one object."""
        return self._text(answer, finish="stop", usage=_NO_USAGE)

    def text_chunks(self, answer: str) -> Iterator[bytes]:
        """A text that no desk made, as a stream."""
        yield self._chunk({"role": "assistant", "content": answer})
        yield self._chunk({}, finish="stop")
        if self._usage:
            yield _line({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": _NO_USAGE})
        yield _DONE

    def _text(self, answer: str, *, finish: str, usage: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": answer, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage}

    def _extension(self, done: Done) -> dict[str, Any]:
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
        return _line({**self._head, "object": "chat.completion.chunk", "choices": [choice], **more})


def _line(value: dict[str, Any]) -> bytes:
    return f"data: {escape_line_breaks(json.dumps(value, ensure_ascii=False))}\n\n".encode("utf-8", "replace")


_NO_USAGE: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _usage(done: Done) -> dict[str, Any]:
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.answer_tokens,
        "total_tokens": done.prompt_tokens + done.answer_tokens,
        "prompt_tokens_details": {"cached_tokens": done.reused_tokens},
    }
