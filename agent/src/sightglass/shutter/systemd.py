"""The two things that systemd and the shutter say to each other: the listening socket, and how it is."""

from __future__ import annotations

import os
import socket

_FIRST_FD = 3


def listener() -> socket.socket:
    """The one listening unix stream socket that systemd passed. Raises RuntimeError for anything else."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise RuntimeError("must be started by its socket unit, with one socket")
    passed = socket.socket(fileno=_FIRST_FD)
    if (
        passed.family != socket.AF_UNIX
        or passed.type != socket.SOCK_STREAM
        or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        raise RuntimeError("the passed socket must be a listening unix stream socket")
    passed.set_inheritable(False)
    return passed


def notify(state: str) -> None:
    """Send `READY=1`, `WATCHDOG=1`, … to systemd; nothing when not started by it. Never waits.

    A message that does not fit is dropped: without it the watchdog, or the start's time limit, ends this process.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as line:
        try:
            line.sendto(state.encode(), address)
        except OSError:
            return
