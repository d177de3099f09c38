"""The kernel's list of sockets, by sock_diag: the shape of a question, and of what is said of each socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from sightglass import netlink

FAMILIES: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBBI48s")
_ID = struct.Struct("!HH16s16s")
_NO_COOKIE = b"\xff" * 8


def request(family: int, protocol: int, states: int, sock_id: bytes) -> bytes:
    """inet_diag_req_v2: `states` is a bit for each, `sock_id` the 48 bytes of a socket's id or a pattern of it."""
    return _REQUEST.pack(family, protocol, 0, 0, states, sock_id)


def dump(link: socket.socket, family: int, protocol: int, states: int, port: int = 0) -> Iterator[bytes]:
    """An inet_diag_msg for each socket in one of these states, of a local port or (0) of all. Raises OSError."""
    wanted = _ID.pack(port, 0, bytes(16), bytes(16)) + bytes(4) + _NO_COOKIE
    return netlink.ask(link, _BY_FAMILY, netlink.DUMP, request(family, protocol, states, wanted))


def address(family: int, packed: bytes) -> IPv4Address | IPv6Address:
    """One of a socket's two addresses, of 16 bytes; IPv4 also where a wildcard listener holds it as IPv6."""
    if family == socket.AF_INET:
        return IPv4Address(packed[:4])
    found = IPv6Address(packed)
    return found.ipv4_mapped or found
