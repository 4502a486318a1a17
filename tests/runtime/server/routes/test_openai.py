"""OpenAI's endpoints before the real desk, in the test's own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.events import Done, parse_event
from runtime.server.app import create_app
from runtime.server.chat_completion import ChatCompletion
from runtime.server.service import Service
from tests.support.server import ANSWER, EN, ZH

CHAT = {"model": "shop", "messages": [{"role": "user", "content": EN}]}
TITLE = '### Task:\nGenerate a concise, 3-5 word title for the chat history.\nJSON format: { "title": "" }'
RECORDED = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[3] / "support" / "recorded").glob("*.json"))
}


@contextmanager
def running(home: Path, **settings: Any) -> Iterator[Service]:
    """A service of a home, its desk open."""
    chosen = Settings(threads=1, **settings)
    with lock_home(home, "test"), open_desk(home, chosen) as desk:
        service = Service(home, chosen)
        service.desk = desk
        yield service
        service.stop()
        service.wait_for_answers()


def client(service: Service) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(service))
    return httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=120)


def streamed(text: str) -> str:
    """The text of a stream's chunks, its lines cut as the strictest reader cuts them."""
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk.get("choices"))


@pytest.mark.parametrize("name", RECORDED)
async def test_recorded_request_of_a_client_is_answered(http: httpx.AsyncClient, name: str) -> None:
    """The request forms of LangChain, LlamaIndex, Open WebUI, Chatwoot and Zammad."""
    recorded = json.loads(RECORDED[name])
    got = await http.post(recorded["path"], json=recorded["body"])
    assert got.status_code == recorded["status"], got.text
    for expected in recorded["holds"]:
        assert expected in got.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_field_named_by_half_a_surrogate_pair_is_refused_with_its_name_escaped(
    http: httpx.AsyncClient, path: str
) -> None:
    got = await http.post(path, content=rb'{"\ud800": 1}', headers={"content-type": "application/json"})
    assert got.status_code == 400, got.text
    assert r"'\ud800': it is not supported" in got.json()["error"]["message"]


@pytest.mark.parametrize("min_agreement", [0.0, 0.9])
@pytest.mark.parametrize("stream", [False, True])
async def test_stop_and_max_tokens_hold_for_what_is_sent(
    make_home: Callable[..., Path], scripted_gguf: Path, min_agreement: float, stream: bool
) -> None:
    asked = "What does standard delivery of a parcel cost?"
    with running(make_home(scripted_gguf, min_agreement=min_agreement)) as service:
        async with client(service) as http:

            async def ask(**limits: Any) -> str:
                body = {**CHAT, "messages": [{"role": "user", "content": asked}], **limits, "stream": stream}
                got = await http.post("/v1/chat/completions", json=body)
                said: str = streamed(got.text) if stream else got.json()["choices"][0]["message"]["content"]
                return said

            whole = await ask()
            word = "€4.90" if min_agreement else "30"
            assert word in whole
            assert (await ask(stop=[word])).rstrip() == whole.split(word)[0].rstrip()
            short = await ask(max_tokens=4)
    assert whole.startswith(short)
    assert 0 < len(short) < len(whole)


def test_chunks_of_a_stream_pass_every_character_at_which_lines_are_cut() -> None:
    hard = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven\r\neight 退货"
    done = Done(answer=hard, citations=(), ttft_s=0, tokens_per_s=0, model="m")
    assert len(done.line().decode().splitlines()) == 1
    assert parse_event(done.line()) == done
    assert streamed(b"".join(ChatCompletion("shop", final_only=True).chunks(done)).decode()) == hard


async def test_stream_that_may_not_send_yet_carries_keep_alive_comments(
    make_home: Callable[..., Path], endless_gguf: Path
) -> None:
    home = make_home(endless_gguf, context_tokens=8000, answer_tokens=2000, min_agreement=0.9)
    with running(home) as service:
        service.keep_alive_s = 0.001
        async with client(service) as http:
            got = await http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    first = got.text.index("data: ")
    assert ": keep-alive\n\n" in got.text[first:]
    assert streamed(got.text)
    assert got.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_title_of_a_front_end_is_answered_and_stays_out_of_inbox_and_figures(
    service: Service, http: httpx.AsyncClient, stream: bool
) -> None:
    messages = [CHAT["messages"][0], {"role": "assistant", "content": "30 days"}, {"role": "user", "content": TITLE}]  # type: ignore[index]
    got = await http.post("/v1/chat/completions", json={**CHAT, "messages": messages, "stream": stream})
    said = streamed(got.text) if stream else got.json()["choices"][0]["message"]["content"]
    assert json.loads(said)["title"].startswith("How long can I return")
    assert (await http.get("/v1/conversations")).json() == {"conversations": []}
    assert not service.metrics.answers


async def test_models_also_go_by_the_names_of_the_settings(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    settings = {"chat_model_aliases": ("gpt-4o-mini",), "embedding_model_aliases": ("text-embedding-3-small",)}
    with running(make_home(scripted_gguf), **settings) as service:
        async with client(service) as http:
            listed = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]
            chat = await http.post("/v1/chat/completions", json={**CHAT, "model": "gpt-4o-mini"})
            vectors = await http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "x"})
            wrong = await http.post("/v1/embeddings", json={"model": "gpt-4o-mini", "input": "x"})
    assert listed == ["shop", "shop-embedder", "gpt-4o-mini", "text-embedding-3-small"]
    assert (chat.json()["model"], vectors.json()["model"]) == ("gpt-4o-mini", "text-embedding-3-small")
    assert chat.json()["choices"][0]["message"]["content"] == ANSWER
    assert wrong.status_code == 404


async def test_embedding_batch_of_2048_texts_is_answered_beside_questions(http: httpx.AsyncClient) -> None:
    texts = [f"{EN} {number}" if number % 2 else f"{ZH}{number}" for number in range(2048)]
    batch = asyncio.create_task(http.post("/v1/embeddings", json={"model": "shop-embedder", "input": texts}))
    answered = await http.post("/v1/chat/completions", json=CHAT)
    assert answered.json()["choices"][0]["message"]["content"] == ANSWER
    got = (await batch).json()
    assert [row["index"] for row in got["data"]] == list(range(2048))
    one = (await http.post("/v1/embeddings", json={"model": "shop-embedder", "input": texts[77]})).json()
    assert one["data"][0]["embedding"] == pytest.approx(got["data"][77]["embedding"], abs=1e-5)
