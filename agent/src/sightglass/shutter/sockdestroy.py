"""Destroy TCP sockets as `ss -K` does: a sock_diag dump, then SOCK_DESTROY, each by the kernel's cookie.

The peer gets its reset at once. A deleted nft element alone stops every byte, but leaves the viewer hanging.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Collection

from sightglass import netlink
from sightglass.shutter.verbs import Address

_BY_FAMILY, _DESTROY = 20, 21
_ID = struct.Struct("!HH16s16s")
_REQUEST = struct.Struct("=BBBBI48s")
_NO_COOKIE = b"\xff" * 8
# Every state that can still carry a byte. Not LISTEN: a listener carries none, and somebody else may own it.
_STATES = sum(1 << state for state in (1, 2, 3, 4, 5, 8, 9, 11, 12))
_GONE = (errno.ENOENT, errno.ESTALE)
_LENGTHS: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}


def _peer(family: int, sock_id: bytes) -> Address:
    address = ipaddress.ip_address(sock_id[20 : 20 + _LENGTHS[family]])
    # A listener bound to every address holds its IPv4 connections as IPv6 sockets.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def destroy(ports: Collection[int], peers: Collection[Address] | None = None) -> int:
    """Destroy the TCP sockets whose local port is in `ports`; only those towards `peers` when given.

    Returns how many. A socket that ends by itself meanwhile counts as success. Raises OSError.
    """
    doomed: list[tuple[int, bytes]] = []
    with netlink.connect(netlink.SOCK_DIAG) as link:
        for family in _LENGTHS:
            for port in ports:
                wanted = _ID.pack(port, 0, bytes(16), bytes(16)) + bytes(4) + _NO_COOKIE
                request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _STATES, wanted)
                for body in netlink.ask(link, _BY_FAMILY, netlink.DUMP, request):
                    # inet_diag_msg: family, state, timer, retransmits, then the socket's id.
                    sock_id = body[4:52]
                    if body[0] == family and (peers is None or _peer(family, sock_id) in peers):
                        doomed.append((family, sock_id))
        for family, sock_id in doomed:
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _STATES, sock_id)
            try:
                list(netlink.ask(link, _DESTROY, netlink.ACK, request))
            except netlink.NetlinkError as error:
                if error.errno not in _GONE:
                    raise
    return len(doomed)
