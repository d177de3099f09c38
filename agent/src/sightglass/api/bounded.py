"""A bound on what a caller may send, before anything reads it."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 16384


class Bounded:
    """Ends a request (413) as soon as its body is longer than MOST_BODY bytes, whatever length it announced.

    FastAPI's own limit answers in plain text; here every answer has one shape.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BODY:
                raise HTTPException(413)
            return message

        await self._app(scope, bounded, send)
