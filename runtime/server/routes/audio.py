"""Speech in OpenAI's form: a recording in, what is said in it out.

    POST /v1/audio/transcriptions   multipart/form-data: file, model, language, response_format

Promises: a recording is held in memory, heard in a process of its own with bounded memory and time, and never stored;
its text goes to the caller alone, who may then ask with it. A body is read no further than its bound; recordings take
turns with pictures (`runtime.server.attachment_queue`), since another model may be answering on the same cores.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from runtime.base.validation import first_problem
from runtime.errors import EdgedeskError, InputError, MissingError
from runtime.perception.attachment import MAX_BYTES, Attachment, attach
from runtime.perception.attachment_text import AttachmentText
from runtime.perception.bounded_child import need_extra
from runtime.perception.speech_models import SpeechModels, bundle_speech
from runtime.server.http_errors import OversizedError, openai_error_response
from runtime.server.service import Service
from runtime.server.streams import run_while_connected

MAX_RECORDING_BYTES = MAX_BYTES["recording"]
_MAX_FORM_BYTES = MAX_RECORDING_BYTES + 64 * 1024
"""With the other fields and the lines around them."""
_HINT = "see docs/reference/api.md"
_FORM = "multipart/form-data"
_AS_FORM = f"send {_FORM}, as curl -F file=@question.flac -F model=… does"
_LANGUAGE = re.compile(r"[a-z]{2}")


class TranscriptionForm(BaseModel):
    """The fields beside the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, max_length=200)
    """`<bundle>-speech`, or a recogniser's own name."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    response_format: Literal["json", "text", "verbose_json"] = "json"
    prompt: Literal[""] | None = None
    """Hints are not taken: recognisers here know none."""
    temperature: float | None = Field(default=None, ge=0, le=0)
    stream: Literal["false", "False"] | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _require_no_prompt(cls, given: object) -> object:
        if given:
            raise ValueError("it is not supported, leave it out")
        return given

    @field_validator("language", mode="before")
    @classmethod
    def _require_two_letters(cls, given: object) -> object:
        if isinstance(given, str) and not _LANGUAGE.fullmatch(given):
            raise ValueError("must be two letters, such as en")
        return given


def routes(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter(prefix="/v1")
    transcriptions = Transcriptions(service)
    router.add_api_route(
        "/audio/transcriptions",
        transcriptions.transcribe,
        methods=["POST"],
        response_model=None,
        openapi_extra=_documented(),
    )
    return router


class Transcriptions:
    """The endpoint of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def transcribe(self, request: Request) -> Response:
        """What is said in a recording."""
        try:
            models = bundle_speech(self._service.bundle)
            need_extra("python_multipart", what="hearing a recording")
            with self._service.attachments.place():
                form, recording = await _read(request)
                lang = self._language(form, models)
                work = self._service.attachments.hear(recording, models, lang)
                heard = await run_while_connected(work, request.receive)
        except EdgedeskError as error:
            return openai_error_response(error)
        return _answer(form, heard, lang)

    def _language(self, form: TranscriptionForm, models: SpeechModels) -> str:
        """The language to listen in; `MissingError` for a model or a language that is not there."""
        ours = f"{self._service.bundle.info.name}-speech"
        if form.model == ours:
            return models.recogniser(form.language).language
        for one in models.info.recognisers:
            if one.name == form.model and form.language in (None, one.language):
                return one.language
        names = ", ".join((ours, *(one.name for one in models.info.recognisers)))
        raise MissingError(f"no model '{form.model[:100]}' for this", hint=f"there is {names}")


async def _read(request: Request) -> tuple[TranscriptionForm, Attachment]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise InputError("not a form with a file", hint=_AS_FORM)
    try:
        form = await _InMemory(request.headers, _bounded(request), max_files=1, max_fields=16).parse()
        try:
            return await _fields(form)
        finally:
            await form.close()
    except MultiPartException as error:
        raise InputError(f"not a form with a file ({error.message[:100]})", hint=_AS_FORM) from None


class _InMemory(MultiPartParser):
    """Starlette's parser writes larger files to the disk; a recording is not to lie there."""

    spool_max_size = _MAX_FORM_BYTES


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > _MAX_FORM_BYTES:
            raise OversizedError(
                f"the recording is over {MAX_RECORDING_BYTES >> 20} MiB", hint="send a shorter one, or as FLAC or OGG"
            )
        yield chunk


async def _fields(form: FormData) -> tuple[TranscriptionForm, Attachment]:
    file, texts = None, {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "file":
            file = value
        elif isinstance(value, str) and name == "timestamp_granularities[]" and value == "segment":
            continue  # what verbose_json gives anyway
        elif name == "file":
            raise InputError("field 'file' must be an upload, not text", hint=_AS_FORM)
        else:
            texts[name] = value
    try:
        read = TranscriptionForm.model_validate(texts)
    except ValidationError as error:
        problem = first_problem(error, "field", TranscriptionForm)
        raise InputError(problem.sentence, hint=problem.hint or _HINT) from None
    if file is None:
        raise InputError("the form has no field 'file' with a recording", hint=_HINT)
    recording = attach(await file.read(), file.filename or "")
    if recording.kind != "recording":
        raise InputError("the file is a picture, not a recording", hint="send WAV, FLAC, OGG or MP3")
    return read, recording


def _answer(form: TranscriptionForm, heard: AttachmentText, lang: str) -> Response:
    if form.response_format == "text":
        return PlainTextResponse(heard.text + "\n")
    answer: dict[str, Any] = {"text": heard.text}
    if form.response_format == "verbose_json":
        segments = [
            {"id": number, "start": line.interval.start_s, "end": line.interval.end_s, "text": line.text}
            for number, line in enumerate(heard.lines)
            if line.interval is not None
        ]
        answer |= {"task": "transcribe", "language": lang, "duration": heard.duration_s, "segments": segments}
    return JSONResponse(answer)


def _documented() -> dict[str, Any]:
    schema = TranscriptionForm.model_json_schema()
    schema["properties"]["file"] = {"type": "string", "format": "binary", "description": "WAV, FLAC, OGG or MP3"}
    schema["required"] = ["file", "model"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
