"""The source: MJPEG over HTTP, of which only the newest frame is kept.

Read by hand, not by cv2.VideoCapture: that one queues frames inside, tells no time of arrival, cannot be bounded in
time or size, and needs OpenCV. This module needs none, so the first frame is already there when OpenCV is loaded.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from dataclasses import dataclass
from http.client import HTTPException, parse_headers
from urllib.parse import urlsplit

from sightglass.feed.backoff import Backoff
from sightglass.feed.multipart import MAX_HEAD, Multipart, SourceError, boundary_of

log = logging.getLogger("sightglass.feed")

SILENCE_S = 2.0  # without a new frame for so long the connection counts as gone
_CHUNK = 256 * 1024
_DRAIN = 16 * _CHUNK


@dataclass(frozen=True)
class Frame:
    """One JPEG as the source sent it; `at` is monotonic, `captured` is seconds since 1970, both at its arrival."""

    jpeg: bytes
    number: int
    at: float
    captured: float


class Source(threading.Thread):
    """Reads one camera's stream for ever, connecting again when it ends."""

    def __init__(self, camera: str, url: str) -> None:
        super().__init__(name=f"source-{camera}", daemon=True)
        self._camera = camera
        self._url = url
        self._latest: Frame | None = None
        self._stopped = threading.Event()
        self._backoff = Backoff(0.05, 2.0)

    @property
    def latest(self) -> Frame | None:
        """The newest frame, however old it is; None before the first one."""
        return self._latest

    def stop(self) -> None:
        """Let the thread end within SILENCE_S."""
        self._stopped.set()

    def run(self) -> None:
        """Read until stopped. A source that is gone is tried again with growing waits, and named once in the log."""
        said = ""
        while not self._stopped.is_set():
            before = self._latest
            try:
                self._read()
            except (OSError, SourceError, HTTPException) as error:
                why = str(error) or type(error).__name__
                if why != said or self._latest is not before:
                    log.warning("%s: source: %s", self._camera, why)
                    said = why
            self._stopped.wait(self._backoff.next())

    def _read(self) -> None:
        url = urlsplit(self._url)
        address = (url.hostname or "", url.port or 80)
        with socket.create_connection(address, timeout=SILENCE_S) as sock:
            # HTTP/1.0, because an HTTP/1.1 server may wrap the stream into chunks.
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            sock.sendall(f"GET {target} HTTP/1.0\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode())
            parser, rest = answer(sock)
            deadline = time.monotonic() + SILENCE_S
            parts = parser.feed(rest)
            while not self._stopped.is_set():
                if parts and self._offer(parts[-1]):
                    deadline = time.monotonic() + SILENCE_S
                parts = _receive(sock, parser, deadline)

    def _offer(self, jpeg: bytes) -> bool:
        last = self._latest
        # A hung camera server repeats its last JPEG for ever. Sensor noise makes two real pictures differ, so equal
        # bytes are an old picture with a new date.
        if last is not None and last.jpeg == jpeg:
            return False
        self._latest = Frame(jpeg, last.number + 1 if last else 1, time.monotonic(), time.time())
        self._backoff.reset()
        return True


def answer(sock: socket.socket) -> tuple[Multipart, bytes]:
    """Read the HTTP head; gives the parser for the body, and the first bytes of it."""
    deadline = time.monotonic() + SILENCE_S
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > MAX_HEAD:
            raise SourceError(f"the HTTP head is longer than {MAX_HEAD} bytes")
        data += chunk(sock, deadline)
    head, rest = data.split(b"\r\n\r\n", 1)
    status, _, fields = head.partition(b"\r\n")
    words = status.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or words[1] != b"200":
        raise SourceError(f"the server answers {status[:60].decode('latin-1')!r}, not 200")
    headers = parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    return Multipart(boundary_of(headers.get("Content-Type", ""))), rest


def chunk(sock: socket.socket, deadline: float) -> bytes:
    sock.settimeout(max(deadline - time.monotonic(), 0.001))
    try:
        data = sock.recv(_CHUNK)
    except TimeoutError:
        raise SourceError(f"no new frame for {SILENCE_S:g} s") from None
    if not data:
        raise SourceError("the server ended the stream")
    return data


def _receive(sock: socket.socket, parser: Multipart, deadline: float) -> list[bytes]:
    """The parts completed by what waits in the socket: after a pause of this process only the last one is new."""
    parts = parser.feed(chunk(sock, deadline))
    sock.setblocking(False)
    for _ in range(_DRAIN // _CHUNK):
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            break
        if not data:
            break
        parts += parser.feed(data)
    return parts[-1:]
