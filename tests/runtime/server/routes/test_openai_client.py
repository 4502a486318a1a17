"""The official client, against a server of our own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.base.home import socket_path
from runtime.base.settings import Settings
from runtime.client.client import Client
from tests.support.server import ANSWER, serving

openai = pytest.importorskip("openai", reason="./build.sh setup")
httpx2 = pytest.importorskip("httpx2", reason="./build.sh setup")

EN = {"role": "user", "content": "How long can I return an item after delivery?"}


@pytest.fixture
def server(make_home: Callable[..., Path], endless_gguf: Path) -> Iterator[Path]:
    """Answers without end, so that stopping and cancelling have something to stop."""
    home = make_home(endless_gguf, context_tokens=60000, answer_tokens=55000)
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "serve", "--home", home], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    assert any(line.startswith("ready") for line in process.stderr)
    try:
        yield home
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_chat_streaming_stop_errors_cancellation_models_and_embeddings(server: Path) -> None:
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket_path(server))), trust_env=False)
    with openai.OpenAI(
        base_url="http://edgedesk/v1", api_key="none", http_client=http, max_retries=0, timeout=60
    ) as client:
        # Chat, cut at its most tokens.
        whole = client.chat.completions.create(model="shop", messages=[EN], max_completion_tokens=8)
        assert whole.choices[0].finish_reason == "length"
        assert whole.choices[0].message.content
        assert ANSWER.startswith(whole.choices[0].message.content)
        assert whole.usage.completion_tokens == 8
        extra = whole.model_extra["edgedesk"]
        assert extra["citations"][0]["article"] == "returns-window"

        # Stop strings, streamed, and the conversation goes on under its name.
        chunks = list(
            client.chat.completions.create(
                model="shop",
                messages=[EN],
                stream=True,
                stop=["delivery or", "never said"],
                stream_options={"include_usage": True},
                metadata={"conversation": extra["conversation"]},
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "You can return most items within 30 days of "
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        assert chunks[-1].usage.total_tokens > chunks[-1].usage.completion_tokens > 0
        assert chunks[-2].model_extra["edgedesk"]["conversation"] == extra["conversation"]

        # Errors arrive as the client's own classes.
        with pytest.raises(openai.NotFoundError, match="gpt-9"):
            client.chat.completions.create(model="gpt-9", messages=[EN])
        with pytest.raises(openai.BadRequestError, match="tools are not supported"):
            client.chat.completions.create(
                model="shop", messages=[EN], tools=[{"type": "function", "function": {"name": "refund"}}]
            )
        too_long = {"role": "user", "content": "x" * (Settings().question_chars + 1)}
        with pytest.raises(openai.APIStatusError, match="characters"):
            client.chat.completions.create(model="shop", messages=[too_long])

        # Cancelling frees the place.
        stream = client.chat.completions.create(model="shop", messages=[EN], stream=True)
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        stream.close()
        desk = Client(server)
        while desk.status()["active"]:
            pass

        assert [one.id for one in client.models.list()] == ["shop", "shop-embedder"]
        assert client.models.retrieve("shop").owned_by == "edgedesk"
        texts = ["How long may I return it?", "多久可以退货？"]
        packed = client.embeddings.create(model="shop-embedder", input=texts)
        plain = client.embeddings.create(model="shop-embedder", input=texts, encoding_format="float")
        vectors = np.array([one.embedding for one in plain.data])
        np.testing.assert_allclose(np.array([one.embedding for one in packed.data]), vectors, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        assert plain.usage.prompt_tokens > 0


@pytest.fixture
def scripted(make_home: Callable[..., Path], scripted_gguf: Path) -> Iterator[Path]:
    home = make_home(scripted_gguf)
    with serving(home):
        yield home


@pytest.mark.parametrize("stream", [False, True])
def test_conversation_of_three_turns_goes_on_with_the_clients_own_messages(scripted: Path, stream: bool) -> None:
    """As the client's documentation shows it: what came back is appended to the messages and sent again."""
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket_path(scripted))), trust_env=False)
    with openai.OpenAI(
        base_url="http://edgedesk/v1", api_key="none", http_client=http, max_retries=0, timeout=120
    ) as client:
        messages: list[object] = [{"role": "system", "content": "Be brief."}]
        for turn in range(3):
            messages.append({"role": "user", "content": f"{EN['content']} ({turn})"})
            if stream:
                chunks = client.chat.completions.create(model="shop", messages=messages, stream=True)  # type: ignore[call-overload]
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
                messages.append({"role": "assistant", "content": text})
            else:
                got = client.chat.completions.create(model="shop", messages=messages)  # type: ignore[call-overload]
                messages.append(got.choices[0].message)
                text = got.choices[0].message.content
            assert text == ANSWER
