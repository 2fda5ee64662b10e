"""What every request passes first: who asks, for whom, and how much it brings.

Another site in the user's browser could send requests here, or have its own name point here (DNS
rebinding): both are refused. Nothing of a body is kept past its limit, and a connection that brings
nothing for a while, or its body too slowly, is given up.
"""

import asyncio
import hmac
import time
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audiolm.server.answers import PATIENCE
from audiolm.server.refusals import RefusedError, busy, error_answer

FORM_BYTES = 64 * 1024
"""What the fields of a form and its separators may take beside the file."""

BODY_SECONDS = 600.0
"""Within which all of a body has to come: one that trickles keeps a place from others."""

LINGER = 1.0
"""Seconds for which what is too large is let pass after it was refused."""

OPEN_TO_ALL = ("/v1/health",)
"""What of /v1 needs no token."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-cache",
}
"""Of every answer. A browser that heeds them runs no script and loads nothing but this page's."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class Gate:
    """Refuses what should not come in; the rest goes on to `app`.

    Args:
        app: what is behind it.
        upload_bytes: of a file.
        token: what /v1 asks for; nothing when None, and then only loopback names are answered to.
        most_open: requests with a body that may be open at once, those included that are answered.
    """

    def __init__(
        self, app: ASGIApp, upload_bytes: int, token: str | None, most_open: int = 64
    ) -> None:
        self.app = app
        self.most_open = most_open
        self.upload_bytes = upload_bytes
        self.token = token
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        body = Body(receive, self.upload_bytes)
        has_body = scope["method"] not in ("GET", "HEAD")

        closes = False

        async def send_with_headers(message: Message) -> None:
            nonlocal closes
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                closes = message["status"] in (408, 413) and has_body and not body.ended
                if closes:
                    headers["Connection"] = "close"
            elif closes and "expect" not in Headers(scope=scope):  # else it asks before it sends
                # The whole answer, before its end, with which the server closes the connection.
                await send({**message, "more_body": True})
                await body.let_pass()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        self._open += has_body
        try:
            self._check(scope)
            await self.app(scope, body.receive, send_with_headers)
        except (
            RefusedError
        ) as refusal:  # before an answer has begun: `app` turns its own into answers
            await error_answer(refusal)(scope, receive, send_with_headers)
        finally:
            self._open -= has_body

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.token is None and _name(host) not in LOOPBACK_NAMES:
            raise RefusedError(403, f"host: {host[:60]!r} is not this machine; start with --token")
        origin = headers.get("origin")
        if headers.get("sec-fetch-site") == "cross-site" or (
            origin is not None and _netloc(origin) != host
        ):
            raise RefusedError(
                403, "origin: another site may not ask; open the page of this server"
            )
        path: str = scope["path"]
        if path.startswith("/v1") and path not in OPEN_TO_ALL and not self._knows_token(headers):
            raise RefusedError(
                401,
                "token: missing or wrong; send the header Authorization: Bearer TOKEN, with what "
                "was printed at start",
                {"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.upload_bytes + FORM_BYTES:
            raise too_large(self.upload_bytes)
        if self._open > self.most_open:
            raise busy(2)

    def _knows_token(self, headers: Headers) -> bool:
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return same and kind.lower() == "bearer"


class Body:
    """What comes with a request: refused past its limit, and where it does not come.

    Args:
        receive: that of the server.
        upload_bytes: of the file in it.
    """

    def __init__(self, receive: Receive, upload_bytes: int) -> None:
        self._receive = receive
        self._upload_bytes = upload_bytes
        self._came = 0
        self._deadline = time.monotonic() + BODY_SECONDS
        self.ended = False

    async def receive(self) -> Message:
        """The next message.

        Raises:
            RefusedError: 408, nothing came for a while, or not all of it in time; 413, it is too
                large.
        """
        if self.ended:  # only the client's leaving is waited for
            return await self._receive()
        patience = min(PATIENCE, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._next(), patience)
        except TimeoutError:
            raise RefusedError(
                408,
                f"body: nothing came for {PATIENCE:g} s, or not all of it in {BODY_SECONDS:g} s; "
                "send it again",
            ) from None
        self._came += len(message.get("body", b""))
        if self._came > self._upload_bytes + FORM_BYTES:
            raise too_large(self._upload_bytes)
        return message

    async def let_pass(self) -> None:
        """What is on its way, for a moment: a client whose connection is closed while it sends may
        never read the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while not self.ended:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def too_large(upload_bytes: int) -> RefusedError:
    """What came, or would come, is larger than a file may be."""
    return RefusedError(
        413, f"body: is larger than {upload_bytes / 1e6:g} MB; send a shorter recording"
    )


def _netloc(origin: str) -> str | None:
    """Host and port in an Origin header; None where it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
