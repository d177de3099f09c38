"""The sockets that systemd hands over."""

from __future__ import annotations

import os

_FIRST_FD = 3


def listen_fds() -> dict[str, int]:
    """The sockets that systemd passed, by FileDescriptorName=. Empty when they were meant for another process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {name: _FIRST_FD + index for index, name in enumerate(names[: int(os.environ.get("LISTEN_FDS", "0"))])}
