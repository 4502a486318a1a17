"""The application: every endpoint, and how an error looks.

Promises: every refusal is the error's JSON (under /v1/chat, /v1/models and /v1/embeddings in OpenAI's form); an error
nobody expected is a 500 that says nothing of what was asked.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from runtime import __version__
from runtime.errors import BusyError, EdgedeskError, InputError, MissingError, UnavailableError
from runtime.server.limits import RequestLimits
from runtime.server.request_bodies import OversizedError
from runtime.server.routes import conversations, health, inbox, knowledge, openai, typing
from runtime.server.service import Service


def create_app(service: Service) -> Any:
    """The ASGI application of one server."""
    # No documentation pages: they load their scripts from the network. The document itself is /openapi.json.
    app = FastAPI(title="Edgedesk", version=__version__, docs_url=None, redoc_url=None)
    for part in (health, knowledge, conversations, inbox, typing, openai):
        app.include_router(part.routes(service))

    @app.exception_handler(EdgedeskError)
    async def refuse(_: Request, error: EdgedeskError) -> JSONResponse:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _refusal(InputError(f"parameter '{first['loc'][-1]}': {first['msg'].lower()}"))

    @app.exception_handler(HTTPException)
    async def refuse_route(_: Request, error: HTTPException) -> JSONResponse:
        what = "no such page" if error.status_code == 404 else str(error.detail).lower()
        said = MissingError(what, hint="see /openapi.json")
        return JSONResponse(said.as_dict(), status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> JSONResponse:
        return _refusal(EdgedeskError("something went wrong inside", hint="the server's log says where"))

    return RequestLimits(app, service)


def _refusal(error: EdgedeskError) -> JSONResponse:
    kinds: tuple[tuple[type[EdgedeskError], int], ...] = (
        (OversizedError, 413),
        (InputError, 422),
        (MissingError, 404),
        (BusyError, 409),
        (UnavailableError, 503),
    )
    status = next((code for kind, code in kinds if isinstance(error, kind)), 500)
    said = error.as_dict()
    if isinstance(error, OversizedError):
        said["error"] = InputError.__name__
    return JSONResponse(said, status_code=status)
