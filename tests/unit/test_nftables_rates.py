"""How much the table lets through: each viewer's share, that of all together, and what a stranger costs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.unit.shutter_parts import (
    LAN_GW4,
    MEMBER4,
    NOBODY,
    OWN4,
    OWN6,
    PYTHON,
    ROOT,
    VIEWER4,
    VIEWER6,
    Host,
    Net,
    needs_kernel,
    net,
    probe,
    serve,
    shutter,
    until,
)

pytestmark = needs_kernel
OTHERS = [f"100.64.0.{last}" for last in range(4, 15)]
FREE = 9000
"""A port that the table does not know: the control of each refusal."""
FLOOD = str(ROOT / "lab/tools/flood.py")
HOLD = """
import socket, sys, time
source, host, port, count = sys.argv[1:]
got, held = {"data": 0, "refused": 0, "silent": 0}, []
for _ in range(int(count)):
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    one.settimeout(0.5)
    one.bind((source, 0))
    try:
        one.connect((host, int(port)))
        got["data" if one.recv(1) else "refused"] += 1
        held.append(one)
    except ConnectionError:
        got["refused"] += 1
    except TimeoutError:
        got["silent"] += 1
print("ready", flush=True)
print(got["data"], got["refused"], got["silent"], flush=True)
sys.stdin.read()
"""
SINK = """
import socket, sys
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", int(sys.argv[1])))
    server.listen()
    print("ready", flush=True)
    while True:
        one, _ = server.accept()
        try:
            while one.recv(65536):
                pass
        except OSError:
            pass
"""
PUMP = """
import socket, sys, time
source, host, port, seconds = sys.argv[1:]
with socket.create_connection((host, int(port)), 2, (source, 0)) as one:
    one.settimeout(0.2)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            one.send(b"x" * 16384)
        except TimeoutError:
            pass
"""
# On a veth the sender's own time is that of the receiver, too.
SYNS = """
import socket, struct, sys, time
source, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
ends = socket.inet_aton(source) + socket.inet_aton(host)

def packet(number):
    head = struct.pack("!HHIIBBHHH", 10000 + number, port, number, 0, 5 << 4, 2, 1024, 0, 0)
    total = sum(struct.unpack("!16H", ends + struct.pack("!BBH", 0, 6, 20) + head))
    total = (total >> 16) + (total & 0xFFFF)
    return head[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[18:]

packets = [packet(number) for number in range(10_000)]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as out:
    out.bind((source, 0))
    began = time.perf_counter()
    for one in packets:
        out.sendto(one, (host, 0))
    print(time.perf_counter() - began)
"""
# What has passed the gate, by bytes; the control port's as well.
LATE = """
table inet late {
  counter passed {}
  counter syns {}
  chain in {
    type filter hook input priority 250;
    iifname "tailscale0" th dport { 8189, 8550, 8554, 9000 } counter name passed
    iifname "tailscale0" tcp flags & (syn | ack) == syn counter name syns
  }
}
"""


@contextlib.contextmanager
def window() -> Iterator[Net]:
    """A window for seconds: a viewer in two families, eleven others, servers at two of our ports and at a free one."""
    with net() as made, shutter(made, ports=(8550, 8554)) as running:
        for address in OTHERS:
            made.peer.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        serve(made.gateway, "", 8550, 8554)
        serve(made.gateway, "", FREE, uid=NOBODY)
        made.gateway.load(LATE)
        running.renew([VIEWER4, VIEWER6, *OTHERS])
        yield made


def flood(
    made: Net, kind: str, port: int, *, source: str, rate: int = 300, seconds: float = 2.0
) -> subprocess.Popen[str]:
    """A rude client on the peer."""
    words = [PYTHON, FLOOD, kind, OWN4, str(port), f"--rate={rate}", f"--seconds={seconds}", f"--source={source}"]
    return subprocess.Popen(made.peer.command(words), stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> dict[str, int]:
    """What became of its connections."""
    found: dict[str, int] = json.loads(process.communicate(timeout=20)[0])
    return found


def hold(host: Host, source: str, address: str, port: int, count: int) -> tuple[list[int], subprocess.Popen[str]]:
    """Open connections and keep them: how many got data, a reset, silence."""
    process = host.start(PYTHON, "-c", HOLD, source, address, str(port), str(count))
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()], process


def passed(made: Net, name: str = "passed", what: str = "bytes") -> int:
    """What has come through the gate."""
    listed = json.loads(made.gateway.run("nft", "-j", "list", "counter", "inet", "late", name))["nftables"]
    return int(listed[1]["counter"][what])


@pytest.mark.requirement("F2")
def test_a_viewer_that_connects_in_a_loop_slows_nobody_else() -> None:
    """Of 600 connections in 2 s some 50 come through, every one of another viewer, and far more at a port not ours."""
    with window() as made:
        rude = flood(made, "syn", 8550, source=VIEWER4)
        polite = [probe(made.peer, OWN4, 8550, source=OTHERS[0]) for _ in range(6)]
        assert polite == ["data"] * 6
        seen = outcome(rude)
        # A dropped SYN comes once more within the flood's patience: some of those find a place later.
        assert 30 <= seen["connected"] <= 30 + 10 * 4
        assert seen["silent"] > 400
        control = outcome(flood(made, "syn", FREE, source=VIEWER4))
        assert control["connected"] > 3 * seen["connected"]


@pytest.mark.requirement("F2")
def test_all_viewers_together_have_a_bound() -> None:
    """Twelve viewers within their own limits, 30 connections each, get no more together than the total allows."""
    with window() as made:
        sources = ",".join([VIEWER4, *OTHERS])
        began = time.monotonic()
        seen = outcome(flood(made, "syn", 8550, source=sources, seconds=1.2))
        through, seconds = passed(made, "syns", "packets"), time.monotonic() - began
        assert seen["begun"] > 340
        assert 120 <= through <= 121 + 40 * seconds
        outcome(flood(made, "syn", FREE, source=sources, seconds=1.2))
        assert passed(made, "syns", "packets") - through > 340, "the control: a port that is not ours takes them all"


@pytest.mark.requirement("F2")
@pytest.mark.parametrize(("port", "most"), [(8550, 16), (8554, 6)], ids=["page", "player"])
def test_a_viewer_holds_few_connections(port: int, most: int) -> None:
    """The next is reset at once, in each family; another viewer gets in; and those that end make room."""
    with window() as made:
        got, held = hold(made.peer, VIEWER4, OWN4, port, most + 3)
        assert got == [most, 3, 0]
        assert hold(made.peer, VIEWER6, OWN6, port, most + 3)[0] == [most, 3, 0]
        assert hold(made.peer, VIEWER4, OWN4, FREE, most + 3)[0] == [most + 3, 0, 0]
        assert probe(made.peer, OWN4, port, source=OTHERS[0]) == "data"
        held.kill()
        until("room again", lambda: probe(made.peer, OWN4, port, source=VIEWER4) == "data")


@pytest.mark.requirement("F2")
def test_all_connections_to_a_port_have_a_bound() -> None:
    """Below the files that a server may open: five viewers want 80 connections and get 64, and the rest a reset."""
    with window() as made:
        got = [hold(made.peer, source, OWN4, 8550, 16) for source in OTHERS[:5]]
        assert [sum(column) for column in zip(*(counts for counts, _ in got), strict=True)] == [64, 16, 0]
        assert probe(made.peer, OWN4, 8554, source=OTHERS[0]) == "data", "another port has its own count"
        got[0][1].kill()
        until("room again", lambda: probe(made.peer, OWN4, 8550, source=VIEWER4) == "data")


@pytest.mark.requirement("F2")
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_what_a_viewer_sends_has_a_bound(kind: str) -> None:
    """STUN at 5 000 a second, and requests without end on one connection: 64 kB a second; far more elsewhere."""

    def send(port: int, source: str) -> int:
        before = passed(made)
        if kind == "udp":
            outcome(flood(made, "stun", port, source=source, rate=5000))
        else:
            made.peer.run(PYTHON, "-c", PUMP, source, OWN4, str(port), "2")
        return passed(made) - before

    with window() as made:
        made.gateway.stop_children()
        for port in (8554, FREE):
            made.gateway.start(PYTHON, "-c", SINK, str(port))
        ours = 8189 if kind == "udp" else 8554
        began = time.monotonic()
        # For bytes the kernel adds the first second to the burst.
        assert 200_000 < send(ours, VIEWER4) <= (256 + 64 + 64 * (time.monotonic() - began)) * 1024
        assert send(ours, OTHERS[0]) > 200_000, "another viewer has its own share"
        assert send(FREE, VIEWER4) > 800_000


@pytest.mark.requirement("N3")
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "not a viewer"])
def test_a_stranger_gets_resets_and_then_silence(opened: bool) -> None:
    """Of 600 SYNs some 30 are answered; who asks politely is answered at once meanwhile; the LAN never is."""
    with net() as made, shutter(made) as running:
        if opened:
            running.renew([VIEWER6])
        serve(made.gateway, "", FREE, uid=NOBODY)
        rude = flood(made, "syn", 8554, source=MEMBER4)
        assert [probe(made.peer, OWN4, 8554, source=VIEWER4) for _ in range(4)] == ["refused"] * 4
        seen = outcome(rude)
        assert 20 <= seen["refused"] <= 20 + 5 * 4
        assert seen["silent"] > 500
        assert probe(made.lan, LAN_GW4, 8554) == "silent"
        assert probe(made.lan, LAN_GW4, FREE) == "data"
        control = outcome(flood(made, "syn", FREE + 1, source=MEMBER4))
        assert control["refused"] == control["begun"], "an ordinary closed port resets every one"


@pytest.mark.requirement("N3")
def test_all_strangers_together_get_a_bounded_number_of_resets() -> None:
    """Five that each stay within their share."""
    with window() as made:
        made.gateway.load("flush set inet sightglass lease4\n")
        began = time.monotonic()
        rude = [flood(made, "syn", 8554, source=source, rate=30, seconds=1.5) for source in OTHERS[:5]]
        seen = [outcome(one) for one in rude]
        assert 40 <= sum(one["refused"] for one in seen) <= 40 + 20 * (time.monotonic() - began)
        assert sum(one["silent"] for one in seen) > 50


@pytest.mark.requirement("N3")
def test_a_closed_window_costs_no_more_than_a_closed_port() -> None:
    """10 000 SYNs to a port of ours, beside as many to an ordinary closed one: the quickest of five each."""

    def seconds(port: int) -> float:
        return float(made.peer.run(PYTHON, "-c", SYNS, MEMBER4, OWN4, str(port)))

    with net() as made:
        took = [(seconds(8554), seconds(FREE)) for _ in range(5)]
        ours, ordinary = (min(column) for column in zip(*took, strict=True))
        assert ours < 1.5 * ordinary, took
        said = made.gateway.run("nft", "-j", "list", "set", "inet", "sightglass", "knocks4")
        assert MEMBER4 in said, "the control: they have come to the table"
