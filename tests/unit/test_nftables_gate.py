"""The table against traffic: who gets through while a window is open. Each refusal beside a probe that gets through."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.shutter_parts import (
    AGENT,
    CONSOLE,
    FEED,
    LAN4,
    LAN_GW4,
    MEMBER4,
    MEMBER6,
    NOBODY,
    OWN4,
    OWN6,
    SHUTTER,
    STREAM,
    VIEWER4,
    VIEWER6,
    Host,
    Net,
    needs_kernel,
    net,
    probe,
    rendered,
    serve,
    shutter,
)

pytestmark = needs_kernel
BLOCKED = ("refused", "silent")
UDP_SERVER = """
import socket, sys
address, port = sys.argv[1:]
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind((address, int(port)))
    print("ready", flush=True)
    while True:
        server.sendto(b"x", server.recvfrom(10)[1])
"""
UDP_PROBE = """
import socket, sys
address, port, source = sys.argv[1:]
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.bind((source, 0))
    probe.settimeout(0.4)
    try:
        probe.sendto(b"x", (address, int(port)))
        print("data" if probe.recv(10) else "end")
    except TimeoutError:
        print("silent")
    except OSError:
        print("refused")
"""


@pytest.fixture(scope="module")
def gate() -> Iterator[Net]:
    """A window open for one viewer, a server of the stream user at every address and every guarded port, and others."""
    with net() as made, shutter(made) as running:
        serve(made.gateway, "", 8554, 8550, 8889)
        serve(made.gateway, "", 9000, uid=NOBODY)
        serve(made.gateway, "127.0.0.1", 8800, uid=AGENT)
        serve(made.gateway, "127.0.0.1", 8000, 1883, uid=NOBODY)
        serve(made.lan, LAN4, 7100, uid=NOBODY)
        serve(made.peer, VIEWER4, 7100, uid=NOBODY)
        for address in (OWN4, OWN6, LAN_GW4):
            made.gateway.start("/usr/bin/python3", "-c", UDP_SERVER, address, "8189", uid=STREAM)
        made.gateway.start("/usr/bin/python3", "-c", UDP_SERVER, LAN_GW4, "8190", uid=NOBODY)
        done = threading.Event()

        def keep() -> None:
            while running.renew([VIEWER4, VIEWER6])["ok"] and not done.wait(3):
                pass

        running.renew([VIEWER4, VIEWER6])
        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield made
        finally:
            done.set()
            keeper.join()


SAY_PROBE = """
import socket, sys
source, address, said = sys.argv[1:]
with socket.create_connection((address, 8554), 1, (source, 0)) as probe:
    probe.recv(1)
    probe.sendall(said.encode())
    got = 0
    try:
        while got < 3000 and (data := probe.recv(4096)):
            got += len(data)
        print("data")
    except ConnectionResetError:
        print("refused")
"""


@dataclass(frozen=True)
class Cell:
    """Who asks whom: a host of the net, address, port, own address, user; and what it must get."""

    name: str
    host: str
    address: str
    port: int
    expected: tuple[str, ...]
    source: str = ""
    uid: int = 0

    def measure(self, net: Net) -> str:
        host: Host = getattr(net, self.host)
        return probe(host, self.address, self.port, source=self.source, uid=self.uid, wait_s=0.4)


DATA = ("data",)
RESET = ("refused",)
SILENT = ("silent",)
CELLS = [
    Cell("the leased viewer, v4", "peer", OWN4, 8554, DATA, VIEWER4),
    Cell("the leased viewer, v6", "peer", OWN6, 8554, DATA, VIEWER6),
    Cell("the leased viewer at a port that is not leased", "peer", OWN4, 8550, RESET, VIEWER4),
    Cell("a member, v4", "peer", OWN4, 8554, RESET, MEMBER4),
    Cell("a member, v6", "peer", OWN6, 8554, RESET, MEMBER6),
    Cell("a member at a port that is not ours", "peer", OWN4, 9000, DATA, MEMBER4),
    Cell("the LAN at the LAN address", "lan", LAN_GW4, 8554, SILENT),
    Cell("the LAN at the LAN address, v6", "lan", "fd50::1", 8554, SILENT),
    Cell("the LAN at the LAN address, WebRTC", "lan", LAN_GW4, 8889, SILENT),
    Cell("the LAN at a port that is not ours", "lan", LAN_GW4, 9000, DATA),
    Cell("the LAN at a port that is not ours, v6", "lan", "fd50::1", 9000, DATA),
    Cell("the LAN with a planted route, v4", "lan", OWN4, 8554, SILENT),
    Cell("the LAN with a planted route, v6", "lan", OWN6, 8554, SILENT),
    Cell("the LAN with a planted route, other port", "lan", OWN4, 9000, SILENT),
    Cell("the publisher", "gateway", OWN4, 8554, DATA, "", FEED),
    Cell("the publisher, v6", "gateway", OWN6, 8554, DATA, "", FEED),
    Cell("the publisher at a port that is not leased", "gateway", OWN4, 8550, BLOCKED, "", FEED),
    Cell("the publisher at the port for offers", "gateway", OWN4, 8889, BLOCKED, "", FEED),
    Cell("the console at the port for offers", "gateway", OWN4, 8889, DATA, "", CONSOLE),
    Cell("the console at the publisher's port", "gateway", OWN4, 8554, BLOCKED, "", CONSOLE),
    Cell("the console at the camera", "gateway", "127.0.0.1", 8000, SILENT, "", CONSOLE),
    Cell("the console at the hook", "gateway", "127.0.0.1", 8800, RESET, "", CONSOLE),
    Cell("the console dials the LAN", "gateway", LAN4, 7100, SILENT, "", CONSOLE),
    Cell("the console dials the viewer", "gateway", VIEWER4, 7100, SILENT, "", CONSOLE),
    Cell("nobody at the port for offers", "gateway", OWN4, 8889, BLOCKED, "", NOBODY),
    Cell("the leased viewer at the port for offers", "peer", OWN4, 8889, RESET, VIEWER4),
    Cell("the publisher's user at 127.0.0.1", "gateway", "127.0.0.1", 8554, BLOCKED, "", FEED),
    Cell("the publisher's user at its camera", "gateway", "127.0.0.1", 8000, DATA, "", FEED),
    Cell("the publisher's user at the broker", "gateway", "127.0.0.1", 1883, SILENT, "", FEED),
    Cell("the publisher's user at the LAN", "gateway", LAN4, 7100, SILENT, "", FEED),
    Cell("the publisher's user at the viewer", "gateway", VIEWER4, 7100, SILENT, "", FEED),
    Cell("nobody at the stream", "gateway", OWN4, 8554, BLOCKED, "", NOBODY),
    Cell("nobody at the stream by 127.0.0.1", "gateway", "127.0.0.1", 8554, BLOCKED, "", NOBODY),
    Cell("root at the stream", "gateway", OWN4, 8554, BLOCKED),
    Cell("root at the broker", "gateway", "127.0.0.1", 1883, DATA),
    Cell("the stream server at the hook", "gateway", "127.0.0.1", 8800, DATA, "", STREAM),
    Cell("nobody at the hook", "gateway", "127.0.0.1", 8800, RESET, "", NOBODY),
    Cell("the feed at the hook", "gateway", "127.0.0.1", 8800, RESET, "", FEED),
    Cell("root at the hook", "gateway", "127.0.0.1", 8800, RESET),
    Cell("the stream server at the broker", "gateway", "127.0.0.1", 1883, SILENT, "", STREAM),
    Cell("the stream server at the camera", "gateway", "127.0.0.1", 8000, SILENT, "", STREAM),
    Cell("the stream server dials the LAN", "gateway", LAN4, 7100, SILENT, "", STREAM),
    Cell("the stream server dials the viewer", "gateway", VIEWER4, 7100, SILENT, "", STREAM),
    Cell("nobody dials the LAN", "gateway", LAN4, 7100, DATA, "", NOBODY),
    Cell("the shutter's user is not confined here", "gateway", LAN4, 7100, DATA, "", SHUTTER),
]


@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_who_gets_through(gate: Net, cell: Cell) -> None:
    """Each cell gets what it must: data, a reset towards the VPN, silence elsewhere."""
    assert cell.measure(gate) in cell.expected


@pytest.mark.requirement("A1")
def test_media_over_udp_is_for_the_leased_alone(gate: Net) -> None:
    """8189/udp answers the leased viewer in both families and nobody else; a UDP port that is not ours answers all."""

    def ask(host: Host, address: str, port: int, source: str = "") -> str:
        return host.run("/usr/bin/python3", "-c", UDP_PROBE, address, str(port), source).strip()

    assert ask(gate.lan, LAN_GW4, 8190) == "data"
    assert ask(gate.peer, OWN4, 8189, VIEWER4) == ask(gate.peer, OWN6, 8189, VIEWER6) == "data"
    for address, source in ((OWN4, MEMBER4), (OWN6, MEMBER6)):
        assert ask(gate.peer, address, 8189, source) == "silent"
    for address in (LAN_GW4, OWN4):
        assert ask(gate.lan, address, 8189) == "silent"
    assert ask(gate.gateway, OWN4, 8189) in BLOCKED


@pytest.mark.requirement("A1")
def test_a_redirect_of_the_site_leads_nowhere(gate: Net) -> None:
    """DNAT to the stream or the hook and redirects from the VPN get nothing; the same to other ports get data."""
    gate.gateway.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/lan0/route_localnet")
    gate.gateway.load(
        "table ip site { chain nat { type nat hook prerouting priority -100; "
        f'iifname "lan0" tcp dport 9991 dnat to {OWN4}:8554; iifname "lan0" tcp dport 9992 dnat to 127.0.0.1:8800; '
        f'iifname "lan0" tcp dport 9993 dnat to {LAN_GW4}:9000; iifname "tailscale0" tcp dport 9994 redirect to :8554; '
        'iifname "tailscale0" tcp dport 9995 redirect to :9000; '
        'iifname "lan0" tcp dport 9996 dnat to 127.0.0.1:8000; }; }\n'
    )
    try:
        assert probe(gate.lan, LAN_GW4, 9993) == "data"
        assert probe(gate.lan, LAN_GW4, 9996) == "data"
        assert probe(gate.lan, LAN_GW4, 9991) == "silent"
        assert probe(gate.lan, LAN_GW4, 9992) == "silent"
        assert probe(gate.peer, OWN4, 9995, source=VIEWER4) == "data"
        assert probe(gate.peer, OWN4, 9994, source=VIEWER4) == "silent"
    finally:
        gate.gateway.load("delete table ip site\n")


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("source", [VIEWER4, VIEWER6])
def test_http_at_the_players_port_ends_there(gate: Net, source: str) -> None:
    """A connection that a browser could make is reset; what a player says goes on, a request that begins alike too."""
    address = OWN6 if ":" in source else OWN4
    for said, expected in (
        ("DESCRIBE rtsp://", "data"),
        ("GET_PARAMETER rtsp://", "data"),
        ("PLAY", "data"),
        ("DES", "data"),
        ("G", "refused"),
        ("POS", "refused"),
        ("GET /cam1 HTTP/1.1", "refused"),
        ("POST /cam1 HTTP/1.1", "refused"),
    ):
        assert gate.peer.run("/usr/bin/python3", "-c", SAY_PROBE, source, address, said).strip() == expected, said


@pytest.mark.requirement("A2")
def test_an_impostor_at_the_hook_is_not_heard(gate: Net) -> None:
    """When another user listens at the hook's port, the stream server gets no connection."""
    with net() as fresh:
        serve(fresh.gateway, "127.0.0.1", 8800, uid=NOBODY)
        assert probe(fresh.gateway, "127.0.0.1", 8800, uid=STREAM) == "silent"


@pytest.mark.requirement("A1")
def test_a_closed_gate_is_closed_for_all(gate: Net) -> None:
    """With empty leases not even the viewer, the publisher or a planted route gets anything."""
    with net() as fresh:
        serve(fresh.gateway, "", 8554)
        serve(fresh.gateway, "", 9000, uid=NOBODY)
        for host in (fresh.peer, fresh.lan):
            assert probe(host, OWN4, 9000) == "data"
            assert probe(host, OWN4, 8554) in BLOCKED
            assert probe(host, OWN6, 8554) in BLOCKED
        assert probe(fresh.gateway, OWN4, 8554, uid=FEED) in BLOCKED


@pytest.mark.requirement("A1")
def test_without_the_table_the_same_probes_get_through() -> None:
    """The control of all refusals above: with the rules gone, planted routes of both families and a member get data."""
    with net() as bare:
        bare.gateway.load("flush ruleset\n")
        serve(bare.gateway, "", 8554)
        assert probe(bare.lan, OWN4, 8554) == "data"
        assert probe(bare.lan, OWN6, 8554) == "data"
        assert probe(bare.lan, LAN_GW4, 8554) == "data"
        assert probe(bare.peer, OWN4, 8554, source=MEMBER4) == "data"
        assert probe(bare.gateway, OWN4, 8554, uid=NOBODY) == "data"


@pytest.mark.requirement("A2")
def test_forwarding_is_cut_at_our_ports_only() -> None:
    """A host that routes between VPN and LAN goes on doing so, but not for the stream's ports."""
    with net() as routed:
        routed.gateway.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        routed.peer.run("ip", "route", "add", f"{LAN4}/32", "via", OWN4)
        routed.lan.run("ip", "route", "add", "100.64.0.0/24", "via", LAN_GW4)
        serve(routed.lan, LAN4, 7100, 8554)
        assert probe(routed.peer, LAN4, 7100) == "data"
        assert probe(routed.peer, LAN4, 8554) == "silent"


@pytest.mark.requirement("F3")
def test_nobody_gets_through_to_a_camera_but_from_inside() -> None:
    """By an interface that nobody has named, too: a gateway that is prepared in a workshop has another uplink at the
    site. The control is the table without cameras, an interface that was declared, and a container's bridge."""
    with net() as routed:
        other = Host(routed.directory / "passwd")
        try:
            gateway, lan = routed.gateway, routed.lan
            gateway.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            gateway.run("ip", "link", "add", "usb0", "type", "veth", "peer", "name", "eth0", "netns", str(other.pid))
            gateway.run("ip", "link", "add", "br0", "type", "bridge")
            for host, link, address in ((gateway, "usb0", "10.9.0.1/24"), (other, "eth0", "10.9.0.2/24")):
                host.run("ip", "link", "set", link, "up")
                host.run("ip", "address", "add", address, "dev", link)
            other.run("ip", "route", "add", "default", "via", "10.9.0.1")
            lan.run("ip", "route", "add", "10.9.0.0/24", "via", LAN_GW4)
            serve(lan, LAN4, 7100, uid=NOBODY)
            serve(other, "10.9.0.2", 7100, 8554, uid=NOBODY)

            def through(**changed: Any) -> str:
                gateway.load(rendered(**changed))
                return probe(other, LAN4, 7100)

            camera: dict[str, Any] = {"__sightglass_nftables_cameras": [LAN4]}
            assert through() == "data", "the control"
            assert through(**camera) == "silent"
            assert through(**camera, sightglass_nftables_inside=["usb0"]) == "data"
            gateway.load(rendered(**camera))
            assert probe(lan, "10.9.0.2", 7100) == "data", "what a camera itself asks for is answered"

            # What the site sends through this host is none of ours, but what is published as a stream port is.
            published = "dnat to 10.9.0.2:7100"
            gateway.load(
                "table ip site { chain nat { type nat hook prerouting priority -100; "
                f"ip daddr {LAN_GW4} tcp dport 8555 {published}; "
                f"ip daddr {LAN_GW4} tcp dport 8554 {published}; }}; }}\n"
            )
            assert probe(lan, "10.9.0.2", 8554) == "data"
            assert probe(lan, LAN_GW4, 8555) == "data"
            assert probe(lan, LAN_GW4, 8554) == "silent"

            gateway.run("ip", "address", "flush", "dev", "usb0")
            gateway.run("ip", "link", "set", "usb0", "master", "br0")
            gateway.run("ip", "link", "set", "br0", "up")
            gateway.run("ip", "address", "add", "10.9.0.1/24", "dev", "br0")
            assert through(**camera) == "data"
            assert through(**camera, __sightglass_nftables_outside=["br0"]) == "silent"
        finally:
            other.close()
