"""The application: every endpoint, and how an error looks.

Promises: every refusal is the error's JSON (under /v1/chat, /v1/models, /v1/embeddings and /v1/audio in OpenAI's form);
an error nobody expected is a 500 that says nothing of what was asked.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from runtime import __version__
from runtime.base.validation import first_problem
from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.server.http_errors import error_response
from runtime.server.limits import RequestLimits
from runtime.server.routes import (
    attachments,
    audio,
    conversations,
    health,
    inbox,
    knowledge,
    openai,
    outbox,
    receipt,
    typing,
)
from runtime.server.service import Service


def create_app(service: Service) -> Any:
    """The ASGI application of one server."""
    # No documentation pages: they load their scripts from the network. The document itself is /openapi.json.
    app = FastAPI(title="Edgedesk", version=__version__, docs_url=None, redoc_url=None)
    for part in (health, knowledge, conversations, attachments, inbox, outbox, receipt, typing, openai, audio):
        app.include_router(part.routes(service))

    @app.exception_handler(EdgedeskError)
    async def refuse(_: Request, error: EdgedeskError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI puts the part of the request first: ("query", "limit").
        found = [{**each, "loc": each["loc"][1:]} for each in error.errors()]
        return error_response(InputError(first_problem(found, "parameter").sentence, hint="see /openapi.json"))

    @app.exception_handler(HTTPException)
    async def refuse_route(_: Request, error: HTTPException) -> JSONResponse:
        what = "no such page" if error.status_code == 404 else str(error.detail).lower()
        response = error_response(MissingError(what, hint="see /openapi.json"), error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> JSONResponse:
        return error_response(EdgedeskError("something went wrong inside", hint="the server's log says where"))

    return RequestLimits(app, service)
