"""Destroy TCP sockets as `ss -K` does: a sock_diag dump, then SOCK_DESTROY, each by the kernel's cookie.

The peer gets its reset at once. A deleted nft element alone stops every byte, but leaves the viewer hanging.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection

from sightglass import netlink, sockdiag
from sightglass.shutter.verbs import Address

_DESTROY = 21
# Every state that can still carry a byte. Not LISTEN: a listener carries none, and somebody else may own it.
_STATES = sum(1 << state for state in (1, 2, 3, 4, 5, 8, 9, 11, 12))
_GONE = (errno.ENOENT, errno.ESTALE)


def destroy(ports: Collection[int], peers: Collection[Address] | None = None) -> int:
    """Destroy the TCP sockets whose local port is in `ports`; only those towards `peers` when given.

    Returns how many. A socket that ends by itself meanwhile counts as success. Raises OSError.
    """
    doomed: list[tuple[int, bytes]] = []
    with netlink.connect(netlink.SOCK_DIAG) as link:
        for family in sockdiag.FAMILIES:
            for port in ports:
                for body in sockdiag.dump(link, family, socket.IPPROTO_TCP, _STATES, port):
                    # inet_diag_msg: family, state, timer, retransmits, then the socket's id.
                    sock_id = body[4:52]
                    if body[0] == family and (peers is None or sockdiag.address(family, sock_id[20:36]) in peers):
                        doomed.append((family, sock_id))
        for family, sock_id in doomed:
            request = sockdiag.request(family, socket.IPPROTO_TCP, _STATES, sock_id)
            try:
                list(netlink.ask(link, _DESTROY, netlink.ACK, request))
            except netlink.NetlinkError as error:
                if error.errno not in _GONE:
                    raise
    return len(doomed)
