"""Holds `stop` and `max_tokens` for what is sent, whoever wrote it.

The engine ends its own text by both. But a rule's text, a quoted section or the articles' sentences that replace a weak
draft never pass the engine, and a greeting is put before what it wrote. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from runtime.engine.core.stop_strings import StopStrings
from runtime.events import AskRequest, Done, Event, Token

CountTokens = Callable[[str], int]


def limit_events(events: Iterator[Event], request: AskRequest, count_tokens: CountTokens) -> Iterator[Event]:
    """The events with every text cut before the first stop string and after `max_tokens` tokens of the model's.

    Sent pieces still add up to the answer. Where a text was cut at the most tokens, `finish` is `length`.
    """
    if not request.stop and request.max_tokens is None:
        yield from events
        return
    stop, sent = StopStrings(request.stop), ""
    for event in events:
        if isinstance(event, Token):
            text = _cut(sent + stop.feed(event.text), request.max_tokens, count_tokens)[len(sent) :]
            sent += text
            if text:
                yield Token(text=text)
        elif isinstance(event, Done):
            if rest := _cut(sent + stop.rest(), request.max_tokens, count_tokens)[len(sent) :]:
                yield Token(text=rest)
            yield _limited(event, request, count_tokens)
        else:
            yield event


def _limited(done: Done, request: AskRequest, count_tokens: CountTokens) -> Done:
    before_stop = StopStrings(request.stop)
    stopped = before_stop.feed(done.answer) + before_stop.rest()
    answer = _cut(stopped, request.max_tokens, count_tokens)
    finish = "length" if answer != stopped else "stop" if stopped != done.answer else done.finish
    return done.model_copy(update={"answer": answer, "finish": finish})


def _cut(text: str, most: int | None, count_tokens: CountTokens) -> str:
    """The longest beginning with at most so many tokens."""
    if most is None or len(text.encode("utf-8", "replace")) <= most or count_tokens(text) <= most:
        return text  # a token has a byte at least
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count_tokens(text[:middle]) <= most else (low, middle - 1)
    return text[:low]
