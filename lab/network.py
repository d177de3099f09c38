"""Wires of a lab, made inside the supervisor's own network namespace: the machine's links are never touched."""

import ctypes
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lab.paths import LabError
from lab.plan import BRIDGE4, HostPlan

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_NETNS = Path("/run/netns")


def ip(*lines: str, netns: str | None = None) -> None:
    """Runs `ip` commands, one a line, in one process."""
    words = ["ip", *(["-n", netns] if netns else []), "-batch", "-"]
    done = subprocess.run(words, input="\n".join(lines), capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise LabError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")


def bridges(sites: int) -> None:
    """The WAN and one LAN a site. The supervisor itself has an address on the WAN, to talk to headscale."""
    lans = [f"br-lan{n}" for n in range(1, sites + 1)]
    ip(
        "link set lo up",
        *(f"link add {name} type bridge" for name in ("br-wan", *lans)),
        *(f"link set {name} up" for name in ("br-wan", *lans)),
        f"addr add {BRIDGE4}/24 dev br-wan",
    )


def plug(host: HostPlan) -> None:
    """A new network namespace for the host: `eth0` on the WAN and `lan0` on its site's LAN, where it has them."""
    unplug(host)
    ip(f"netns add {host.name}")
    inside = ["link set lo up"]
    outside = []
    for inner, outer, bridge, address4, address6 in (
        ("eth0", f"w-{host.name}", "br-wan", host.wan4, host.wan6),
        ("lan0", f"l-{host.name}", f"br-lan{host.site}", host.lan4, host.lan6),
    ):
        if address4 is None:
            continue
        outside += [
            f"link add {outer} type veth peer name {inner} address {mac(outer)} netns {host.name}",
            f"link set {outer} master {bridge} up",
        ]
        inside += [
            f"addr add {address4}/24 dev {inner}",
            f"addr add {address6}/64 dev {inner} nodad",
            f"link set {inner} up",
        ]
    ip(*outside)
    ip(*inside, netns=host.name)


def mac(wire: str) -> str:
    """A wire's own hardware address. With a new one at each boot the neighbours talked to the old one for seconds."""
    return "02:" + hashlib.sha256(wire.encode()).digest()[:5].hex(":")


def unplug(host: HostPlan) -> None:
    """Takes the namespace away, and with it links, addresses and nft tables, as a reboot does."""
    # Links first: a process of `exec` may keep the namespace alive, and its end of the wire with it.
    for side in ("w", "l"):
        subprocess.run(["ip", "link", "del", f"{side}-{host.name}"], capture_output=True, timeout=20, check=False)
    if (_NETNS / host.name).exists():
        ip(f"netns del {host.name}")


def inside(netns: str, fn: Callable[[], T]) -> T:
    """Calls `fn` in a thread that has entered the network namespace; sockets made there stay there."""
    box: list[T] = []
    errors: list[Exception] = []

    def work() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(_NETNS / netns, os.O_RDONLY)
        try:
            if libc.setns(fd, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {netns}")  # noqa: TRY301  handed to the caller below
            box.append(fn())
        except Exception as error:  # noqa: BLE001  handed to the caller
            errors.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return box[0]


def answers_ssh(from_host: str, address: str) -> bool:
    """True when an SSH server greets at `address`, seen from another host of the lab."""

    def greet() -> bool:
        with socket.create_connection((address, 22), timeout=0.25) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"

    return inside(from_host, greet)
