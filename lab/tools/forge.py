"""Packets that no honest stack sends: forged sources, fragments, other people's destinations, straight onto the wire.

`forge.py INTERFACE MAC` reads a JSON list of packets from its standard input and puts each on the wire as it is, to the
neighbour MAC. A packet is `{"source": …, "target": …, "protocol": "tcp"|"udp", "sport": n, "dport": n}`, and perhaps
`"flags": "S"` (TCP, any of FSRPA), `"cut": n` (fragments: the first carries n bytes of what follows the IP header),
`"overlap": n` (the second fragment begins n bytes early), `"options": n` (n bytes of IPv6 destination options before
the transport header), `"onward": address` (leads on to there: an IPv6 segment routing header, or an IPv4 source route).
Exit code 0 when all were sent.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from ipaddress import ip_address
from typing import Any

_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_DATA = b"forged!!"
_FRAGMENT, _DESTINATION, _ROUTING = 44, 60, 43


def checksum(data: bytes) -> int:
    """The Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport(packet: dict[str, Any]) -> bytes:
    """TCP or UDP with its checksum over the pseudo header."""
    number = _NUMBERS[packet["protocol"]]
    ports = struct.pack("!HH", packet["sport"], packet["dport"])
    if number == socket.IPPROTO_TCP:
        flags = sum(_FLAGS[letter] for letter in packet.get("flags", "S"))
        head, tail = ports + struct.pack("!IIBBH", 1000, 1000, 5 << 4, flags, 1024), b"\0\0"
    else:
        head, tail = ports + struct.pack("!H", 8 + len(_DATA)), b""
    source, final = ip_address(packet["source"]).packed, ip_address(packet.get("onward", packet["target"])).packed
    size = len(head) + 2 + len(tail) + len(_DATA)
    pseudo = source + final + struct.pack("!II", size, number)
    return head + struct.pack("!H", checksum(pseudo + head + b"\0\0" + tail + _DATA)) + tail + _DATA


def fragments(body: bytes, cut: int, overlap: int) -> list[tuple[int, bool, bytes]]:
    """(offset, whether more follow, bytes); one whole piece without `cut`. Offsets are multiples of 8."""
    if not cut:
        return [(0, False, body)]
    return [(0, True, body[:cut]), (cut - overlap, False, body[cut - overlap :])]


def ipv4(packet: dict[str, Any]) -> list[bytes]:
    """IPv4 packets."""
    source, target = ip_address(packet["source"]).packed, ip_address(packet["target"]).packed
    onward, words, made = packet.get("onward"), 0x45, []
    route = bytes([131, 7, 4]) + ip_address(onward).packed + b"\0" if onward else b""  # loose, one stop
    words += len(route) // 4
    for offset, more, piece in fragments(transport(packet), packet.get("cut", 0), packet.get("overlap", 0)):
        head = struct.pack("!BBHHHBB", words, 0, 20 + len(route) + len(piece), packet["sport"],
                           more << 13 | offset // 8, 64, _NUMBERS[packet["protocol"]])  # fmt: skip
        rest = source + target + route
        made.append(head + struct.pack("!H", checksum(head + b"\0\0" + rest)) + rest + piece)
    return made


def ipv6(packet: dict[str, Any]) -> list[bytes]:
    """IPv6 packets, with the headers between that the packet asks for."""
    body, following = transport(packet), _NUMBERS[packet["protocol"]]
    if options := packet.get("options", 0):
        padding = options - 4  # PadN
        body = struct.pack("!BBBB", following, options // 8 - 1, 1, padding) + bytes(padding) + body
        following = _DESTINATION
    if onward := packet.get("onward"):
        body = struct.pack("!BBBBBBH", following, 2, 4, 1, 0, 0, 0) + ip_address(onward).packed + body
        following = _ROUTING
    source, target = ip_address(packet["source"]).packed, ip_address(packet["target"]).packed
    made = []
    for offset, more, piece in fragments(body, packet.get("cut", 0), packet.get("overlap", 0)):
        following_now = following
        if packet.get("cut"):
            piece = struct.pack("!BBHI", following, 0, offset | more, packet["sport"]) + piece
            following_now = _FRAGMENT
        made.append(struct.pack("!IHBB", 6 << 28, len(piece), following_now, 64) + source + target + piece)
    return made


def main(interface: str, neighbour: str) -> None:
    """Send."""
    address = bytes.fromhex(neighbour.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as wire:
        for packet in json.load(sys.stdin):
            six = ":" in packet["target"]
            for made in ipv6(packet) if six else ipv4(packet):
                wire.sendto(made, (interface, 0x86DD if six else 0x0800, 0, 0, address))


if __name__ == "__main__":
    main(*sys.argv[1:])
