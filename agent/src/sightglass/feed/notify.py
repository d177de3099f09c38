"""Messages to systemd's notification socket."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send `state` (for example "READY=1") to systemd; does nothing where no service manager listens.

    Errors: OSError when the manager's socket does not take the message.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(1)
        sock.sendto(state.encode(), address)
