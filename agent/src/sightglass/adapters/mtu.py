"""How large packets may be, by the kernel's word."""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path

_SIOCGIFMTU = 0x8921


def mtu(interface: str) -> int | None:
    """Of an interface, in bytes; None when there is no such interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFMTU, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
        return int(struct.unpack_from("=i", answer, 16)[0])


def uplink(routes: Path = Path("/proc/net/route")) -> tuple[str, int | None]:
    """The interface of the IPv4 default route and its packets' size; ("", None) when there is none."""
    try:
        rows = [line.split() for line in routes.read_text().splitlines()[1:]]
    except OSError:
        return "", None
    names = [row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"]
    return (names[0], mtu(names[0])) if names else ("", None)
