"""A wire that is long and loses packets: stands between one host's cable and the WAN of its lab.

Runs in the supervisor's network namespace, as the machine's kernel may have no netem: `python -m lab.tools.badwire
CABLE DELAY_MS LOSS_PERCENT`. Says `ready`, forwards until its standard input ends, then mends the wire.
"""

import heapq
import random
import select
import socket
import sys
import time

from lab.network import ip

_BRIDGE = "br-wan"
_ETH_P_ALL = 3
_VNET_HDR = 15
_MOST = 262_144
_QUEUED = 20_000  # frames; more are lost, as on a real line


def _tap(interface: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    # Frames carry what their checksum still needs: without that header every TCP and UDP packet is dropped as broken.
    raw.setsockopt(263, _VNET_HDR, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    raw.bind((interface, 0))
    return raw


def forward(cable: socket.socket, wan: socket.socket, delay: float, loss: float) -> None:
    """Carries frames both ways, each `delay` seconds late, and drops a share of `loss`, until stdin ends."""
    other = {cable: wan, wan: cable}
    due: list[tuple[float, int, socket.socket, bytes]] = []
    count = 0
    while True:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        readable, _, _ = select.select([sys.stdin, cable, wan], [], [], wait)
        if sys.stdin in readable:
            return
        for source in (cable, wan):
            if source not in readable:
                continue
            frame, where = source.recvfrom(_MOST)
            if where[2] == socket.PACKET_OUTGOING or random.random() < loss or len(due) >= _QUEUED:
                continue
            count += 1
            heapq.heappush(due, (time.monotonic() + delay, count, other[source], frame))
        while due and due[0][0] <= time.monotonic():
            _, _, target, frame = heapq.heappop(due)
            try:
                target.send(frame)
            except OSError:
                continue  # the other end is down: lost, as anywhere


def main() -> None:
    """Takes the cable out of the bridge, puts itself between, and puts it back."""
    cable, delay_ms, loss = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    inner, outer = f"b{cable}"[:15], f"B{cable}"[:15]
    ip(f"link add {inner} type veth peer name {outer}", f"link set {outer} master {_BRIDGE} up", f"link set {inner} up")
    try:
        ip(f"link set {cable} nomaster")
        forward_from = (_tap(cable), _tap(inner))
        print("ready", flush=True)
        forward(*forward_from, delay_ms / 1000, loss / 100)
    finally:
        ip(f"link set {cable} master {_BRIDGE}", f"link del {inner}")


if __name__ == "__main__":
    main()
