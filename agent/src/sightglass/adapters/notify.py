"""systemd's notification socket and the sockets it hands over."""

from __future__ import annotations

import os
import socket

_FIRST_FD = 3


def notify(message: str) -> None:
    """Send `READY=1`, `WATCHDOG=1` … to systemd; without systemd nothing happens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)


def listen_fds() -> dict[str, int]:
    """The sockets that systemd passed, by FileDescriptorName=. Empty when they were meant for another process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {name: _FIRST_FD + index for index, name in enumerate(names[: int(os.environ.get("LISTEN_FDS", "0"))])}
