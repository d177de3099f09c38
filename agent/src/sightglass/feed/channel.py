"""The unix channel to the agent: lines of JSON, bounded in length and in time."""

from __future__ import annotations

import socket
import time
from collections import deque

from sightglass.feed.job import FeedError

MAX_LINE = 4096


class ChannelError(FeedError):
    """The agent broke the framing, does not read, or did not speak in time."""


class Channel:
    """One connection to the agent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""
        self._lines: deque[bytes] = deque()

    @classmethod
    def connect(cls, path: str, seconds: float) -> Channel:
        """Connect to the socket at `path`; ChannelError when it takes no connection within `seconds`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(seconds)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise ChannelError(f"cannot connect to the agent at {path}: {error.strerror or error}") from None
        return cls(sock)

    def first_line(self, seconds: float) -> bytes | None:
        """The first line, or None at the end of the channel; ChannelError after `seconds` without one."""
        deadline = time.monotonic() + seconds
        while not self._lines:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                if not self._receive():
                    return None
            except TimeoutError:
                raise ChannelError(f"the agent sent no job within {seconds:g} s") from None
        return self._lines.popleft()

    def read_lines(self) -> list[bytes] | None:
        """The complete lines that are there now, or None at the end of the channel. Never waits."""
        self.sock.setblocking(False)
        try:
            alive = self._receive()
        except BlockingIOError:
            alive = True
        lines = list(self._lines)
        self._lines.clear()
        return lines if alive else None

    def send(self, line: bytes) -> None:
        """Send one line; ChannelError when the agent has not read for so long that it does not fit any more."""
        # A report is small against the socket's buffer of some 200 KB: only an agent that stands still fills it.
        self.sock.settimeout(0.1)
        try:
            self.sock.sendall(line)
        except OSError as error:
            raise ChannelError(f"the agent does not take reports: {error.strerror or error}") from None

    def _receive(self) -> bool:
        try:
            data = self.sock.recv(MAX_LINE)
        except ConnectionResetError:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if any(len(line) >= MAX_LINE for line in (*lines, self._buffer)):
            raise ChannelError(f"a line from the agent must be shorter than {MAX_LINE} bytes")
        self._lines.extend(lines)
        return bool(data)
