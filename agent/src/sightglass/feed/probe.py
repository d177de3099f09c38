"""Whether the stream server is awake: it must answer a question of ours twice a second.

A frame that is written says little: with the server stopped, the socket's buffers took frames for a minute (4 MB of
them), and only then did writing block.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from sightglass.feed.encode import PublishError, masked

_EVERY_S = 0.5
_ANSWER = 4096


class Probe:
    """A connection beside the publisher's that asks for OPTIONS, which needs no permission. Never waits once open."""

    def __init__(self, url: str, now: float) -> None:
        """Connect to the server of `url`; PublishError when it does not take the connection within a second."""
        parts = urlsplit(url)
        self._name = masked(url)
        self._question = f"OPTIONS rtsp://{parts.netloc.rpartition('@')[2]}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
        self._asked: float | None = None
        self._buffer = b""
        self._answered = now
        try:
            self._sock = socket.create_connection((parts.hostname or "", parts.port or 554), timeout=1)
            self._sock.setblocking(False)
        except OSError as error:
            raise self._gone(error.strerror or type(error).__name__) from None

    def answered(self, now: float) -> float:
        """Ask again when it is time, and give the monotonic time of the last answer; PublishError at the end."""
        try:
            if self._asked is not None and self._has_answer():
                self._answered, self._asked = now, None
            if self._asked is None and now - self._answered >= _EVERY_S:
                self._sock.send(self._question)
                self._asked = now
        except BlockingIOError:
            pass
        except OSError as error:
            raise self._gone(error.strerror or type(error).__name__) from None
        return self._answered

    def close(self) -> None:
        """Disconnect."""
        self._sock.close()

    def _has_answer(self) -> bool:
        data = self._sock.recv(_ANSWER)
        if not data:
            raise self._gone("the server hung up")
        self._buffer = (self._buffer + data)[-_ANSWER:]
        if b"\r\n\r\n" not in self._buffer:
            return False
        self._buffer = b""
        return True

    def _gone(self, why: str) -> PublishError:
        return PublishError(f"asking {self._name}: {why}")
