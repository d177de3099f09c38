"""The camera's picture over HTTP: every client gets the newest frame it can take, and none holds up another."""

import asyncio
import logging

_LOG = logging.getLogger("parking.mjpeg")
PATH = "/mjpeg/cam1"
_BOUNDARY = "parking-frame"
_MOST_CLIENTS = 16
_REQUEST_S, _TAKE_S = 5.0, 30.0
_SEND_BUFFER = 64 * 1024
_HEAD = (
    "HTTP/1.0 200 OK\r\nCache-Control: no-store\r\nConnection: close\r\n"
    f"Content-Type: multipart/x-mixed-replace; boundary={_BOUNDARY}\r\n\r\n"
).encode()


class MjpegServer:
    """Serves GET /mjpeg/cam1. While nobody calls `show`, connections stay open and silent."""

    def __init__(self) -> None:
        self._jpeg = b""
        self._shown = 0
        self._news = asyncio.Condition()
        self._clients = 0

    @property
    def clients(self) -> int:
        """How many take the picture."""
        return self._clients

    async def show(self, jpeg: bytes) -> None:
        """Makes a JPEG the newest frame."""
        async with self._news:
            self._jpeg, self._shown = jpeg, self._shown + 1
            self._news.notify_all()

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Starts listening; OSError when the address is taken."""
        return await asyncio.start_server(self._client, host, port, limit=8192)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A small buffer: what is written has to be taken soon, or newer frames replace it.
        writer.transport.set_write_buffer_limits(high=_SEND_BUFFER)
        try:
            async with asyncio.timeout(_REQUEST_S):
                request = await reader.readuntil(b"\r\n\r\n")
            method, path, *_ = [*request.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
            if method != "GET" or path != PATH:
                writer.write(b"HTTP/1.0 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            elif self._clients >= _MOST_CLIENTS:
                writer.write(b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            else:
                await self._stream(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            # Cancelled only when the program ends; asyncio 3.11 would print a traceback for each client.
            pass
        finally:
            writer.close()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        _LOG.info("mjpeg: %d clients", self._clients)
        gone = asyncio.ensure_future(_until_end(reader))
        frames = asyncio.ensure_future(self._frames(writer))
        try:
            await asyncio.wait({gone, frames}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, frames):
                task.cancel()
            await asyncio.gather(gone, frames, return_exceptions=True)
            # Not closed: that would wait for a client that takes nothing.
            writer.transport.abort()
            self._clients -= 1
            _LOG.info("mjpeg: %d clients", self._clients)

    async def _frames(self, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD)
        seen = self._shown
        while True:
            async with self._news:
                while self._shown == seen:
                    await self._news.wait()
                seen, jpeg = self._shown, self._jpeg
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            writer.write(head.encode() + jpeg + b"\r\n")
            async with asyncio.timeout(_TAKE_S):
                await writer.drain()


async def _until_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass
