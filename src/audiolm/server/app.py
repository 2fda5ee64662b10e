"""The application: a request becomes fields and a recording, then work, then an answer.

gate ──► form ──► fields ──► recording ──► queue ──► worker's thread ──► chunks to the client
          413       422         400          503        stops when the client has gone
"""

import asyncio
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from audiolm._version import __version__
from audiolm.errors import AudioLMError
from audiolm.server.answers import JobAnswer
from audiolm.server.fields import Fields, fields_of
from audiolm.server.gate import Gate
from audiolm.server.openapi import description
from audiolm.server.refusals import error_answer
from audiolm.server.served import ServedModel, chosen
from audiolm.server.uploads import read_upload
from audiolm.server.verbs import (
    VERBS,
    Verb,
    check_fields,
    detection,
    encoded,
    heard,
    prompt_length,
)
from audiolm.server.work import Check, Workers

PAGE = Path(__file__).parent / "page"
"""The static files."""

MORE_OPEN = 64
"""Requests that may be open beside those that work or wait: they come in, or are being refused."""

READERS = 2
"""Uploads that are decoded at a time."""


@dataclass(frozen=True)
class Limits:
    """What one server takes on."""

    workers: int = 1
    """Recordings made at a time."""
    queue: int = 8
    """Requests that may wait."""
    upload_bytes: int = 25_000_000
    """Of one file."""
    seconds: float = 60.0
    """That a recording may last which comes in or is made."""


def create_app(
    models: Mapping[str, ServedModel], limits: Limits | None = None, token: str | None = None
) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        models: by the name that requests use; the first one serves those that name none.
        limits: what it takes on.
        token: what requests to /v1 must bear; None where only this machine can ask.
    """
    limits = limits or Limits()
    workers = Workers(limits.workers, limits.queue)
    decoding = asyncio.Semaphore(READERS)
    mimetypes.add_type("text/javascript", ".js")  # some systems say otherwise

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(workers.close)

    async def health(_: Request) -> Response:
        about = {"status": "ok", "version": __version__, "models": list(models)}
        return JSONResponse(about | {"token": token is not None})

    async def about_models(_: Request) -> Response:
        bounds = {"upload_bytes": limits.upload_bytes, "seconds": limits.seconds}
        listed = [model.about() for model in models.values()]
        return JSONResponse({"models": listed, "limits": bounds})

    async def prompt(request: Request) -> Response:
        model = models.get(request.path_params["name"])
        if model is None or model.prompt is None:
            raise HTTPException(404, "prompt: this model brings none; send one of yours")
        return FileResponse(model.prompt)

    async def openapi(_: Request) -> Response:
        return JSONResponse(description())

    def endpoint(verb: Verb) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            async with request.form(max_files=1, max_fields=24, max_part_size=4096) as form:
                fields, upload = fields_of(verb.fields, form, verb.file)
                lm = chosen(models, getattr(fields, "model", None)).lm
                check_fields(lm, fields, limits.seconds)
                workers.require_place()
                async with decoding:
                    end = heard(lm, fields)
                    recording = await asyncio.to_thread(
                        read_upload, upload.file, verb.file, limits.seconds, end
                    )

            def make(check: Check) -> Generator[bytes, None, None]:
                if verb.make is None:
                    assert lm.detector is not None  # `check_fields` has seen it
                    yield json.dumps(detection(lm.detector, recording), allow_nan=False).encode()
                else:
                    yield from encoded(verb.make(lm, recording, fields, check), fields.format)

            job = workers.start(make)
            if not isinstance(fields, Fields):
                return JobAnswer(job, "application/json")
            headers = {"X-Prompt-Samples": str(prompt_length(recording, fields))}
            return JobAnswer(job, f"audio/{fields.format}", headers)

        return answer

    async def on_error(_: Request, error: Exception) -> Response:
        return error_answer(error)

    app = Starlette(
        routes=[
            Mount(
                "/v1",
                routes=[
                    Route("/health", health),
                    Route("/models", about_models),
                    Route("/models/{name}/prompt", prompt),
                    *(Route(f"/{verb.name}", endpoint(verb), methods=["POST"]) for verb in VERBS),
                ],
            ),
            Route("/openapi.json", openapi),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        exception_handlers=dict.fromkeys(
            (HTTPException, AudioLMError, ClientDisconnect, Exception), on_error
        ),
        lifespan=lifespan,
    )
    return Gate(app, limits.upload_bytes, token, MORE_OPEN + limits.workers + limits.queue)
