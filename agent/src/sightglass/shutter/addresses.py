"""Which addresses stand on an interface, from the kernel itself."""

from __future__ import annotations

import ipaddress
import socket
import struct

from sightglass import netlink
from sightglass.shutter.verbs import Address

_GETADDR = 22
_IFADDRMSG = struct.Struct("=BBBBI")
_ADDRESS, _LOCAL = 1, 2


def on_interface(name: str) -> frozenset[Address]:
    """This host's addresses on the named interface; none when it does not exist. Raises OSError."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return frozenset()
    found: set[Address] = set()
    with netlink.connect(netlink.ROUTE) as link:
        for body in netlink.ask(link, _GETADDR, netlink.DUMP, _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            if _IFADDRMSG.unpack_from(body)[4] != index:
                continue
            given = dict(netlink.attributes(body[_IFADDRMSG.size :]))
            # On a point-to-point link IFA_ADDRESS is the other end.
            raw = given.get(_LOCAL) or given.get(_ADDRESS)
            if raw is not None:
                found.add(ipaddress.ip_address(raw))
    return frozenset(found)
