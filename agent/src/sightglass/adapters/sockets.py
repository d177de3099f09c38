"""The sockets of this network namespace, by sock_diag: who listens, and who is connected to a port of ours.

Not /proc/net: each page read there walks the table from its start, and a local user with 100 000 UDP sockets made one
look take eight seconds. Here the kernel goes over it once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sightglass import netlink, sockdiag
from sightglass.facts import Listener
from sightglass.viewers import Address

# inet_diag_msg: family, state, timer, retransmits; ports, addresses, interface, cookie; expiry, queues, uid, inode.
_SEEN = struct.Struct("!xBxxHH16s16s")
_UID = struct.Struct("=I")
_UID_AT = 64


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listeners (TCP listening, UDP bound and unconnected) and established TCP connections as (local port, remote)."""

    listeners: frozenset[Listener]
    connected: frozenset[tuple[int, Address]]


def read(uids: Collection[int], ports: Collection[int]) -> Sockets:
    """The listeners of these users or on these ports, and the connections to these ports.

    Raises OSError when the kernel does not tell: an empty answer is not a pass. Slow where there are very many sockets
    (0.4 s for 100 000): not for the loop's own thread.
    """
    listeners: set[Listener] = set()
    connected: set[tuple[int, Address]] = set()
    for protocol, kind, states in (
        ("tcp", socket.IPPROTO_TCP, 1 << sockdiag.LISTEN | 1 << sockdiag.ESTABLISHED),
        ("udp", socket.IPPROTO_UDP, 1 << sockdiag.CLOSE),
    ):
        for family in sockdiag.FAMILIES:
            for state, uid, port, local, remote in _dump(family, kind, states):
                if state == sockdiag.ESTABLISHED:
                    if port in ports:
                        connected.add((port, sockdiag.address(family, remote)))
                elif uid in uids or port in ports:
                    listeners.add(Listener(protocol, str(sockdiag.address(family, local)), port, uid))
    return Sockets(frozenset(listeners), frozenset(connected))


def _dump(family: int, protocol: int, states: int) -> Iterator[tuple[int, int, int, bytes, bytes]]:
    """State, owner, local port, and local and remote address as bytes, of each socket."""
    with netlink.connect(netlink.SOCK_DIAG) as link:
        for body in sockdiag.dump(link, family, protocol, states):
            state, port, _, local, remote = _SEEN.unpack_from(body)
            yield state, _UID.unpack_from(body, _UID_AT)[0], port, local, remote
