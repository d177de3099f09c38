"""What one VPN client says of itself, asked over its local socket (2 ms, where its command takes 30)."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from lab.paths import LabError
from lab.plan import CONTROL_URL


class _Local(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("local-tailscaled.sock", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def status(path: Path) -> dict[str, Any]:
    """The client's status, as `tailscale status --json` prints it. OSError while it does not answer."""
    connection = _Local(path)
    try:
        connection.request("GET", "/localapi/v0/status")
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise LabError(f"tailscaled: {answer.status} {data.decode(errors='replace')[:200]}")
    result: dict[str, Any] = json.loads(data)
    return result


def addresses(found: dict[str, Any]) -> tuple[str, str] | None:
    """(IPv4, IPv6) from a status, None while the client is not running."""
    own = found.get("TailscaleIPs") or []
    if found.get("BackendState") != "Running" or len(own) != 2:
        return None
    four, six = sorted(own, key=lambda address: ":" in address)
    return four, six


def can_reach(found: dict[str, Any], address: str) -> bool:
    """True when the status lists a peer with this address, and a relay that leads to it.

    A peer is announced first and its relay up to a push delay later. A packet sent in between starts a handshake that
    goes nowhere, and WireGuard tries again after 5 s.
    """
    peers = (found.get("Peer") or {}).values()
    return any(peer.get("Relay") and address in (peer.get("TailscaleIPs") or []) for peer in peers)


def up_words(name: str, key_file: str) -> list[str]:
    """Arguments of `tailscale` that join the lab's VPN."""
    return [
        *("up", f"--login-server={CONTROL_URL}", f"--auth-key=file:{key_file}", f"--hostname={name}"),
        *("--accept-dns=false", "--accept-routes=false", "--timeout=60s"),
    ]
