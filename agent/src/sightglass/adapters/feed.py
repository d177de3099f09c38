"""The agent's side of the feed's channel: the feed connects, gets its job, reports, and is told what to show.

The channel's listening socket is systemd's and stands always; a connection outside a window, or of another user, is
dropped at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

LINE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class CameraReport:
    """One camera of the feed: frames published, `live|stale|blank|connecting`, age of the last source frame in ms."""

    published: int
    state: str
    age_ms: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """The feed's last report. `show` and `seq` confirm the last order: every frame since carries it."""

    cameras: Mapping[str, CameraReport]
    show: bool
    seq: int


class FeedChannel:
    """Serves one feed at a time. `changed` is called at each report and when the feed is lost."""

    def __init__(self, uid: int, changed: Callable[[], None]) -> None:
        self._uid, self._changed = uid, changed
        self._job: dict[str, Any] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._seq = 0
        self.report: Report | None = None
        self.lost = False

    async def serve(self, fd: int, stop: asyncio.Event) -> None:
        """Accept on systemd's socket until told to stop."""
        listener = socket.socket(fileno=fd)
        server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_BYTES)
        async with server:
            await stop.wait()

    def offer(self, job: dict[str, Any]) -> None:
        """From now on a feed that connects gets this job."""
        self._job, self.report, self.lost, self._seq = job, None, False, 0

    def withdraw(self) -> None:
        """No job any more: the feed that is there loses its channel, and with it its life."""
        self._job = None
        if self._writer is not None:
            self._writer.transport.abort()

    def order_show(self, picture: bool) -> int:
        """Show the picture or a blank slate; returns the number that the confirming report will carry."""
        self._seq += 1
        self._send({"show": picture, "seq": self._seq})
        return self._seq

    def order_keyframe(self, camera: str) -> None:
        """A viewer joins: the next frame of this camera shall be a key frame."""
        self._send({"keyframe": camera})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job = self._job
        if job is None or self._writer is not None or _peer_uid(writer) != self._uid:
            writer.transport.abort()
            return
        self._writer = writer
        try:
            self._send({"job": job})
            while line := await reader.readline():
                self.report = _report(json.loads(line))
                self._changed()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("feed: its channel broke: %r", error)
        finally:
            writer.transport.abort()
            self._writer = None
            if self._job is job:
                self.lost = True
            self._changed()


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[1])


def _report(message: Any) -> Report:
    cameras = {
        str(name): CameraReport(int(seen["published"]), str(seen["state"]), seen.get("age_ms"))
        for name, seen in message["cameras"].items()
    }
    return Report(cameras, bool(message["show"]), int(message.get("seq", 0)))
