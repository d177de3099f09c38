"""An entitled viewer's offer names other people's addresses: the stream server must not dial them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.media import TOOLS
from tests.lab.attack.changed import RULES, replaced
from tests.lab.pinned import pinned
from tests.lab.window.site_under_test import Site

_PACKET = re.compile(r"IP6? (\S+)\.\d+ > (\S+)\.(\d+): ")
PORT = 7100
HOOK, BROKER = 8800, 1883
# Not by IPv6: the unit cannot make such a socket.
ALL = {"lan", "wan", "member", "loopback", "broker", "hook", "viewer"}
MOST_OFFERS = 6


def targets(site: Site) -> dict[str, tuple[str, int]]:
    """Whom the offer names: address and port of each."""
    lan, wan, member = (site.lab.host(name) for name in ("lan", "wan", "member"))
    named = {
        "lan": (lan.lan4, PORT),
        "lan, IPv6": (lan.lan6, PORT),
        "wan": (wan.wan4, PORT),
        "member": (member.vpn4, PORT),
        "loopback": ("127.0.0.1", PORT),
        "broker": ("127.0.0.1", BROKER),
        "hook": ("127.0.0.1", HOOK),
        "the page's own port": (site.gateway.vpn4, 8550),
        "viewer": (site.maintainer.vpn4, PORT),
    }
    return {name: (str(address), port) for name, (address, port) in named.items()}


def candidates(site: Site) -> list[str]:
    """Each of them over UDP and over TCP, and two names that would have to be asked for."""
    made = []
    for n, (address, port) in enumerate(targets(site).values()):
        made.append(f"{n} 1 udp {2130706431 - n} {address} {port} typ host")
        made.append(f"{n} 1 tcp {1671430143 - n} {address} {port} typ host tcptype passive")
    names = ("4ff4e5f5-1f5f-4a3c-8a38-c2a1e1c0f7d1.local", "evil.example")
    return [*made, *(f"9{n} 1 udp 2130706000 {name} {PORT} typ host" for n, name in enumerate(names))]


def dialled(site: Site) -> set[str]:
    """Open a window, send the offer, and say whom the gateway sent a packet, by capture behind all its rules."""
    site.open()
    ports = f"(dst port {PORT} or dst port {BROKER} or dst port {HOOK} or dst port 8550)"
    call = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"
    filters = [f"({ports} and ({call} or udp or ip6))", "dst port 53", "dst port 5353"]
    sniffer = site.gateway.popen(
        ["tcpdump", "-Z", "root", "--immediate-mode", "-lnn", "-i", "any", " or ".join(filters)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    words = [sys.executable, str(TOOLS / "offer.py"), site.page, "cam1"]
    offering = site.maintainer.popen(words, stdin=-1, stdout=-1, text=True)
    try:
        assert sniffer.stderr is not None
        assert any("listening on" in line for line in sniffer.stderr), "tcpdump listens"
        assert offering.stdin is not None
        assert offering.stdout is not None
        offering.stdin.write(json.dumps(candidates(site)) + "\n")
        offering.stdin.flush()
        answer = json.loads(offering.stdout.readline())
        assert answer["status"] == 201, answer
        site.wait_frames(25)  # as long as the server tries its candidates
        assert site.watch(frames=3), "the window still works"
    finally:
        for process in (offering, sniffer):
            process.kill()
        offering.communicate(timeout=5)
    lines = sniffer.communicate(timeout=5)[0].splitlines()
    site.close()
    site.wait_closed()
    return set(filter(None, (_name(site, line) for line in lines)))


def _name(site: Site, line: str) -> str | None:
    """Whom a captured packet went to; None for the server's and the page's own business."""
    match = _PACKET.search(line)
    assert match, line
    source, address, port = match.groups()
    if (address, port) == ("127.0.0.1", str(HOOK)):
        # The server's own question comes from 127.0.0.1; what an offer asked for from every address of the host.
        return None if source == "127.0.0.1" else "hook"
    if source == site.maintainer.vpn4:
        return None
    names = {(address, str(port)): name for name, (address, port) in targets(site).items()}
    return names.get((address, port), f"{address} port {port}")


@contextlib.contextmanager
def without_the_sandbox(site: Site) -> Iterator[None]:
    """The stream server's unit lets it talk to every address, for as long as the block runs."""
    place = "/run/systemd/system/sightglass-mediamtx.service.d"
    site.gateway.run(["mkdir", "-p", place])
    lifted = "[Service]\nIPAddressDeny=\nIPAddressAllow=\n"
    site.gateway.run(["tee", f"{place}/attack.conf"], input=lifted)
    site.gateway.run(["systemctl", "daemon-reload"])
    try:
        with pinned(site.gateway, f"{place}/attack.conf"):
            yield
    finally:
        site.gateway.run(["rm", "-r", place])
        site.gateway.run(["systemctl", "daemon-reload"])


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
def test_an_offer_makes_the_server_dial_nobody(site: Site) -> None:
    """Not LAN, WAN, another member, broker, hook or loopback; each layer alone holds what it must, and with all three
    taken away the same offer is seen to reach them."""
    offers = site.gateway.run(
        ["find", "/opt/sightglass/venv/", "-path", "*sightglass/console/offers.py"]
    ).stdout.strip()
    with replaced(site, offers, r"without_candidates\(sdp\),", "sdp,"), without_the_sandbox(site):
        mine = replaced(site, RULES, r"meta skuid \$sightglass_stream counter drop", "")
        with mine, replaced(site, RULES, r"oifname != \$sightglass_vif counter drop", ""):
            # On a busy machine the server's ICE library leaves out one or two candidates of an offer, others each time.
            reached: set[str] = set()
            offers_made = 0
            while not reached >= ALL and offers_made < MOST_OFFERS:
                reached, offers_made = reached | dialled(site), offers_made + 1
        assert reached >= ALL, f"the control, after {offers_made} offers"
        # The kernel cannot tell the offer's way to the hook from the server's own.
        alone = set().union(*(dialled(site) for _ in range(offers_made)))
        assert alone <= {"hook", "viewer"}, "the kernel alone"
    for _ in range(offers_made):
        assert dialled(site) == set()
