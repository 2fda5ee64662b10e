"""Whatever goes wrong with a request: one line of JSON, as the command line says it, and a status.

400 bad input · 401 no token · 403 another site asks · 404 · 408 too slow · 413 too large ·
422 a field · 503 busy, with Retry-After · 500 a fault of ours.
"""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from audiolm.errors import AudioLMError, ConfigurationError

LONGEST = 400
"""Letters of a line: what a request said is repeated in it."""


class RefusedError(AudioLMError):
    """A request is refused, with this status.

    Args:
        status: of HTTP.
        message: one line.
        headers: what else the answer says.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def busy(seconds: int) -> RefusedError:
    """All places are taken; ask again after so many seconds."""
    return RefusedError(
        503, f"busy: ask again in {seconds} s, as Retry-After says", {"Retry-After": str(seconds)}
    )


def error_answer(error: Exception) -> JSONResponse:
    """The answer to a request that went wrong."""
    headers: dict[str, str] = {}
    if isinstance(error, RefusedError):
        status, message, headers = error.status, str(error), error.headers
    elif isinstance(error, HTTPException):  # of the routes: 404, 405; of a form: 400
        status, message = error.status_code, error.detail
        headers = dict(error.headers or {})
        if message == HTTPStatus(status).phrase:
            message = f"{message.lower()}; /openapi.json lists what there is"
    elif isinstance(error, ClientDisconnect):  # nobody is there to read it, and it is no fault
        status, message = 400, "body: was cut off; send it again"
    elif isinstance(error, ConfigurationError):  # it names the field
        status, message = 422, str(error)
    elif isinstance(error, AudioLMError):
        status, message = 400, str(error)
    else:
        status, message = 500, f"{type(error).__name__}; a fault of ours, the server's log has it"
    return JSONResponse({"error": " ".join(message.split())[:LONGEST]}, status, headers)
