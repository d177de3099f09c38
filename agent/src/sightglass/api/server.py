"""uvicorn on the socket that systemd made (uvicorn's own would be world-writable), with the caller's credentials."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import socket
import struct
from typing import Any

import uvicorn

from sightglass.api.app import make
from sightglass.api.port import AgentPort, Caller
from sightglass.httpserver import HangUps, Prompt, Server

TAKE_S = 10.0
"""How long an answer may wait to be taken. The socket is local: who asks and does not read is no operator at work."""
MOST = 64
MOST_EACH = 32
"""Connections at once, and those of one account among them: none keeps the others from asking."""
_GRACE_S = 1


def caller(connection: socket.socket) -> Caller:
    """The process at the other end, by the kernel's word (SO_PEERCRED, of when it connected): uid and primary group.

    Its other groups are not the kernel's word but the host's user database's, asked now: who was taken out of the
    operators' group is none any more, also in a session from before.
    """
    _, uid, gid = _credentials(connection)
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        return Caller(uid, f"uid {uid}", ())
    names = []
    for group in os.getgrouplist(user, gid):
        with contextlib.suppress(KeyError):
            names.append(grp.getgrgid(group).gr_name)
    return Caller(uid, user, tuple(names))


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return pid, uid, gid


class _WithCaller(Prompt):
    """A connection of a known account: one of few, and hung up on when its answer is not taken within TAKE_S."""

    uid = -1
    _untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        _, self.uid, _ = _credentials(peer)
        if sum(other.uid == self.uid for other in self.connections if isinstance(other, _WithCaller)) > MOST_EACH:
            self.connections.discard(self)
            transport.abort()
            return
        self.app_state = {**self.app_state, "caller": caller(peer)}
        # Whatever the kernel has not taken counts: a rest in the transport's own buffer keeps a closed one alive, too.
        transport.set_write_buffer_limits(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self.loop.call_later(TAKE_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def _taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None


async def serve(port: AgentPort, fd: int, stop: asyncio.Event) -> None:
    """Serve the routes until told to stop."""
    config = uvicorn.Config(
        HangUps(make(port)),
        http=_WithCaller,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        access_log=False,
        limit_concurrency=MOST,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = Server(config)  # the agent closes the window first when it is told to stop
    listener = socket.socket(fileno=fd)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        server.should_exit = True
        await task
