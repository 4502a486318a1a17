"""A teacher behind a server tells a capture what the same model in this process does."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from distill.models.catalogue import Base
from distill.models.openai_endpoint import Endpoint, EndpointTeacher, next_row, prove_same_tokens
from distill.packing.packing import Pack
from distill.pipeline.build import open_build, token_difference
from distill.recipe.recipe import Recipe
from distill.teacher.capture import capture, read_capture
from distill.teacher.teacher import gguf_teacher
from quantize.formats.gguf_writer import write_gguf
from runtime.base.user_cache import cache_folder
from runtime.engine.llama.scorer import LlamaScorer
from runtime.errors import ModelError, UnavailableError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer

URL = "http://teacher/v1"
K = 8
STRINGS = ["How long?", "多久可以退货？", "€4.90 <|im_end|>", "30 days\n\n三十天"]


@pytest.fixture(scope="module")
def gguf(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "model.gguf"
    write_gguf(tiny_llama, path)
    return path


@pytest.fixture
def serve(gguf: Path) -> Iterator[Callable[[str], httpx.Client]]:
    """`serve("vllm" | "llama-server" | "plain")`: a client of a server that speaks so, a real model behind it."""
    with LlamaScorer(gguf, context=1024, threads=1) as file:

        def top(logits: np.ndarray[Any, Any], k: int) -> dict[int, float]:
            logprobs = logits - np.logaddexp.reduce(logits.astype(np.float64))
            return {int(token): float(logprobs[token]) for token in np.argsort(-logprobs)[:k]}

        def answer(kind: str, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/v1/models":
                return httpx.Response(200, json={"data": [{"id": "tiny"}]})
            body = json.loads(request.content)
            if request.url.path == "/tokenize" and kind == "openai":
                return httpx.Response(404, json={"error": "no such path"})
            if request.url.path == "/tokenize":
                return httpx.Response(200, json={"tokens": file.vocab.encode(body["content"], control=True)})
            assert request.url.path == "/v1/completions"
            if (k := body.get("prompt_logprobs")) is not None:
                if kind != "vllm":
                    return httpx.Response(200, json={"choices": [{"text": "", "logprobs": None}]})
                rows = [
                    {str(token): {"logprob": value, "rank": 1} for token, value in top(row, k).items()}
                    for row in file.logits(body["prompt"])
                ]
                return httpx.Response(200, json={"choices": [{"prompt_logprobs": [None, *rows[:-1]]}]})
            (last,) = file.logits(body["prompt"], len(body["prompt"]) - 1)
            found = top(last, body["logprobs"])
            if kind == "plain":
                told: Any = {"top_logprobs": [{f"word{token}": value for token, value in found.items()}]}
            else:
                told = {"content": [{"top_logprobs": [{"id": t, "logprob": v} for t, v in found.items()]}]}
            return httpx.Response(200, json={"choices": [{"logprobs": told}]})

        yield lambda kind: httpx.Client(transport=httpx.MockTransport(lambda request: answer(kind, request)))


def captured(teacher: Any, packs: list[Pack], out: Path) -> Any:
    capture(teacher, packs, out, k=K)
    return list(read_capture(out))


@pytest.mark.parametrize(("kind", "way"), [("vllm", "prompt"), ("llama-server", "step")])
def test_a_server_teaches_what_its_file_would(
    kind: str, way: str, serve: Callable[[str], httpx.Client], gguf: Path, packs: list[Pack], tmp_path: Path
) -> None:
    endpoint = Endpoint(serve(kind), URL)
    assert endpoint.model == "tiny"
    with gguf_teacher(gguf, context=1024, threads=1) as file:
        wanted = captured(file, packs[:2], tmp_path / "file.parquet")
        teacher = EndpointTeacher(endpoint, file.vocabulary, K)
    assert teacher.way == way
    for ours, theirs in zip(captured(teacher, packs[:2], tmp_path / "server.parquet"), wanted, strict=True):
        assert ours.pack == theirs.pack
        assert (ours.ids == theirs.ids).mean() > 0.95  # batches of another size round, and ties fall, differently
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=0.01)


def test_a_server_without_token_ids_is_refused_with_what_is_left(serve: Callable[[str], httpx.Client]) -> None:
    with pytest.raises(UsageError, match="only its text"):
        EndpointTeacher(Endpoint(serve("plain"), URL), 1500, K)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("vllm", ""),
        ("llama-server", ""),
        ("plain", "no log-probabilities by token ids"),
        ("openai", r"does not know http://teacher/tokenize \(404\)"),
    ],
)
def test_a_server_without_token_ids_teaches_by_text(
    kind: str, why: str, serve: Callable[[str], httpx.Client], tiny_llama: Path, tiny_qwen2: Path
) -> None:
    def connect(url: str) -> AbstractContextManager[Endpoint]:
        return nullcontext(Endpoint(serve(kind), url))

    student = Base("s", tiny_llama, None, "1", "MIT")
    server = Base("tiny", tiny_llama, None, "2", "MIT", URL)
    found = token_difference(server, student, K, connect)
    assert re.search(why, found) if why else found == ""
    other = Base("q", tiny_qwen2, None, "3", "MIT")
    assert re.search("cut .* differently|does not know", token_difference(server, other, K, connect))


def test_server_and_student_must_cut_text_alike(
    serve: Callable[[str], httpx.Client], tiny_llama: Path, tiny_qwen2: Path
) -> None:
    endpoint = Endpoint(serve("vllm"), URL)
    assert prove_same_tokens(JsonTokenizer(tiny_llama), endpoint, STRINGS) == len(STRINGS)
    with pytest.raises(ModelError, match=r"cut .* differently"):
        prove_same_tokens(JsonTokenizer(tiny_qwen2), endpoint, ["2026年 2026", *STRINGS])


def test_ids_are_read_in_the_form_of_vllm_too() -> None:
    told = {"top_logprobs": [{"token_id:5": -0.1, "token_id:7": -2.5}]}
    assert next_row({"logprobs": told}) == [(5, -0.1), (7, -2.5)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(503, text="loading model"), "503.*loading model"),
        (httpx.Response(200, text="<html>"), "not JSON"),
        (httpx.Response(200, json={"data": []}), "serves no model"),
    ],
)
def test_a_server_that_fails_is_named_and_the_capture_can_go_on(answer: httpx.Response, said: str) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises(UnavailableError, match=said) as error:
        Endpoint(client, URL)
    assert "run the build again" in error.value.hint

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UnavailableError, match="does not answer"):
        Endpoint(httpx.Client(transport=httpx.MockTransport(refuse)), URL)


def test_a_server_needs_a_student_of_its_own(tmp_path: Path) -> None:
    data = {"house_rules": {"en": tmp_path}, "policy": {"en": tmp_path}}
    recipe = Recipe.model_validate({"name": "x", "data": data, "base": {"model": URL}, "student": {"layers": 2}})
    with pytest.raises(UsageError, match="another checkpoint"):
        open_build(recipe, tmp_path / "work")


def test_llama_server_itself_teaches(gguf: Path, packs: list[Pack], tiny_llama: Path, tmp_path: Path) -> None:
    programs = sorted((cache_folder() / "peer").glob("*/bin/llama-server"))
    if not programs:
        pytest.skip("llama-server is not built (benchmarks/peer.sh)")
    path = tmp_path / "s.sock"
    command = [
        programs[-1],
        "--model",
        gguf,
        "--host",
        path,
        "--ctx-size",
        "2048",
        "--threads",
        "1",
        "--parallel",
        "1",
    ]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(path)))
    try:
        endpoint = wait_for(client, process, path)
        prove_same_tokens(JsonTokenizer(tiny_llama), endpoint, STRINGS)
        with gguf_teacher(gguf, context=1024, threads=1) as file:
            (wanted,) = captured(file, packs[:1], tmp_path / "file.parquet")
            teacher = EndpointTeacher(endpoint, file.vocabulary, K)
        assert teacher.way == "step"
        (ours,) = captured(teacher, packs[:1], tmp_path / "server.parquet")
        np.testing.assert_allclose(ours.logprobs, wanted.logprobs, atol=0.02)
    finally:
        client.close()
        process.terminate()
        process.wait(20)


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes], path: Path) -> Endpoint:
    """The server, once it listens and has its model; a client that connects too early would leave its socket open."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(path))
            if client.get("http://teacher/health").status_code == 200:
                return Endpoint(client, URL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError("llama-server does not start")
