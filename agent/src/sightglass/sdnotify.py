"""Messages of agent and feed to systemd's notification socket.

The shutter has its own: it holds a capability, and its tests prove that it needs nothing beside its package.
"""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send `state` (for example "READY=1") to systemd; does nothing where no service manager listens.

    A manager that is too busy to take it loses the message: the service's work must not wait for it.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            sock.sendto(state.encode(), address)
