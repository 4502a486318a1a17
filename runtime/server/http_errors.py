"""Errors as HTTP answers: one mapping from the error tree to status codes, two forms of the body.

The plain form is `EdgedeskError.to_dict`, which the client turns back into the same class. The endpoints that other
programs know from OpenAI answer in OpenAI's form.
"""

from __future__ import annotations

from starlette.responses import JSONResponse

from runtime.errors import (
    BusyError,
    EdgedeskError,
    InputError,
    MissingError,
    SpaceError,
    UnavailableError,
    UsageError,
)


class OversizedError(InputError):
    """An `InputError` for which HTTP has a status of its own; clients see an `InputError`."""

    def to_dict(self) -> dict[str, str | int]:
        """As the public class."""
        return {**super().to_dict(), "error": InputError.__name__}


class ForbiddenError(UsageError):
    """A `UsageError` of a caller who may not do this; clients see a `UsageError`."""

    def to_dict(self) -> dict[str, str | int]:
        """As the public class."""
        return {**super().to_dict(), "error": UsageError.__name__}


# The first class that fits decides, so a subclass stands before its base.
_STATUS: tuple[tuple[type[EdgedeskError], int], ...] = (
    (OversizedError, 413),
    (InputError, 422),
    (ForbiddenError, 403),
    (MissingError, 404),
    (BusyError, 409),
    (UnavailableError, 503),
    (SpaceError, 507),
)


def http_status(error: EdgedeskError) -> int:
    """The status code of an error; 500 for one that is no fault of the request."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_response(error: EdgedeskError, status: int | None = None) -> JSONResponse:
    """An error in the plain form."""
    return JSONResponse(error.to_dict(), status_code=status or http_status(error))


def openai_error(error: EdgedeskError, status: int | None = None) -> dict[str, dict[str, str | None]]:
    """The body of an error in OpenAI's form."""
    status = status or _openai_status(error)
    code = {400: "invalid_value", 404: "model_not_found", 413: "context_length_exceeded"}.get(status, "unavailable")
    kind = "invalid_request_error" if status < 500 else "server_error"
    message = f"{error}. {error.hint}" if error.hint else str(error)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def openai_error_response(error: EdgedeskError) -> JSONResponse:
    """An error in OpenAI's form; where it pays to try again, the client is asked to wait a second."""
    status = _openai_status(error)
    headers = {"retry-after": "1"} if status == 503 else None
    return JSONResponse(openai_error(error, status), status_code=status, headers=headers)


def _openai_status(error: EdgedeskError) -> int:
    # OpenAI's clients know 400 as the status of a wrong request; 422 they would raise as another class.
    status = http_status(error)
    return 400 if status == 422 else status
