"""The few bytes of netlink that we speak ourselves: send one request, read a dump. No policy."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

ROUTE, SOCK_DIAG, NETFILTER = 0, 4, 12
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=LHHLL")
_ANSWER_S = 1.0
"""The kernel answers within the call; a second means that something is broken."""


class NetlinkError(OSError):
    """The kernel refused a request, or did not answer."""


def connect(protocol: int, groups: int = 0) -> socket.socket:
    """A netlink socket with a deadline on every wait. Raises OSError."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    made.bind((0, groups))
    made.settimeout(_ANSWER_S)
    return made


def ask(link: socket.socket, kind: int, flags: int, payload: bytes) -> Iterator[bytes]:
    """Send one request and yield the bodies of its answers. Raises NetlinkError with the kernel's errno."""
    link.send(_HEADER.pack(_HEADER.size + len(payload), kind, flags | REQUEST, 1, 0) + payload)
    while True:
        data, at = link.recv(1 << 16), 0
        while at < len(data):
            length, answer, _, _, _ = _HEADER.unpack_from(data, at)
            body, at = data[at + _HEADER.size : at + length], at + ((length + 3) & ~3)
            if answer in (_DONE, _ERROR):
                # A dump that the kernel cannot make, for want of a module, says so where it is done, and is not empty.
                (errno,) = struct.unpack_from("=i", body) if len(body) >= 4 else (0,)
                if errno < 0:
                    raise NetlinkError(-errno, "netlink refused the request")
                return
            yield body


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (type, value) pairs of a row of netlink attributes."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]
