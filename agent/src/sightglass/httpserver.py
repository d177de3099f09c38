"""uvicorn beside other work in one process, for the agent's API and the console's page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 5.0
"""How long a request may take to arrive. What a viewer asks is a few kilobytes."""


class Server(uvicorn.Server):
    """Leaves signals to the process: what SIGTERM ends there is more than this server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Prompt(H11Protocol):
    """A connection that is hung up on when its first request, or any that has begun, is not whole within REQUEST_S.

    uvicorn's own clock runs between an answer and the next byte only: half a request held a place for ever, and the
    places are few. Bytes that trickle in do not wind this clock up again.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The first request is due."""
        super().connection_made(transport)
        self._late = self.loop.call_later(REQUEST_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request, or its end."""
        super().data_received(data)
        self._look(h11.IDLE, h11.SEND_BODY)

    def on_response_complete(self) -> None:
        """The next request may be here already, without its body."""
        super().on_response_complete()
        self._look(h11.SEND_BODY)

    def _look(self, *unfinished: Any) -> None:
        if self.conn.their_state not in unfinished:
            self._stop()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class HangUps:
    """Takes a client that goes away in the middle of its request, and a request that the process's own end cuts off,
    for what they are: not one traceback each."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Nobody but a server that ends cancels a request, and each is a task of its own."""
        with contextlib.suppress(ClientDisconnect, asyncio.CancelledError):
            await self._app(scope, receive, send)
