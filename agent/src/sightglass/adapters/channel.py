"""The agent's side of a channel with one of a window's processes: it connects, gets its job, and is heard line by line.

The listening socket is systemd's and stands always; a connection outside a window, or of another user, is dropped at
once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from sightglass.adapters import clock

log = logging.getLogger(__name__)

LINE_BYTES = 4096
LINES_A_SECOND = 50
"""More is held back, in the process's own socket: a process that is taken over must not keep the agent's loop, and with
it a cut, busy with its lines. A feed needs some five, a console one at each page that opens or goes."""


class Channel(ABC):
    """Serves one process at a time. `changed` is called at each line, and when the process is lost."""

    def __init__(self, name: str, uid: int, changed: Callable[[], None]) -> None:
        self._name, self._uid, self._changed = name, uid, changed
        self._job: dict[str, Any] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.lost = False

    async def serve(self, fd: int, stop: asyncio.Event) -> None:
        """Accept on systemd's socket until told to stop."""
        listener = socket.socket(fileno=fd)
        server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_BYTES)
        async with server:
            await stop.wait()

    def offer(self, job: dict[str, Any]) -> None:
        """From now on a process that connects gets this job."""
        self._job, self.lost = job, False

    def withdraw(self) -> None:
        """No job any more: the process that is there loses its channel, and with it its life."""
        self._job = None
        if self._writer is not None:
            self._writer.transport.abort()

    @abstractmethod
    def heard(self, message: Any) -> None:
        """Take one message. May raise what a message of another shape raises: then the channel breaks."""

    def send(self, message: dict[str, Any]) -> None:
        """One line to the process that is there."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    @property
    def connected(self) -> bool:
        """Whether the process is there."""
        return self._writer is not None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job = self._job
        if job is None or self._writer is not None or _peer_uid(writer) != self._uid:
            writer.transport.abort()
            return
        self._writer = writer
        try:
            self.send({"job": job})
            await self._hear(reader)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            log.warning("%s: its channel broke: %r", self._name, error)
        finally:
            writer.transport.abort()
            self._writer = None
            if self._job is job:
                self.lost = True
            self._changed()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        began, lines = clock.boottime(), 0
        while line := await reader.readline():
            self.heard(json.loads(line))
            self._changed()
            lines += 1
            if lines >= LINES_A_SECOND:
                await asyncio.sleep(max(0.0, began + 1 - clock.boottime()))
                began, lines = clock.boottime(), 0


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[1])
