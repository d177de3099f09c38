"""MediaMTX's auth hook: on 127.0.0.1 during a window only, at a random path, answered from fresh knowledge.

MediaMTX asks inside its single path-manager goroutine, so an answer must be quick: a slow one stalls every other join.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import h11

ASK_S = 2.0
_BODY_BYTES = 8192
_MOST_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Ask:
    """What MediaMTX asks: may `address` do `action` on `camera`, with these credentials (empty when none came).

    `query` is that of the request; the console puts the viewer's address into it.
    """

    address: str
    action: str
    camera: str
    protocol: str
    user: str
    password: str
    query: str


Decide = Callable[[Ask], Awaitable[bool]]


class Hook:
    """One listener; `start` before the window's processes, `stop` after them."""

    def __init__(self, path: str, decide: Decide) -> None:
        self._path, self._decide = path, decide
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def start(self, port: int) -> None:
        """Listen. Raises OSError when somebody else has the port: then nobody but us may answer, so nothing opens."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            self._server = await asyncio.start_server(self._serve, sock=listener)
        except OSError as error:
            listener.close()
            raise OSError(f"tcp 127.0.0.1:{port}, where joins are checked: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), ASK_S)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MOST_CONNECTIONS:
                async with asyncio.timeout(ASK_S):
                    allowed = await self._answer(reader)
                    status = b"204 No Content" if allowed else b"403 Forbidden"
                    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    await writer.drain()
        except (OSError, TimeoutError, h11.RemoteProtocolError):
            pass  # no answer is a no
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        wire = h11.Connection(h11.SERVER)
        body = bytearray()
        request: h11.Request | None = None
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await reader.read(_BODY_BYTES))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _BODY_BYTES:
                    return False
            else:
                break
        if request is None or request.method != b"POST" or request.target != self._path.encode():
            return False
        ask = _ask(bytes(body))
        return ask is not None and await self._decide(ask)


def _ask(body: bytes) -> Ask | None:
    try:
        fields: Any = json.loads(body)
        return Ask(
            address=str(fields["ip"]),
            action=str(fields["action"]),
            camera=str(fields["path"]),
            protocol=str(fields["protocol"]),
            user=str(fields["user"]),
            password=str(fields["password"]),
            query=str(fields["query"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
