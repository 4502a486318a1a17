"""Every endpoint of the OpenAPI document, with inputs that schemathesis makes up: none ends in a 5xx."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from runtime.base.home import lock_home
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.server.app import create_app
from runtime.server.service import Service

EXAMPLES = 4
"""For each endpoint."""


def test_no_input_ends_in_an_error_of_ours(make_home: Callable[..., Path], scripted_gguf: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="./build.sh setup")
    home = make_home(scripted_gguf, answer_tokens=8)
    seen: dict[str, set[int]] = {}
    with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
        service = Service(home, Settings(threads=1))
        service.desk = desk
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the test client that schemathesis brings
            schema = schemathesis.openapi.from_asgi("/openapi.json", _as_over_the_socket(create_app(service)))
            for found in schema.get_all_operations():
                operation = found.ok()
                if operation.path == "/metrics":
                    continue  # tests/runtime/server/routes/test_api.py reads it

                def check(case: object) -> None:
                    got = case.call()  # type: ignore[attr-defined]
                    seen.setdefault(f"{case.method} {case.path}", set()).add(got.status_code)  # type: ignore[attr-defined]
                    assert got.status_code < 500, got.text

                bounded = settings(
                    max_examples=EXAMPLES,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.explicit, Phase.generate],
                )
                test = bounded(_given(operation, check))
                test()
        # Messages that wanted a draft may still be drafted, which needs the desk.
        service.stop()
        service.wait_for_answers()
    assert {"POST /v1/ask", "POST /v1/chat/completions", "POST /v1/embeddings", "GET /v1/search"} <= seen.keys()
    assert 200 in seen["POST /v1/ask"]


def _as_over_the_socket(app: Any) -> Any:
    """The test client calls itself port 80, where a token would be asked for."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "server": ("edgedesk", None)} if scope["type"] == "http" else scope, receive, send)

    return call


def _given(operation: object, check: Callable[[object], None]) -> Callable[[], None]:
    from hypothesis import given

    return given(case=operation.as_strategy())(lambda case: check(case))  # type: ignore[attr-defined, no-any-return]
