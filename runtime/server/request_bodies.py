"""Reads a request's body: bounded, checked against its model, refused in the error's own form."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from runtime.base.validation import first_problem
from runtime.errors import InputError
from runtime.server.http_errors import OversizedError

MAX_BODY_BYTES = 256 * 1024
"""Far above any question; what is longer is not read."""
Model = TypeVar("Model", bound=BaseModel)


async def read_bytes(request: Request, max_bytes: int = MAX_BODY_BYTES, hint: str = "ask a shorter question") -> bytes:
    """The body; `OversizedError` when it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise OversizedError(f"the body is over {max_bytes // 1024:,} KiB", hint=hint)
    return bytes(body)


def parse(body: bytes, model: type[Model], hint: str) -> Model:
    """The body as `model`; `InputError` naming what does not fit."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problem = first_problem(error, "field", model)
        raise InputError(problem.sentence, hint=problem.hint or hint) from None


def validate(body: dict[str, Any], model: type[Model], hint: str) -> Model:
    """A body that is read already as `model`; `InputError` naming what does not fit."""
    return parse(json.dumps(body).encode(), model, hint)  # JSON's rules: a list is a tuple, a string no number


async def read_body(request: Request, model: type[Model], hint: str) -> Model:
    """The request's body as `model`."""
    return parse(await read_bytes(request), model, hint)


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra`: the body's schema, for endpoints that read it themselves."""
    schema = model.model_json_schema(ref_template=f"#/components/schemas/{model.__name__}.{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _flat(schema)}}}}


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without `$defs`: what it refers to stands where it is used."""
    definitions = schema.pop("$defs", {})

    def put(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return put(definitions[node["$ref"].rsplit(".", 1)[-1]])
            return {key: put(value) for key, value in node.items()}
        return [put(item) for item in node] if isinstance(node, list) else node

    flat: dict[str, Any] = put(schema)
    return flat
