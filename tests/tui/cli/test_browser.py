"""The console in a browser: on this machine only, for whoever was given the address, with nothing from elsewhere."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import UnavailableError
from tests.support.paths import ROOT
from tui.cli.browser import HOST, _listen, policy, refused


@pytest.mark.parametrize(
    ("host", "origin", "token", "why"),
    [
        ("127.0.0.1:8000", "", "s", ""),
        ("localhost:8000", "http://localhost:8000", "s", ""),
        ("127.0.0.1:8000", "", "", "open the address"),
        ("127.0.0.1:8000", "", "guess", "open the address"),
        ("127.0.0.1:8000", "http://evil.example", "s", "another origin"),
        ("127.0.0.1:8000", "http://127.0.0.1:9000", "s", "another origin"),
        ("evil.example:8000", "", "s", "another host"),
        ("127.0.0.1:8000", "null", "s", "another origin"),
    ],
)
def test_strangers_are_refused(host: str, origin: str, token: str, why: str) -> None:
    said = refused(host, origin, token, 8000, "s")
    assert said.startswith(why) if why else said == ""


def test_the_policy_names_no_other_machine() -> None:
    assert set(re.findall(r"//([^:; ]+)", policy(8000))) == {"127.0.0.1", "localhost"}


@pytest.mark.enable_socket
def test_a_port_in_use_is_said() -> None:
    with socket.socket() as line:
        line.bind((HOST, 0))
        line.listen()
        with pytest.raises(UnavailableError, match="cannot be had"):
            _listen(line.getsockname()[1])


@pytest.mark.enable_socket
async def test_the_real_console_runs_in_a_page_and_strangers_see_nothing(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    pytest.importorskip("textual_serve", reason="the console's browser extra is not installed")
    home = make_home(scripted_gguf)
    with socket.socket() as line:
        line.bind((HOST, 0))
        port = line.getsockname()[1]
    program = [sys.executable, "edgedesk.py", "console", "--home", str(home), "--lang", "zh", "--browser", str(port)]
    server = subprocess.Popen(  # noqa: ASYNC220 - it is to outlive this line
        program, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr
    address = re.search(r"http://\S+", server.stderr.readline())
    assert address
    base = f"http://{HOST}:{port}"
    try:
        async with aiohttp.ClientSession() as stranger:
            for path in ("/", "/static/js/textual.js", "/ws"):
                assert (await stranger.get(base + path)).status == 403
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as agent:
            page = await agent.get(address[0])
            text = await page.text()
            assert page.status == 200
            assert "token" not in str(page.url)
            assert {url.split("/")[2] for url in re.findall(r"(?:https?|wss?)://[^\"']+", text)} == {f"{HOST}:{port}"}
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await agent.ws_connect(f"{base}/ws", headers={"Origin": "http://evil.example"})
            async with agent.ws_connect(f"{base}/ws?width=100&height=30", headers={"Origin": base}) as screen:
                painted = b""
                while "就绪" not in painted.decode("utf-8", "ignore"):
                    message = await screen.receive(timeout=60)
                    assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
                    painted += message.data if isinstance(message.data, bytes) else message.data.encode()
    finally:
        server.terminate()
        server.wait(30)
        server.stderr.close()
