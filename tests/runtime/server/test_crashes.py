"""A running server whose engine crashes: the answer in work ends, everything else goes on, a bad bundle is given up."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.manifest import write_manifest
from runtime.bundle.generations import current_bundle, install
from runtime.client.client import Client
from runtime.engine.core.crash_report import REFUSED_AFTER
from runtime.errors import UnavailableError
from runtime.events import Done, Failed, Token
from tests.support.server import EN, engine_pid, serving, wait_for


def newer(make_bundle: Callable[..., Path], home: Path, model: Path, *, like: Path | None = None) -> Path:
    """A second bundle, installed over the first, with the prompt of the generation `like`, by default the current."""
    root = make_bundle("second", version="2")
    for name in ("q8_0", "q4_k_m"):
        shutil.copyfile(model, root / "model" / f"{name}.gguf")
    spec = json.loads(((like or current_bundle(home).root) / "prompt.json").read_text(encoding="utf-8"))
    (root / "prompt.json").write_text(json.dumps(spec | {"answer_tokens": 5000, "context_tokens": 8000}))
    write_manifest(root, "bundle", {}, {"name": "shop", "version": "2"})
    install(root, home)
    return root


def test_three_crashes_bring_back_the_generation_before_and_the_server_goes_on(
    make_home: Callable[..., Path], make_bundle: Callable[..., Path], scripted_gguf: Path, endless_gguf: Path
) -> None:
    """F18: SIGSEGV in the middle of answers; started again with back-off; at the third the bundle is given up."""
    home = make_home(scripted_gguf)
    newer(make_bundle, home, endless_gguf)
    client = Client(home)
    with serving(home) as server:
        assert client.status()["version"] == "2"
        for crash in range(3):
            wait_for(lambda: engine_pid(server.pid) is not None)
            # Each in other words: one question alone is refused before it can give a bundle up.
            events = client.ask(f"{EN} ({crash})", conversation=f"talk-{crash}")
            try:
                seen = [next(events)]
                while not isinstance(seen[-1], Token | Failed | Done):
                    seen.append(next(events))
            except UnavailableError:
                pytest.fail("the server went away with its engine")
            if isinstance(seen[-1], Failed):  # it was still being started: refused, and nothing is lost
                assert "started again" in seen[-1].what
            pid = engine_pid(server.pid)
            if pid is not None:
                os.kill(pid, signal.SIGSEGV)
            *_, last = seen + list(events)
            assert isinstance(last, Failed)
            assert client.is_alive()
            wait_for(lambda pid=pid: engine_pid(server.pid) not in (None, pid))  # type: ignore[misc]
        wait_for(lambda: client.is_ready() and client.status()["version"] == "1")
        assert isinstance(list(client.ask(EN))[-1], Done)
        # What was being written when it crashed is there, and marked.
        (turn,) = client._get("/v1/conversations/talk-0")["turns"]
        assert turn["state"] == "failed"
        assert turn["draft"]
    assert current_bundle(home).info.version == "1"


def first_word_then_crash(server: int, client: Client, question: str, conversation: str) -> None:
    """Ask, and crash the engine as soon as it writes."""
    wait_for(lambda: engine_pid(server) is not None and client.status()["engine"] == "ready")
    events = client.ask(question, conversation=conversation)
    for event in events:
        assert not isinstance(event, Failed | Done), event
        if isinstance(event, Token):
            break
    pid = engine_pid(server)
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    *_, last = events
    assert isinstance(last, Failed)


def test_question_that_crashes_the_engine_each_time_is_answered_by_its_article_and_others_go_on(
    make_home: Callable[..., Path], make_bundle: Callable[..., Path], scripted_gguf: Path, endless_gguf: Path
) -> None:
    """One question, asked again and again, takes neither the engine from the others nor the bundle from the branch."""
    home = make_home(scripted_gguf)
    newer(make_bundle, home, endless_gguf)
    client = Client(home)
    with serving(home) as server:
        for time in range(REFUSED_AFTER):
            first_word_then_crash(server.pid, client, EN, f"talk-{time}")
        wait_for(lambda: client.status()["engine"] == "ready")
        before = engine_pid(server.pid)
        for time in range(3):
            last = list(client.ask(EN, conversation=f"again-{time}"))[-1]
            assert isinstance(last, Done)
            assert (last.decided, last.citations[0].article) == ("section", "returns-window")
            assert "30 days" in last.answer
        other = client.ask("What does standard delivery of a parcel cost?")
        assert any(isinstance(event, Token) for event in other)
        other.close()  # type: ignore[attr-defined]
        assert engine_pid(server.pid) == before
        assert client.status()["version"] == "2"


def test_without_a_generation_to_go_back_to_the_engine_is_started_again_and_again(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    with serving(home) as server:
        client = Client(home)
        for _ in range(4):
            wait_for(lambda: engine_pid(server.pid) is not None)
            pid = engine_pid(server.pid)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: engine_pid(server.pid) != pid)  # type: ignore[misc]

        def answered() -> bool:
            return isinstance(list(client.ask(EN))[-1], Done)

        wait_for(answered)
    assert current_bundle(home).info.version == "1"


def crash_engine(server: int, client: Client, conversation: str) -> None:
    """SIGSEGV while the engine is there, and wait until it is there again."""
    wait_for(lambda: engine_pid(server) is not None and client.status()["engine"] == "ready")
    pid = engine_pid(server)
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    wait_for(lambda: engine_pid(server) not in (None, pid))


def test_generation_that_has_answered_is_not_left_for_crashes(
    make_home: Callable[..., Path], make_bundle: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    newer(make_bundle, home, scripted_gguf)
    client, record = Client(home), home / "run" / "generations.json"
    with serving(home) as server:
        assert isinstance(list(client.ask(EN))[-1], Done)
        wait_for(record.is_file)
        assert json.loads(record.read_text()) == {"proven": [2]}
        for crash in range(3):
            crash_engine(server.pid, client, f"talk-{crash}")
        wait_for(lambda: client.status()["engine"] == "ready")
        assert isinstance(list(client.ask(EN))[-1], Done)
    assert current_bundle(home).info.version == "2"


def test_fresh_generation_that_cannot_be_loaded_is_left_for_the_one_before(
    make_home: Callable[..., Path], make_bundle: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    newer(make_bundle, home, scripted_gguf)
    # Cut after it was installed, as by a failing disk: install itself refuses such a file.
    model = current_bundle(home).model_path
    cut = model.read_bytes()[:20000]
    model.unlink()  # the generation before has the same model, which stays as it is
    model.write_bytes(cut)
    with serving(home):
        assert Client(home).status()["version"] == "1"
        assert isinstance(list(Client(home).ask(EN))[-1], Done)
    assert current_bundle(home).info.version == "1"


def test_running_server_never_leaves_its_generation_for_one_that_cannot_be_read(
    make_home: Callable[..., Path], make_bundle: Callable[..., Path], scripted_gguf: Path
) -> None:
    """Damaged after it was installed; the branch answers on, says so in its log, and takes the next whole one."""
    home = make_home(scripted_gguf)
    client = Client(home)
    with serving(home):
        assert client.status()["version"] == "1"
        first = (home / "current").resolve()
        damaged = first.with_name("2")
        shutil.copytree(first, damaged)
        (damaged / "bundle.json").write_bytes((damaged / "bundle.json").read_bytes() + b" ")
        (home / "next").symlink_to(damaged)
        (home / "next").rename(home / "current")
        log = home / "run" / "log.jsonl"
        wait_for(lambda: "unreadable generation" in log.read_text(encoding="utf-8"))
        assert client.status()["version"] == "1"
        assert isinstance(list(client.ask(EN))[-1], Done)
        newer(make_bundle, home, scripted_gguf, like=first)
        wait_for(lambda: (client.status()["version"], client.status()["state"]) == ("2", "ready"))


def test_running_server_goes_back_from_every_generation_that_cannot_be_loaded(
    make_home: Callable[..., Path], make_bundle: Callable[..., Path], scripted_gguf: Path
) -> None:
    """Not only from the first: each is on trial anew, and is not proven by what the one before it answered."""
    home = make_home(scripted_gguf)
    with serving(home):
        for number in (2, 3):
            shutil.copytree((home / "current").resolve(), broken := home / "generations" / str(number))
            (model := next((broken / "model").glob("q4*"))).write_bytes(model.read_bytes()[:20000])
            (home / "next").symlink_to(broken)
            (home / "next").rename(home / "current")
            wait_for(lambda: (home / "current").resolve().name == "1")
            wait_for(lambda: Client(home).status()["state"] == "ready")
            assert isinstance(list(Client(home).ask(EN))[-1], Done)
