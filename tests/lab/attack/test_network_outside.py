"""WAN, LAN and VPN members against an open window, on a gateway that was prepared for them and in a VPN that stops
nobody; each attack first succeeds without the gate."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from demo.matrix import TCP_PORTS, UDP_PORTS, responder
from lab import Lab, wait
from tests.lab.attack.forged import CASES, Forged
from tests.lab.attack.ground import BEHIND, HOOK, LINKS, Ground, prepared
from tests.lab.attack.policy import EVERYTHING, granted
from tests.lab.window.site_under_test import Site

Probe = dict[str, Any]
SERVERS = (1883, 1935, 8000, 8001, 8322, 8800, 8888, 8890, 8892, 8893, 9996, 9997, 9998, 9999)
"""The hook, the site's own, and every port at which MediaMTX would listen if it were left to itself."""
FREE = 7997
VANTAGES = ("wan", "lan", "container", "member", "maintainer")


def through_docker(ground: Ground, vantage: str) -> list[Probe]:
    """Every published port that leads to the VPN address or to loopback, where `vantage` reaches it."""
    gateway = ground.gateway
    addresses: list[str | None]
    pairs = [("tcp", port + BEHIND) for port in (*TCP_PORTS, HOOK)] + [("udp", port + BEHIND) for port in UDP_PORTS]
    if vantage in ("member", "maintainer"):
        # The VPN's own policy lets them to 7999; Docker leads it to the stream.
        pairs, addresses = [*pairs, ("tcp", 7999), ("udp", 7999)], [gateway.vpn4, gateway.vpn6]
    elif vantage == "container":
        addresses = ["172.17.0.1", gateway.wan4]
        straight = [("tcp", port) for port in TCP_PORTS] + [("udp", port) for port in UDP_PORTS]
        direct = [{"protocol": p, "address": a, "port": n} for a in ("172.17.0.1", gateway.vpn4) for p, n in straight]
        return [*direct, *({"protocol": p, "address": a, "port": n} for a in addresses for p, n in pairs)]
    else:
        addresses = [ground.near(vantage)[1], ground.near(vantage, 6)[1]]
    return [
        {"protocol": protocol, "address": address, "port": port}
        for address in addresses
        for protocol, port in pairs
        # The kernel leads nobody from outside to ::1.
        if not (port == HOOK + BEHIND and ":" in str(address))
    ]


@pytest.fixture(scope="module")
def ground(converged: Lab) -> Iterator[Ground]:
    """All attacks tried without the gate; then a window, in which the maintainer watches while the tests attack it."""
    site = Site(converged, converged.host("gw1"), converged.host("maintainer"))
    site.wait_closed()
    site.wait_guards()
    with granted(site, EVERYTHING), prepared(site) as ground:
        with ground.without_the_gate():
            stream = [{"protocol": "tcp", "address": site.gateway.vpn4, "port": 8554}]
            wait.until(lambda: all(ground.probe("member", stream)), 10, "the policy lets the member through")
            for host in LINKS:
                mine = [(case, first) for where, case, first in CASES if where == host]
                ground.forge(host, [packet for case, first in mine for packet in case.packets(ground, host, first)])
                seen = ground.seen()
                for case, first in mine:
                    sent = {(first + n, case.dport) for n in range(len(case.flags))}
                    ground.bare[f"{host}: {case.name}"] = sent <= seen
            for vantage in VANTAGES:
                probes = through_docker(ground, vantage)
                for probe, reached in zip(probes, ground.probe(vantage, probes), strict=True):
                    ground.bare[f"{vantage}: {probe}"] = reached
        site.open(minutes=15)
        try:
            with site.watching(seconds=600):
                yield ground
        finally:
            site.close()
    site.wait_closed()
    site.verify()


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize(("host", "case", "first"), CASES, ids=lambda value: getattr(value, "name", None))
def test_forged_packets_end_at_the_gate(
    ground: Ground, record_property: Any, host: str, case: Forged, first: int
) -> None:
    """Not one passes, the chain that is meant for it refuses it, and the window lives; without the gate all pass."""
    assert ground.bare[f"{host}: {case.name}"] is bool(case.chain), "the control: what the kernel alone does with it"
    before = ground.dropped()
    ground.forge(host, case.packets(ground, host, first))
    after = ground.dropped()
    passed = ground.seen() & {(first + n, case.dport) for n in range(len(case.flags))}
    refused = {chain: after[chain] - before[chain] for chain in after if after[chain] > before[chain]}
    record_property("stopped_by", str(refused or "kernel"))
    assert not passed
    if case.chain:
        assert refused.get(case.chain, 0) >= len(case.flags), refused
    assert ground.lives()


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("vantage", VANTAGES)
def test_what_docker_publishes_leads_nowhere(ground: Ground, record_property: Any, vantage: str) -> None:
    """DNAT to the VPN address and to loopback, with masquerading and forwarding, from outside and from the VPN."""
    probes = through_docker(ground, vantage)
    assert [probe for probe in probes if not ground.bare[f"{vantage}: {probe}"]] == [], "the control: without the gate"
    before = ground.dropped()
    reached = ground.probe(vantage, probes)
    after = ground.dropped()
    record_property("stopped_by", str({chain: after[chain] - before[chain] for chain in after}))
    assert [probe for probe, answered in zip(probes, reached, strict=True) if answered] == []
    assert ground.lives()


@pytest.mark.requirement("A2")
@pytest.mark.requirement("A5")
@pytest.mark.parametrize("family", [4, 6])
def test_a_member_gets_no_byte_at_any_port(ground: Ground, family: int) -> None:
    """Not by TCP and not by UDP, though the VPN's policy lets everything through: a reset or silence."""
    address = ground.near("member", family)[1]
    ports = (*TCP_PORTS, *SERVERS, FREE)
    probes = [{"protocol": word, "address": address, "port": port} for word in ("tcp", "udp") for port in ports]
    with responder(ground.gateway, FREE):
        reached = ground.probe("member", probes)
    answered = [(probe["protocol"], probe["port"]) for probe, yes in zip(probes, reached, strict=True) if yes]
    assert answered == [("tcp", FREE), ("udp", FREE)], "the control, and nothing else"
    assert ground.lives()


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("link", ["eth0", "lan0"])
def test_a_route_that_somebody_moved_takes_no_picture_along(ground: Ground, link: str) -> None:
    """As a rogue DHCP server does: the viewer's address leads out by WAN or LAN. Nothing of the stream does."""
    gateway, viewer = ground.gateway, str(ground.site.maintainer.vpn4)
    via = str((ground.site.lab.host("lan").lan4) if link == "lan0" else ground.site.lab.host("wan").wan4)
    sniffer = gateway.popen(
        ["tcpdump", "-Z", "root", "--immediate-mode", "-lnn", "-Q", "out", "-i", link, f"host {viewer}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert sniffer.stderr is not None
        assert any("listening on" in line for line in sniffer.stderr), "tcpdump listens"
        gateway.run(["ip", "route", "add", viewer, "via", via, "dev", link, "table", "100"])
        gateway.run(["ip", "rule", "add", "to", viewer, "priority", "100", "lookup", "100"])
        try:
            before = ground.dropped()["to_viewer"]
            wait.until(lambda: ground.dropped()["to_viewer"] > before + 5, 5, "the stream is refused at the wrong link")
            # The control: what is not the stream's goes where the route says.
            gateway.run(["python3", "-c", _SAY, str(gateway.vpn4), viewer])
        finally:
            gateway.run(["ip", "rule", "del", "priority", "100"])
            gateway.run(["ip", "route", "flush", "table", "100"])
        assert ground.lives()
    finally:
        sniffer.kill()
    lines = sniffer.communicate(timeout=5)[0].splitlines()
    control = [line for line in lines if f"{viewer}.7999:" in line]
    assert control, "the control left by the moved route"
    assert [line for line in lines if line not in control] == []


_SAY = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.bind((sys.argv[1], 0))
    out.sendto(b"control", (sys.argv[2], 7999))
"""
