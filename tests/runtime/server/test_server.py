from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from runtime.base.home import lock_home, reachable, socket_path
from runtime.client.client import Client
from runtime.client.server_process import ensure_server
from runtime.errors import BusyError, ExitCode, InputError, MissingError, UnavailableError
from runtime.events import Citation, Done, Failed, SectionsFound, Stored, Token, Understood
from runtime.journal.journal import Journal
from tests.support.server import ANSWER, EN, connect, listening_port, serving, turn_states, wait_for


@pytest.fixture
def home(make_home: Callable[..., Path], scripted_gguf: Path) -> Path:
    return make_home(scripted_gguf, name="一个 home with spaces")


@pytest.fixture
def endless_home(make_home: Callable[..., Path], endless_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answers without end, at the pace of the disk: every piece is stored before the next is sent."""
    monkeypatch.setenv("EDGEDESK_DRAFT_EVERY_S", "0")
    return make_home(endless_gguf, context_tokens=60000, answer_tokens=55000)


def test_ask_status_articles_and_search_over_the_socket(home: Path) -> None:
    with serving(home):
        client = Client(home)
        events = list(client.ask(EN))
        assert [type(event) for event in events[:3]] == [Stored, Understood, SectionsFound]
        done = events[-1]
        assert isinstance(done, Done)
        assert done.answer == ANSWER
        assert done.citations[0].article == "returns-window"
        wait_for(lambda: client.status()["active"] == 0)  # The place is given back after the last event is sent.
        status = client.status()
        assert status == {
            "state": "ready", "bundle": "shop", "version": "1", "model": "q4_k_m", "languages": ["en"], "active": 0,
            "aside": 0, "dropped": 0,
            "ahead": {"drafts": 0, "used": 0, "tokens_written": 0, "tokens_wasted": 0, "processor_s": 0.0},
            "engine": "ready", "waiting": 1,
        }  # fmt: skip
        article = client.article("returns-window", "zh")
        assert article["title"] == "退货期限"
        assert [one["section"] for one in article["sections"]] == ["how-long", "christmas"]
        assert Citation.model_validate(article["sections"][0]).text == "大多数商品可在送达或自提后30天内退货。"
        with pytest.raises(MissingError):
            client.article("nothing")
        hits = client.search("标准配送费是多少？", limit=1)
        assert [(hit.article, hit.lang) for hit in hits] == [("delivery-standard", "zh")]


async def test_the_same_for_an_event_loop(home: Path) -> None:
    with serving(home):
        client = Client(home)
        events = [event async for event in client.ask_async(EN)]
        assert isinstance(events[-1], Done)
        assert "".join(event.text for event in events if isinstance(event, Token)) == ANSWER
        assert (await client.status_async())["state"] == "ready"
        assert (await client.article_async("returns-window"))["lang"] in ("en", "zh")
        assert await client.search_async("delivery", lang="en", limit=2)


def test_what_is_wrong_with_a_request_is_said_in_the_errors_own_form(home: Path) -> None:
    with serving(home), connect(home) as http:
        for body, status, what in (
            (b"{", 422, "not JSON"),
            (b'{"question": ""}', 422, "question"),
            (b'{"question": "x", "colour": 1}', 422, "colour"),
            (b'{"question": "\xff"}', 422, ""),
            (json.dumps({"question": "长" * 4001}).encode(), 413, "4,001 characters, 4,000 are allowed"),
            (json.dumps({"question": "货" * 1800}).encode(), 413, "tokens"),
            (b'{"question": "' + b"x" * 300_000 + b'"}', 413, "256 KiB"),
        ):
            got = http.post("/v1/ask", content=body)
            assert got.status_code == status, (body[:40], got.text)
            said = got.json()
            assert said["error"] == "InputError"
            assert what in said["what"]
            assert said["exit_code"] == 3
        assert http.get("/v1/search", params={"q": "x", "limit": "many"}).status_code == 422
        assert http.get("/v1/search").json()["error"] == "InputError"
        for page in ("/docs", "/redoc"):
            assert http.get(page).status_code == 404
        with reachable(socket_path(home)) as name, socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(name)
            stranger.sendall(b"\x00\xff not http at all\r\n\r\n")
            stranger.recv(1024)
        with pytest.raises(InputError):
            list(Client(home).ask("货" * 1800))
        assert http.get("/readyz").status_code == 200


def test_socket_token_lock_and_journal_are_owner_only_and_tcp_needs_the_token(home: Path, socket_enabled: None) -> None:
    """S13."""
    with serving(home, "--port", "0") as process:
        run = home / "run"
        assert run.stat().st_mode & 0o777 == 0o700
        for path in (run / "edgedesk.sock", run / "token", run / "edgedesk.lock", home / "journal.sqlite"):
            assert path.stat().st_mode & 0o777 == 0o600, path
        port = listening_port(process.pid)
        token = (run / "token").read_text().strip()
        assert len(token) >= 32
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, trust_env=False) as http:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": token}):
                for path in ("/v1/status", "/livez", "/openapi.json"):
                    assert http.get(path, headers=headers).status_code == 401
                assert http.post("/v1/ask", json={"question": EN}, headers=headers).status_code == 401
            right = {"Authorization": f"Bearer {token}"}
            assert http.get("/v1/status", headers=right).json()["state"] == "ready"
            assert ANSWER in http.post("/v1/ask", json={"question": EN}, headers=right).text
    assert list(turn_states(home)) == [EN]


def test_the_tcp_port_speaks_tls_where_it_is_given_a_certificate_and_the_socket_stays_as_it_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket_enabled: None
) -> None:
    """S13."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with: apt-get install openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=shop"]  # type: ignore[list-item]
    subprocess.run([*make, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    monkeypatch.setenv("EDGEDESK_TLS_CERT", str(cert))
    monkeypatch.setenv("EDGEDESK_TLS_KEY", str(key))
    with serving(home, "--port", "0") as process:
        place = f"127.0.0.1:{listening_port(process.pid)}"
        token = {"Authorization": f"Bearer {(home / 'run' / 'token').read_text().strip()}"}
        with httpx.Client(verify=ssl.create_default_context(cafile=cert), trust_env=False) as http:
            assert http.get(f"https://{place}/v1/status", headers=token).json()["state"] == "ready"
            assert http.get(f"https://{place}/v1/status").status_code == 401
            with pytest.raises(httpx.TransportError):
                http.get(f"http://{place}/v1/status", headers=token)
        assert Client(home).status()["state"] == "ready"


def test_a_client_gone_in_mid_stream_frees_its_slot_and_leaves_its_draft(endless_home: Path) -> None:
    """F17."""
    with serving(endless_home):
        client = Client(endless_home)
        for event in client.ask(EN):
            if isinstance(event, Token):
                break
        wait_for(lambda: client.status()["active"] == 0)
        assert turn_states(endless_home)[EN][1] == "cancelled"
        assert turn_states(endless_home)[EN][0].startswith("Yo")


def test_agents_at_once_get_their_own_answers(
    make_home: Callable[..., Path], random_gguf: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F15: every question has an answer of its own, the same as when it is asked alone."""
    home, agents = make_home(random_gguf, answer_tokens=12), 8

    def ask(number: int, name: str = "alone") -> tuple[str, str]:
        drawn = {"temperature": 1.0, "seed": number}
        events = list(Client(home).ask(f"{EN} ({number})", conversation=f"{name}-{number}", **drawn))
        assert isinstance(events[0], Stored)
        assert isinstance(events[-1], Done)
        text = "".join(event.text for event in events if isinstance(event, Token))
        assert text.strip() == events[-1].answer
        return events[0].conversation, events[-1].answer

    with serving(home), ThreadPoolExecutor(agents) as pool:
        alone = [ask(number)[1] for number in range(agents)]
        got = list(pool.map(ask, range(agents), ["together"] * agents))
    assert len(set(alone)) > agents // 2, "the model answers everything alike: mixed-up answers would pass"
    assert got == [(f"together-{number}", alone[number]) for number in range(agents)]
    assert all(state == "complete" for _, state in turn_states(home).values())
    with Journal(home / "journal.sqlite") as journal:
        assert journal._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    count_trials("F15", agents)


def test_past_its_limit_the_server_refuses_at_once_and_finishes_what_it_accepted(
    endless_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of F16: the refusal."""
    monkeypatch.setenv("EDGEDESK_QUEUE_LIMIT", "1")
    with serving(endless_home):
        streams = [Client(endless_home).ask(f"{EN} {number}") for number in range(2)]
        assert all(isinstance(next(stream), Stored) for stream in streams)
        with pytest.raises(UnavailableError, match="2 questions are in work"):
            list(Client(endless_home).ask("one too many"))
        for stream in streams:
            stream.close()  # type: ignore[attr-defined]
        wait_for(lambda: Client(endless_home).status()["active"] == 0)
        assert isinstance(next(Client(endless_home).ask("now again")), Stored)
    assert "one too many" not in turn_states(endless_home)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_streams_with_an_error_keeps_drafts_and_leaves_no_socket(
    endless_home: Path, sign: signal.Signals
) -> None:
    with serving(endless_home) as process:
        events = []
        for event in Client(endless_home).ask(EN):
            events.append(event)
            if len(events) == 10:
                process.send_signal(sign)
        assert process.wait(timeout=30) == 0
        assert isinstance(events[-1], Failed)
        assert "stopping" in events[-1].what
        assert not socket_path(endless_home).exists()
    draft, state = turn_states(endless_home)[EN]
    assert state == "cancelled"
    assert draft


def test_after_a_kill_the_draft_is_marked_and_a_new_server_takes_the_place(endless_home: Path) -> None:
    """F8."""
    with serving(endless_home) as process:
        stream = Client(endless_home).ask(EN)
        for event in stream:
            if isinstance(event, Token) and turn_states(endless_home)[EN][0]:
                break
        process.kill()
        process.wait()
        with pytest.raises(UnavailableError, match="went away"):
            list(stream)
    assert socket_path(endless_home).exists()
    assert turn_states(endless_home)[EN][1] == "open"
    with serving(endless_home):
        draft, state = turn_states(endless_home)[EN]
        assert state == "partial"
        assert draft
        assert Client(endless_home).is_ready()


def test_a_second_server_on_the_same_home_is_refused_at_once_naming_the_first(
    home: Path, count_trials: Callable[[str, int], None]
) -> None:
    """F14, for servers."""
    with serving(home) as first:
        second = subprocess.run(
            [sys.executable, "-m", "runtime.cli.main", "serve", "--home", home], capture_output=True, text=True
        )
        assert second.returncode == ExitCode.BUSY
        assert f"edgedesk serve (process {first.pid})" in second.stderr
        with pytest.raises(BusyError), lock_home(home, "test"):
            pass
        assert Client(home).is_ready()
    count_trials("F14", 1)


def test_a_home_deeper_than_a_socket_path_may_be_long_works(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf, name="/".join(["a folder deep inside"] * 8))
    assert len(str(socket_path(home))) > 108
    with serving(home):
        assert Client(home).status()["state"] == "ready"


def test_ensure_server_starts_one_when_none_runs_stops_only_its_own_and_tells_why_it_cannot(
    home: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match="no server is running"):
        Client(home).status()
    with ensure_server(home) as client:
        assert client.is_ready()
        with ensure_server(home) as again:
            assert again.is_ready()
        assert client.is_ready()
    assert not client.is_alive()
    with pytest.raises(UnavailableError, match="no bundle is installed"):
        ensure_server(tmp_path / "empty")


def test_a_bundle_whose_model_does_not_load_ends_the_server_with_the_models_error(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    model = next((home / "current" / "model").glob("*.gguf"))
    os.truncate(model, 20000)  # after the install, which refuses such a file
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "serve", "--home", home], capture_output=True, text=True
    )
    assert done.returncode == ExitCode.MODEL
    assert "ends behind the file's end" in done.stderr
    assert "Traceback" not in done.stderr
