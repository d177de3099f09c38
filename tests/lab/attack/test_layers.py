"""Each layer taken away on its own: what the others still hold, from each place, and how fast the guards close.

Writes build/layers.md, the table of docs/layers.md.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from demo.matrix import planted
from lab import wait
from lab.host import Host
from tests.lab.attack.changed import replaced
from tests.lab.attack.policy import EVERYTHING, granted
from tests.lab.window.site_under_test import ROOT, Site

TABLE = ROOT / "build" / "layers.md"
PLACES = ("maintainer", "member", "wan", "lan", "a local user")
# Asks for the stream's description, which is the step before its packets; says what came.
_ASK = """
import socket, sys
address, port = sys.argv[1:3]
try:
    with socket.create_connection((address, int(port)), 1.5) as made:
        made.settimeout(3)
        where = f"rtsp://{address}:{port}/cam1"
        made.sendall(f"DESCRIBE {where} RTSP/1.0\\r\\nCSeq: 1\\r\\nAccept: application/sdp\\r\\n\\r\\n".encode())
        words = made.recv(4096).split(b" ")
        print("the picture" if words[1:2] == [b"200"] else "refused by name" if len(words) > 1 else "hung up on")
except TimeoutError:
    print("silence")
except OSError as error:
    print("reset" if isinstance(error, ConnectionError) else "no way there")
"""


@dataclass
class Row:
    """What was seen with one layer missing. `closed`: how the guards took it, in words."""

    layer: str
    closed: str
    seen: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"| {self.layer} | {' | '.join(self.seen[place] for place in PLACES)} | {self.closed} |"


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """The table, written when all is seen."""
    found: list[Row] = []
    yield found
    heads = f"| layer taken away | {' | '.join(PLACES)} | the guards |\n|{'---|' * (len(PLACES) + 2)}\n"
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(heads + "".join(f"{row}\n" for row in found))


def look(site: Site) -> dict[str, str]:
    """What each place gets at the players' port now, all asked at once."""
    address, port = str(site.gateway.vpn4), "8554"

    def ask(host: Host, python: str, user: str | None = None) -> subprocess.Popen[str]:
        return host.popen([python, "-c", _ASK, address, port], user=user, stdout=subprocess.PIPE, text=True)

    hosts = {name: site.lab.host(name) for name in ("maintainer", "member", "wan", "lan")}
    with planted(site.lab, site.gateway):
        asked = {name: ask(host, sys.executable) for name, host in hosts.items()}
        asked["a local user"] = ask(site.gateway, "python3", "nobody")
        return {name: process.communicate(timeout=10)[0].strip() for name, process in asked.items()}


def venv(site: Site, file: str) -> str:
    """A file of the agent's package on the gateway."""
    found = site.gateway.run(["find", "/opt/sightglass/venv/", "-path", f"*/sightglass/{file}"]).stdout.split()
    assert len(found) == 1, found
    return found[0]


@contextlib.contextmanager
def restarted(site: Site) -> Iterator[None]:
    """The agent runs what its files say, now and after the block."""
    site.gateway.run(["systemctl", "restart", "sightglass-agent"])
    site.wait_guards()
    try:
        yield
    finally:
        site.gateway.run(["systemctl", "stop", "sightglass-agent"])


@contextlib.contextmanager
def started(site: Site) -> Iterator[None]:
    """After the block the agent is started anew."""
    try:
        yield
    finally:
        site.gateway.run(["systemctl", "restart", "sightglass-agent"])
        site.wait_guards()


def took(site: Site, act: Callable[[], object], at_most: float = 10) -> str:
    """How long the open window lasts after `act`. Fails the test when that is longer than `at_most` seconds."""
    window = site.status()["window"]["id"]
    began = time.monotonic()
    act()
    wait.until(lambda: site.status()["state"] == "closed", at_most, "closed")
    seconds = time.monotonic() - began
    return f"closed within {seconds:.1f} s (the test's own steps included): {site.cause(window)}"


def holds(row: Row, *, viewer: str = "the picture") -> None:
    """Nobody but the viewer gets the picture; the viewer does, which is the control."""
    assert row.seen["maintainer"] == viewer, row
    assert "the picture" not in {row.seen[place] for place in PLACES if place != "maintainer"}, row


@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
def test_all_layers_in_place(site: Site, rows: list[Row]) -> None:
    """The row to compare with."""
    site.open()
    rows.append(Row("none", "open", look(site)))
    holds(rows[-1])


@pytest.mark.requirement("A2")
def test_without_the_vpns_policy(site: Site, rows: list[Row]) -> None:
    """The tailnet lets every member reach every port: the leases hold."""
    with granted(site, EVERYTHING):
        site.open()
        rows.append(Row("the VPN's policy (allows all)", "not seen: it is not the gateway's to judge", look(site)))
        holds(rows[-1])


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("the kernel's table (`nft flush ruleset`)", ["nft", "flush", "ruleset"]),
        ("the same, by restarting nftables.service", ["systemctl", "restart", "nftables"]),
    ],
    ids=["flush", "restart"],
)
def test_without_the_kernels_table(site: Site, rows: list[Row], name: str, command: list[str]) -> None:
    """With the shutter frozen, which would have closed: the join check holds for the second until its watchdog."""
    if command[0] == "systemctl":
        # Our drop-in of that unit is a layer of its own: without it the restart is Debian's plain flush.
        site.open()
        site.gateway.run(command)
        wait.until(lambda: site.status()["state"] == "closed", 10, "closed")
        closed = "our drop-in loads both in one step; the shutter sees another table and closes"
        rows.append(Row(name, closed, look(site)))
        holds(rows[-1], viewer="reset")
        site.wait_closed()
        return
    site.open()
    shutter = site.pid("shutter")
    try:
        site.gateway.run(["kill", "-STOP", str(shutter)])
        site.gateway.run(command)
        seen = look(site)
        wait.until(lambda: site.status()["state"] == "closed", 20, "closed by the shutter's watchdog")
        site.wait_guards()
        site.open()
        # The kernel tells the shutter of the change: a poll of two seconds would not do.
        rows.append(Row(name, took(site, lambda: site.gateway.run(command), at_most=1.5), seen))
        holds(rows[-1])
    finally:
        # Another window would load it, too; here it is wanted for the look at what is left.
        site.gateway.run(["systemctl", "reload", "sightglass-nftables"])


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
def test_with_the_stream_server_on_every_address(site: Site, rows: list[Row]) -> None:
    """It never opens so; with the guard taken out as well, the kernel's rules hold."""
    wildcard = replaced(site, venv(site, "mediamtx.py"), r"rtspAddress: \{rtsp\}", "rtspAddress: 0.0.0.0:8554")
    with started(site), wildcard:
        with restarted(site):
            refused = site.ask_open()
            assert (refused.returncode, "must not listen" in refused.stderr) == (3, True)
            site.wait_closed()
        blind = replaced(site, venv(site, "guards.py"), r"    if strangers:", "    if False:")
        with blind, restarted(site):
            site.open()
            site.gateway.run(["sh", "-c", "ss -ltnH sport = :8554 | grep -q 0.0.0.0"])
            rows.append(Row("the bind address (MediaMTX on 0.0.0.0)", "does not open: exposure", look(site)))
            holds(rows[-1])
            site.close()


@pytest.mark.requirement("A5")
def test_with_a_join_check_that_says_yes_to_all(site: Site, rows: list[Row]) -> None:
    """Identity at the join is gone: policy and leases hold."""
    yes = replaced(
        site,
        venv(site, "joins.py"),
        r"    async def decide\(self, ask: Ask\) -> bool:\n",
        "    async def decide(self, ask: Ask) -> bool:\n        return True\n\n"
        "    async def undecided(self, ask: Ask) -> bool:\n",
    )
    with started(site), yes, restarted(site):
        window = site.open()["id"]
        rows.append(
            Row("identity at the join (yes to all)", "the record: bytes to somebody who never joined", look(site))
        )
        holds(rows[-1])
        assert site.watch(frames=50)
        site.close()
        seen = [(event["event"], event["data"].get("joined"), event["who"]) for event in site.events(window)]
        assert [(joined, who["user"]) for event, joined, who in seen if event == "left"] == [(False, "maintainer")]
        assert "joined" not in {event for event, _, _ in seen}


@pytest.mark.requirement("N3")
@pytest.mark.requirement("F3")
def test_with_a_stream_server_that_is_left_running(site: Site, rows: list[Row]) -> None:
    """Its life is not the shutter's any more: it listens on after the end, and the kernel lets nobody there."""
    unit = "/etc/systemd/system/sightglass-mediamtx.service"
    loose = replaced(site, unit, r"BindsTo=sightglass-shutter.service\n", "")
    try:
        with loose:
            site.gateway.run(["systemctl", "daemon-reload"])
            site.open()
            assert look(site)["maintainer"] == "the picture", "the control"
            site.gateway.run(["kill", "-9", str(site.pid("shutter"))])
            wait.until(lambda: site.status()["state"] == "closing", 10, "the agent sees that not all is gone")
            assert site.gateway.run(["systemctl", "is-active", "sightglass-mediamtx"]).stdout.strip() == "active"
            closed = "the window stays `closing` and no other one opens until it is gone"
            rows.append(Row("the processes' end (MediaMTX left running)", closed, look(site)))
            # The killed shutter's leases last for their time: the entitled viewer gets as far as the join check, which
            # is gone, and that is a no.
            holds(rows[-1], viewer="refused by name")
    finally:
        site.gateway.run(["systemctl", "stop", "sightglass-mediamtx"])
        site.gateway.run(["systemctl", "daemon-reload"])
    site.wait_closed()


def test_the_table_is_whole(rows: list[Row]) -> None:
    """The file of the docs has the same layers, so that it is made anew when one is added."""
    kept = (ROOT / "docs" / "layers.md").read_text()
    assert len(rows) == 7, "run the whole file"
    for row in rows:
        assert f"| {row.layer} |" in kept, row.layer
