"""What leaves on an interface: kernel time stamps of outgoing TCP/UDP payload from given source ports.

`wire.py INTERFACE PORT…` prints `ready`, captures until its standard input ends, then prints one JSON line:
`{"packets": n, "bytes": n, "first": unix seconds|null, "last": …}`; payload only, so a reset or an ACK is no media.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys

_SO_TIMESTAMPNS = 35
_OUTGOING = 4


def payload(packet: bytes) -> tuple[int, int]:
    """(source port, payload bytes) of an IP packet; (0, 0) for anything else."""
    if not packet:
        return 0, 0
    version = packet[0] >> 4
    if version == 4:
        header, protocol, end = (packet[0] & 15) * 4, packet[9], struct.unpack_from("!H", packet, 2)[0]
    elif version == 6:
        header, protocol, end = 40, packet[6], 40 + struct.unpack_from("!H", packet, 4)[0]
    else:
        return 0, 0
    if protocol == socket.IPPROTO_TCP:
        size = (packet[header + 12] >> 4) * 4
    elif protocol == socket.IPPROTO_UDP:
        size = 8
    else:
        return 0, 0
    return struct.unpack_from("!H", packet, header)[0], max(0, end - header - size)


def main(interface: str, ports: set[int]) -> None:
    """Capture."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    wire.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    wire.bind((interface, 0))
    seen: dict[str, float | int | None] = {"packets": 0, "bytes": 0, "first": None, "last": None}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        readable, _, _ = select.select([wire, sys.stdin], [], [])
        if wire in readable:
            packet, control, _, address = wire.recvmsg(65536, 64)
            port, size = payload(packet)
            if address[2] != _OUTGOING or port not in ports or size == 0:
                continue
            seconds, nanoseconds = struct.unpack("qq", control[0][2])
            at = seconds + nanoseconds / 1e9
            seen = {
                "packets": (seen["packets"] or 0) + 1,
                "bytes": (seen["bytes"] or 0) + size,
                "first": seen["first"] or at,
                "last": at,
            }
        elif sys.stdin in readable:
            break
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], {int(port) for port in sys.argv[2:]})
