"""What strangers may hold of a server."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from runtime.base.home import reachable, socket_path
from runtime.client.client import Client
from runtime.server.connections import BoundedListener, TimedProtocol, tcp_connection_limit
from tests.support.server import listening_port, serving, wait_for

FILES = 200
HALF_OPEN = 260


class Hasty(TimedProtocol):
    head_timeout_s = body_timeout_s = 0.05


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


async def serve(app: Any, path: Path) -> asyncio.Server:
    config = uvicorn.Config(app, http=Hasty, lifespan="off", log_level="critical")
    config.load()
    loop, state = asyncio.get_running_loop(), uvicorn.server.ServerState()
    return await loop.create_unix_server(
        lambda: Hasty(config=config, server_state=state, app_state={}, _loop=loop), str(path)
    )


def test_half_open_connections_never_keep_the_owner_out(
    make_home: Callable[..., Path], scripted_gguf: Path, socket_enabled: None, count_trials: Callable[[str, int], None]
) -> None:
    """S13: connections without a token that send half a head, more of them than the server may open files."""
    home = make_home(scripted_gguf)
    command = [sys.executable, "-m", "runtime.cli.main", "serve", "--home", home, "--port", "0"]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=limit_files) as process,
        ExitStack() as stack,
    ):
        try:
            assert process.stderr
            assert any(line.startswith("ready") for line in process.stderr)
            port = listening_port(process.pid)
            for _ in range(HALF_OPEN):
                stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                stranger.sendall(b"GET /livez HTTP/1.1\r\nHost: x")
            for _ in range(3):
                assert Client(home).status()["state"] == "ready"
            count_trials("S13", HALF_OPEN)
            token = (home / "run" / "token").read_text().strip()

            def answers_over_tcp() -> bool:
                try:
                    headers = {"Authorization": f"Bearer {token}"}
                    url = f"http://127.0.0.1:{port}/livez"
                    return httpx.get(url, headers=headers, trust_env=False, timeout=2).status_code == 200
                except httpx.TransportError:
                    return False

            wait_for(answers_over_tcp)  # as soon as the strangers' time is over
        finally:
            process.terminate()


def test_strangers_bytes_are_no_line_of_the_servers_output(
    make_home: Callable[..., Path], scripted_gguf: Path, socket_enabled: None
) -> None:
    """Whoever reaches the port could fill the disk with them."""
    with serving(make_home(scripted_gguf), "--port", "0") as process:
        port = listening_port(process.pid)
        for sent in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"x" * 100_000, b"POST / HTTP/9.9\r\nA\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as stranger, suppress(OSError):
                stranger.sendall(sent)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
        process.terminate()
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "sent", [b"", b"POST / HTTP/1.1\r\nHost: x", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"]
)
async def test_request_that_does_not_arrive_in_time_is_cut(sent: bytes, tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    server = await serve(app, tmp_path / "socket")
    async with server:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
        writer.write(sent)
        with suppress(ConnectionResetError):  # where what the peer had sent was not read to its end
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        if b"Content-Length" in sent:
            await ended.wait()


async def test_answer_that_takes_longer_than_its_request_may_is_not_cut(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with await serve(app, tmp_path / "socket"):
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "socket"))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            assert (await http.post("/", content=b"abc")).text == "ok"


def test_listener_closes_connections_above_its_limit_until_older_ones_close(tmp_path: Path) -> None:
    plain = socket.socket(socket.AF_UNIX)
    plain.bind(str(tmp_path / "socket"))
    with BoundedListener(plain, 2) as listener, ExitStack() as clients:
        listener.listen()

        def connect() -> None:
            clients.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "socket"))

        taken = []
        for _ in range(2):
            connect()
            taken.append(listener.accept()[0])
        connect()
        with pytest.raises(BlockingIOError):
            listener.accept()
        taken.pop().close()
        connect()
        taken.append(listener.accept()[0])
        for one in (*taken, *taken):  # closing twice counts once
            one.close()
        for _ in range(2):
            connect()
            listener.accept()[0].close()


def test_port_has_at_most_what_leaves_descriptors_for_everything_else() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 16 <= tcp_connection_limit() <= max(16, soft - 100)


HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Drip: "
BODY = b"POST /v1/ask HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{"


def test_stop_is_not_held_by_clients_that_drip(
    make_home: Callable[..., Path], scripted_gguf: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S13: heads and bodies of which a byte comes again and again, so that no wait for the next one ever ends."""
    home = make_home(scripted_gguf)
    ended = threading.Event()

    def drip(stranger: socket.socket) -> None:
        with suppress(OSError):
            while not ended.wait(0.05):
                stranger.sendall(b"x")

    with serving(home) as process, ExitStack() as stack:
        drips = []
        for beginning in (HEAD, BODY) * 2:
            stranger = stack.enter_context(socket.socket(socket.AF_UNIX))
            with reachable(socket_path(home)) as name:
                stranger.connect(name)
            stranger.sendall(beginning)
            drips.append(threading.Thread(target=drip, args=(stranger,), daemon=True))
            drips[-1].start()
        assert Client(home).status()["state"] == "ready"
        process.terminate()
        try:
            assert process.wait(timeout=60) == 0
        finally:
            ended.set()
            for thread in drips:
                thread.join()
    assert not socket_path(home).exists()
    count_trials("S13", len(drips))
