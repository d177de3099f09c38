"""The sockets of this network namespace, from /proc/net: who listens, and who is connected to a port of ours."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from sightglass.facts import Listener
from sightglass.viewers import Address

_ESTABLISHED, _CLOSE, _LISTEN = 0x01, 0x07, 0x0A
_PROC = Path("/proc/net")


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listeners (TCP listening, UDP bound and unconnected) and established TCP connections as (local port, remote)."""

    listeners: frozenset[Listener]
    connected: frozenset[tuple[int, Address]]


def read(proc: Path = _PROC) -> Sockets:
    """Read all four tables. Raises OSError or ValueError when one cannot be read: an empty answer is not a pass."""
    listeners: set[Listener] = set()
    connected: set[tuple[int, Address]] = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in (proc / name).read_text().splitlines()[1:]:
            fields = line.split()
            state = int(fields[3], 16)
            local, port = _endpoint(fields[1])
            if state == (_LISTEN if name.startswith("tcp") else _CLOSE):
                listeners.add(Listener(name[:3], str(local), port, int(fields[7])))
            elif state == _ESTABLISHED and name.startswith("tcp"):
                connected.add((port, _endpoint(fields[2])[0]))
    return Sockets(frozenset(listeners), frozenset(connected))


def _endpoint(text: str) -> tuple[Address, int]:
    """`0100007F:1F90` to an address and a port; the kernel prints 32-bit words in host order (little endian here)."""
    raw, _, port = text.partition(":")
    packed = b"".join(bytes.fromhex(raw[at : at + 8])[::-1] for at in range(0, len(raw), 8))
    address: Address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address, int(port, 16)
