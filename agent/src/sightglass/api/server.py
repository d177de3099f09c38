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
from sightglass.httpserver import Prompt, Server

_GRACE_S = 1


def caller(connection: socket.socket) -> Caller:
    """The process at the other end, by the kernel's word (SO_PEERCRED, of when it connected): uid and primary group.

    Its other groups are not the kernel's word but the host's user database's, asked now: who was taken out of the
    operators' group is none any more, also in a session from before.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, gid = struct.unpack("3i", raw)
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        return Caller(uid, f"uid {uid}", ())
    names = []
    for group in os.getgrouplist(user, gid):
        with contextlib.suppress(KeyError):
            names.append(grp.getgrgid(group).gr_name)
    return Caller(uid, user, tuple(names))


class _WithCaller(Prompt):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        self.app_state = {**self.app_state, "caller": caller(peer)}


async def serve(port: AgentPort, fd: int, stop: asyncio.Event) -> None:
    """Serve the routes until told to stop."""
    config = uvicorn.Config(
        make(port),
        http=_WithCaller,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        access_log=False,
        limit_concurrency=64,
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
