"""The forged packets: who sends what, and where in the gate it must end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lab.host import Host
from tests.lab.attack.ground import LINKS, Ground

_FIRST_PORT = 41_000
SPREAD = 10
"""Source ports kept for one case: each packet of it has its own."""


@dataclass(frozen=True)
class Forged:
    """Packets of one attack. `source` and `target` are words of `_address`; `chain` is the gate's that must refuse
    them, or nothing when the kernel itself (from a member: tailscaled) does, with or without the gate."""

    name: str
    source: str
    target: str
    chain: str
    family: int
    protocol: str = "tcp"
    dport: int = 8554
    flags: tuple[str, ...] = ("S",)
    more: dict[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("wan", "lan")

    def packets(self, ground: Ground, host: str, first: int) -> list[dict[str, Any]]:
        """For `lab/tools/forge.py`."""
        common = {
            "source": _address(ground, host, self.source, self.family),
            "target": _address(ground, host, self.target, self.family),
            "protocol": self.protocol,
            "dport": self.dport,
            **self.more,
        }
        if onward := common.pop("to", None):
            common["onward"] = _address(ground, host, onward, self.family)
        return [{**common, "sport": first + n, "flags": flags} for n, flags in enumerate(self.flags)]


def _address(ground: Ground, host: str, word: str, family: int) -> str:
    mine, gateway = ground.near(host, family)
    viewer: Host = ground.site.maintainer
    side = LINKS[host]
    known = {
        "mine": mine,
        "gateway": gateway,
        "own": str(ground.gateway.vpn4 if family == 4 else ground.gateway.vpn6),
        "viewer": str(viewer.vpn4 if family == 4 else viewer.vpn6),
        "carrier": "100.99.1.1",  # carriers use this range, too
        "loopback": "127.0.0.1",
        "all": "224.0.0.1" if family == 4 else "ff02::1",
        "broadcast": "255.255.255.255",
    }
    if word == "link" or word == "mine-link":
        holder = ground.gateway if word == "link" else ground.site.lab.host(host)
        shown = holder.run(["ip", "-6", "-br", "addr", "show", "dev", side, "scope", "link"]).stdout
        return shown.split()[2].partition("/")[0]
    return known[word]


EVERY_FLAG = ("S", "A", "PA", "SA", "FA", "R")


def _both(name: str, source: str, target: str, chain: str, **rest: Any) -> Iterator[Forged]:
    for family in (4, 6):
        yield Forged(f"{name}, IPv{family}", source, target, chain, family, **rest)


def _all() -> Iterator[Forged]:
    yield from _both("a viewer's source to the VPN address", "viewer", "own", "pre", flags=EVERY_FLAG)
    yield from _both("a viewer's source to the near address", "viewer", "gateway", "from_vpn", flags=EVERY_FLAG)
    yield from _both("a viewer's source, media", "viewer", "own", "pre", protocol="udp", dport=8189)
    yield from _both("a viewer's source, media, near", "viewer", "gateway", "from_vpn", protocol="udp", dport=8189)
    yield from _both("the gateway's own source", "own", "gateway", "pre", flags=EVERY_FLAG)
    yield from _both("its own source, through it to a viewer", "own", "viewer", "pre", flags=("A", "PA"))
    yield from _both("its own address twice", "own", "own", "pre")
    yield from _both("a tiny first fragment", "viewer", "own", "pre", more={"cut": 8})
    yield from _both("a tiny first fragment, near", "mine", "gateway", "from_vpn", more={"cut": 8})
    yield from _both("fragments that overlap", "viewer", "own", "", more={"cut": 24, "overlap": 8})
    yield from _both("everybody's address", "mine", "all", "from_vpn", protocol="udp", dport=8189)
    # To a port that is not ours, so that the address alone refuses it.
    yield Forged("a source route to the VPN address", "mine", "gateway", "in", 4, dport=22, more={"to": "own"})
    yield Forged("a segment route to the VPN address", "mine", "gateway", "from_vpn", 6, more={"to": "own"})
    for family in (4, 6):
        # What is no SYN passes tailscaled whatever the policy says.
        yield Forged(f"a member, IPv{family}", "mine", "own", "from_vpn", family, flags=EVERY_FLAG, hosts=("member",))
        yield Forged(f"a member, media, IPv{family}", "mine", "own", "from_vpn", family, "udp", 8189, hosts=("member",))
        # tailscaled refuses tiny fragments, and knows whose address it is.
        yield Forged(
            f"a member in fragments, IPv{family}", "mine", "own", "", family, more={"cut": 8}, hosts=("member",)
        )
        yield Forged(f"a member as the viewer, IPv{family}", "viewer", "own", "", family, hosts=("member",))
    yield Forged("a carrier's source", "carrier", "own", "pre", 4)
    yield Forged("loopback from outside", "mine", "loopback", "pre", 4, dport=8800)
    yield Forged("a source route to loopback", "mine", "gateway", "in", 4, dport=8800, more={"to": "loopback"})
    yield Forged("broadcast", "mine", "broadcast", "from_vpn", 4, protocol="udp", dport=8189)
    port_later = {"options": 64, "cut": 64}
    # Linux refuses a first fragment without all headers since 5.11.
    yield Forged("the port in the second fragment", "viewer", "own", "", 6, more=port_later)
    yield Forged("the port in the second fragment, near", "mine", "gateway", "", 6, more=port_later)
    yield Forged("the port behind options", "mine", "gateway", "from_vpn", 6, more={"options": 256})
    yield Forged("link-local", "mine-link", "link", "from_vpn", 6)
    yield Forged("link-local, media", "mine-link", "link", "from_vpn", 6, protocol="udp", dport=8189)


CASES = [(host, case, _FIRST_PORT + n * SPREAD) for n, case in enumerate(_all()) for host in case.hosts]
