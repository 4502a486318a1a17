"""Speech in OpenAI's form: heard, bounded, and never stored."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.perception.attachment import Attachment
from runtime.perception.bounded_child import ChildHandle, ChildLimits, run_bounded
from runtime.perception.speech_models import SpeechModels
from runtime.server.app import create_app
from runtime.server.attachment_queue import MAX_HELD
from runtime.server.routes import audio
from runtime.server.service import Service
from tests.support.speech import CHINESE, CHINESE_TEXT, ENGLISH, ENGLISH_TEXT, wav

PATH = "/v1/audio/transcriptions"


@pytest.fixture
def hearing(make_home: Callable[..., Path], scripted_gguf: Path, speech_models: SpeechModels) -> Iterator[Service]:
    home = make_home(scripted_gguf, speech=speech_models.folder)
    settings = Settings(threads=1)
    with lock_home(home, "test"), open_desk(home, settings) as desk:
        service = Service(home, settings)
        service.desk = desk
        yield service


@pytest.fixture
async def http(hearing: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(hearing))
    async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk", timeout=60) as client:
        yield client


async def send(http: httpx.AsyncClient, data: bytes, name: str = "q.flac", **fields: Any) -> httpx.Response:
    return await http.post(PATH, files={"file": (name, data)}, data={"model": "shop-speech", **fields})


async def test_recording_is_heard_in_both_languages_and_every_form(http: httpx.AsyncClient, hearing: Service) -> None:
    plain = await send(http, ENGLISH.read_bytes(), "../../q\x1b[2J.flac")
    assert plain.status_code == 200, plain.text
    assert plain.json() == {"text": ENGLISH_TEXT}
    text = await send(http, CHINESE.read_bytes(), model="reciting-zh", response_format="text")
    assert text.text == CHINESE_TEXT + "\n"
    verbose = (
        await send(http, CHINESE.read_bytes(), language="zh", response_format="verbose_json", temperature="0")
    ).json()
    assert (verbose["text"], verbose["language"], verbose["task"]) == (CHINESE_TEXT, "zh", "transcribe")
    assert verbose["segments"][0].items() >= {"id": 0, "text": CHINESE_TEXT}.items()
    assert 0 <= verbose["segments"][0]["start"] < verbose["segments"][0]["end"] <= verbose["duration"] + 0.1
    models = (await http.get("/v1/models")).json()["data"]
    assert "shop-speech" in [one["id"] for one in models]
    # Nothing of it is anywhere: what a client asks with it is a message of its own.
    assert hearing.ready_desk().journal.search("return", limit=5) == []
    assert not list(hearing.home.rglob("*.flac"))


REFUSED: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"not a recording", {}, 400, "neither a picture nor a recording"),
    (b"", {}, 400, "the file is empty"),
    (b"\x89PNG\r\n\x1a\n" + bytes(64), {}, 400, "a picture, not a recording"),
    (b"fLaC" + bytes(999), {}, 400, "not a recording that can be read"),
    (wav(np.zeros(16_000, np.int16)), {}, 400, "no speech was heard"),
    (wav(np.zeros(0, np.int16)), {}, 400, "q.flac: holds no sound"),
    (b"RIFF", {"model": "whisper-1"}, 400, "neither"),
    (b"fLaC" + bytes(999), {"model": "whisper-1"}, 404, "there is shop-speech, moonshine-tiny-en, reciting-zh"),
    (b"fLaC" + bytes(999), {"language": "fr"}, 404, "it hears en, zh"),
    (b"fLaC" + bytes(999), {"model": "reciting-zh", "language": "en"}, 404, "there is shop-speech"),
    (b"fLaC" + bytes(999), {"response_format": "srt"}, 400, "response_format"),
    (b"fLaC" + bytes(999), {"stream": "true"}, 400, "stream"),
    (b"fLaC" + bytes(999), {"prompt": "Northlight"}, 400, "field 'prompt': it is not supported"),
    (b"fLaC" + bytes(999), {"language": "english"}, 400, "field 'language': must be two letters, such as en"),
    (b"fLaC" + bytes(999), {"colour": "red"}, 400, "colour"),
]


async def test_form_that_cannot_be_used_is_refused_by_name(http: httpx.AsyncClient) -> None:
    for data, fields, status, said in REFUSED:
        got = await send(http, data, **fields)
        assert got.status_code == status, got.text
        assert said in got.json()["error"]["message"]


async def test_body_that_is_no_form_or_too_long_is_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for body, kind in (
        (b"{}", "application/json"),
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n", "multipart/form-data"),
        (b"\xff" * 100, "multipart/form-data; boundary=x"),
    ):
        got = await http.post(PATH, content=body, headers={"content-type": kind})
        assert got.status_code == 400, got.text
    for none in (await http.post(PATH), await http.post(PATH, content=b"RIFF")):
        assert none.status_code == 400, none.text
        assert "not a form with a file. send multipart/form-data" in none.json()["error"]["message"]
    text = await http.post(PATH, files={"model": (None, "shop-speech"), "file": (None, "hello")})
    assert text.status_code == 400
    assert "field 'file' must be an upload, not text" in text.json()["error"]["message"]
    two = [("file", ("a.flac", b"fLaC")), ("file", ("b.flac", b"fLaC"))]
    assert (await http.post(PATH, files=two, data={"model": "shop-speech"})).status_code == 400
    monkeypatch.setattr(audio, "_MAX_FORM_BYTES", 10_000)
    got = await send(http, ENGLISH.read_bytes())
    assert got.status_code == 413, got.text
    assert "over 32 MiB" in got.json()["error"]["message"]


async def test_client_that_leaves_ends_the_hearing_of_its_recording(
    hearing: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F17."""
    begun, ended = threading.Event(), threading.Event()

    def hear_without_end(recording: Attachment, _: SpeechModels, __: str, *, child: ChildHandle) -> None:
        begun.set()
        try:
            limits = ChildLimits(wall_s=300, memory_mib=200)
            run_bounded(
                "tests.support.bounded_work", {"do": "never end"}, recording.data, limits, where="", handle=child
            )
        finally:
            ended.set()

    monkeypatch.setattr("runtime.server.attachment_queue.hear_recording", hear_without_end)
    form = httpx.Request(
        "POST", "http://x", files={"file": ("q.flac", b"fLaC" + bytes(99))}, data={"model": "shop-speech"}
    )
    body = [{"type": "http.request", "body": form.read(), "more_body": False}]
    gone, sent = asyncio.Event(), []

    async def receive() -> dict[str, Any]:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def answer(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": PATH, "raw_path": b"", "query_string": b"", "http_version": "1.1",
        "headers": [(key.lower(), value) for key, value in form.headers.raw], "server": ("edgedesk", None),
        "scheme": "http", "root_path": "",
    }  # fmt: skip
    call = asyncio.create_task(create_app(hearing)(scope, receive, answer))
    assert await asyncio.to_thread(begun.wait, 120)
    gone.set()
    await call
    assert sent[0]["status"] == 503
    assert await asyncio.to_thread(ended.wait, 120), "its process goes on, and keeps the next recording out"


async def test_recording_beyond_the_places_is_refused_before_it_is_read(
    http: httpx.AsyncClient, hearing: Service
) -> None:
    with ExitStack() as others:
        for _ in range(MAX_HELD):
            others.enter_context(hearing.attachments.place())
        got = await send(http, b"fLaC" + bytes(99))
    assert got.status_code == 503, got.text
    assert got.headers["retry-after"] == "1"
    assert "4 requests with pictures or recordings are in work" in got.json()["error"]["message"]
    assert (await send(http, b"fLaC" + bytes(99))).status_code == 400, "with a place it is looked at"


async def test_bundle_without_a_recogniser_says_so(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    home = make_home(scripted_gguf)
    transport = httpx.ASGITransport(create_app(Service(home, Settings(threads=1))))
    async with httpx.AsyncClient(transport=transport, base_url="http://edgedesk") as http:
        got = await send(http, b"fLaC")
    assert got.status_code == 404
    assert "carries no recogniser" in got.json()["error"]["message"]
    assert "[speech]" in got.json()["error"]["message"]
