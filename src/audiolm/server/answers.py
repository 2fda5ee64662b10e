"""An answer sent as it is made, to a client that may go away at any time.

The status is sent with the first piece: until then an error has a status of its own. When the
client goes, or takes nothing for a while, the work ends. Work that fails half-way ends the
connection, so that no client takes a part for the whole.
"""

import asyncio
import logging

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from audiolm.server.refusals import error_answer
from audiolm.server.work import Gone, Job

PATIENCE = 30.0
"""Seconds that a client may take nothing."""

_log = logging.getLogger("uvicorn.error")


class JobAnswer(Response):
    """What a job makes, in chunks.

    Args:
        job: the work.
        media_type: of what it makes.
        headers: what else to say.
    """

    def __init__(self, job: Job, media_type: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]  # not known: the answer comes in chunks
        self.job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is made until it ends or the client goes."""
        gone = asyncio.create_task(_until_gone(receive))
        sending = asyncio.create_task(self._send(scope, receive, send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            self.job.stop()
            gone.cancel()
            sending.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        started = False
        try:
            async for piece in self.job.pieces():
                if not started:
                    started = True
                    await _to_client(send, start | {"headers": self.raw_headers})
                body = {"type": "http.response.body", "body": piece, "more_body": True}
                await _to_client(send, body)
        except Gone:
            return
        except Exception as error:
            answer = error_answer(error)
            if answer.status_code == 500 or started:
                _log.error("%s: %s", scope["path"], error, exc_info=error)
            if not started:
                await answer(scope, receive, send)
            return  # half-way: the server closes a connection whose answer was not ended
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _to_client(send: Send, message: Message) -> None:
    """Send a message.

    Raises:
        Gone: the client has left, or takes nothing. (What the work itself raises is never this: an
            `OSError` of a full disk is a fault of ours, and told.)
    """
    try:
        await asyncio.wait_for(send(message), PATIENCE)
    except (OSError, TimeoutError):
        raise Gone from None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
