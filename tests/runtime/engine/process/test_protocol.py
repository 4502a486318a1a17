"""Messages between the engine's process and its parent: what goes in comes out, and nothing waits for a deaf reader."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.generation import Place, Progress, Stats, TextPiece
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.core.scheduler import EngineHealth
from runtime.engine.process.protocol import (
    CompileMessage,
    Connection,
    EndedMessage,
    FailedMessage,
    GenerateMessage,
    OpenMessage,
    PingMessage,
    PongMessage,
    SendQueue,
    UpdateMessage,
    decode,
    encode,
)
from runtime.errors import InputError
from runtime.prompting.prompt_tokens import Prompt

unicode_text = st.text(st.characters(exclude_categories=("Cs",)))
tokens = st.lists(st.integers(0, 2**31 - 1), max_size=4).map(tuple)


@given(
    st.builds(
        SamplingParams,
        max_tokens=st.integers(0, 9),
        temperature=st.floats(0, 2),
        stop=st.frozensets(st.integers(0, 9)),
        stop_strings=st.lists(unicode_text).map(tuple),
        lookup=st.booleans(),
    ),
    st.lists(tokens, max_size=3).map(tuple),
    st.none() | unicode_text,
)
def test_protocol_carries_requests_unchanged(
    params: SamplingParams, articles: tuple[tuple[int, ...], ...], conversation: str | None
) -> None:
    message = GenerateMessage(7, Prompt((1, 2), articles, (3,)), params, conversation)
    assert decode(encode(message)) == message


@given(unicode_text, st.integers(0, 99), st.floats(0, 1e6))
def test_protocol_carries_answers_unchanged(text: str, number: int, seconds: float) -> None:
    for message in (
        UpdateMessage(number, TextPiece(text)),
        UpdateMessage(number, Place(number, seconds)),
        UpdateMessage(number, Progress(number, number + 1)),
        EndedMessage(number, Stats(number, 1, 2, seconds, seconds, seconds, "length", "parallel", text)),
        PongMessage(None),
        PongMessage(EngineHealth(seconds, number, True)),
    ):
        line = encode(message)
        assert decode(line) == message
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
    failed = decode(encode(FailedMessage.of(number, InputError(text, where="x", hint="y"))))
    assert isinstance(failed, FailedMessage)
    error = failed.error()
    assert isinstance(error, InputError)
    assert (error.what, error.where, error.hint) == (text, "x", "y")


def test_protocol_sends_engine_options_as_they_are(tmp_path: Path) -> None:
    options = EngineOptions(
        tmp_path / "a model 模型.gguf",
        context_tokens=2048,
        threads=2,
        layout="parallel",
        article_folder=tmp_path,
        nice=5,
    )
    assert decode(encode(OpenMessage(options))) == OpenMessage(options)


def test_protocol_refuses_text_that_is_no_unicode() -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        encode(GenerateMessage(1, Prompt((), (), (1,)), SamplingParams(stop_strings=("\ud800",)), None))


def test_send_queue_never_waits_for_a_reader_that_has_stopped() -> None:
    """A caller must not block in `sendall`; nothing here ever reads the other end."""
    mine, other = socket.socketpair()
    connection = Connection(mine)
    outgoing = SendQueue(connection, limit=8)
    message = CompileMessage(1, Prompt((), (tuple(range(20_000)),), ()))  # more than the socket's buffer takes
    sent = [outgoing.send(message) for _ in range(30)]
    assert sent[0]
    assert not sent[-1]
    connection.shut()
    outgoing.close()
    other.close()
    connection.close()


def test_connection_ends_at_a_message_that_is_cut_in_the_middle() -> None:
    mine, other = socket.socketpair()
    whole = encode(PingMessage())
    other.sendall(whole + whole[:5])
    other.close()
    connection = Connection(mine)
    assert list(connection.messages()) == [PingMessage()]
    connection.close()
