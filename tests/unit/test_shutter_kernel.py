"""The real shutter, as its own user with CAP_NET_ADMIN, against the rendered rules in network namespaces."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.unit.shutter_parts import (
    FEED,
    LAN_GW4,
    MEMBER4,
    OWN4,
    OWN6,
    PYTHON,
    STREAM,
    VIEWER4,
    VIEWER6,
    WATCH,
    Net,
    needs_kernel,
    net,
    probe,
    rendered,
    serve,
    shutter,
    until,
)

pytestmark = needs_kernel


@pytest.fixture(scope="module")
def shared() -> Iterator[Net]:
    """One set of namespaces for the file: making it takes longer than a test."""
    with net() as made:
        yield made


@pytest.fixture
def lab(shared: Net) -> Iterator[Net]:
    """The namespaces with the table as at boot and no server."""
    shared.gateway.load("flush ruleset\n" + rendered())
    yield shared
    for host in (shared.gateway, shared.peer, shared.lan):
        host.stop_children()


def left(lab: Net, name: str, key: str) -> int:
    """Whole seconds that an element still lives."""
    return int(lab.gateway.elements(name)[key]["expires"])


@pytest.mark.requirement("F3")
def test_a_renewal_leases_and_a_close_leaves_nothing(lab: Net) -> None:
    """READY comes with empty sets, a renewal fills all five with its timeout, close empties them and exits 0."""
    with shutter(lab, ports=(8554, 8550), mdwe=True) as running:
        assert running.notice() == "READY=1"
        assert lab.gateway.leases() == {}
        assert running.renew([VIEWER4, VIEWER6], 7) == {"ok": True, "sent": {}}
        assert lab.gateway.elements("lease4")[VIEWER4]["timeout"] == 7
        tcp = socket.IPPROTO_TCP
        leases = {"own4": [OWN4], "own6": [OWN6], "open": [tcp], "lease4": [VIEWER4], "lease6": [VIEWER6]}
        assert lab.gateway.leases() == leases
        answer = running.close()
        assert answer["ok"] is True
        assert answer["cut_ms"] < 100
        code, errors = running.ended()
        assert (code, errors) == (0, "sightglass-shutter: closed, exit 0: closed\n")
        assert lab.gateway.leases() == {}


@pytest.mark.requirement("F3")
def test_a_renewal_extends_and_replaces(lab: Net) -> None:
    """A second renewal gives the full time again, drops who is not named, and no lease grows beyond what was asked."""
    with shutter(lab) as running:
        running.renew([VIEWER4], 3)
        until("a second has gone", lambda: left(lab, "lease4", VIEWER4) < 2)
        running.renew([VIEWER4], 3)
        assert left(lab, "lease4", VIEWER4) >= 2
        assert left(lab, "own4", OWN4) >= 2
        running.renew([MEMBER4], 3)
        assert list(lab.gateway.elements("lease4")) == [MEMBER4]
        running.renew([], 3)
        assert lab.gateway.leases().keys() == {"own4", "own6", "open"}


@pytest.mark.requirement("F3")
def test_without_renewal_it_ends_closed(lab: Net) -> None:
    """The lease of one second runs out: exit 3 within it, nothing left."""
    with shutter(lab) as running:
        running.renew([VIEWER4], 1)
        started = time.monotonic()
        code, errors = running.ended()
        assert code == 3, errors
        assert time.monotonic() - started < 1.3
        assert lab.gateway.leases() == {}


@pytest.mark.requirement("F3")
def test_the_kernel_closes_for_a_frozen_shutter(lab: Net) -> None:
    """Under SIGSTOP the elements expire by themselves; when it wakes up, it does not believe the renewal that waits."""
    with shutter(lab) as running:
        running.renew([VIEWER4], 1)
        running.process.send_signal(signal.SIGSTOP)
        until("the kernel has closed", lambda: lab.gateway.leases() == {}, 1.5)
        running.peer.sendall(
            json.dumps({"verb": "renew", "own": [OWN4], "viewers": [VIEWER4], "seconds": 15}).encode() + b"\n"
        )
        running.process.send_signal(signal.SIGCONT)
        assert running.ended()[0] == 3
        assert lab.gateway.leases() == {}


@pytest.mark.requirement("F3")
def test_what_a_killed_shutter_leaves_is_gone_in_its_time_and_at_the_next_start(lab: Net) -> None:
    """kill -9 leaves leases for their seconds; the next shutter empties them before it says READY."""
    with shutter(lab) as running:
        running.renew([VIEWER4], 15)
        running.process.kill()
        running.process.wait()
        assert lab.gateway.leases()
        assert left(lab, "lease4", VIEWER4) <= 15
    with shutter(lab) as running:
        assert running.notice() == "READY=1"
        assert lab.gateway.leases() == {}
        running.renew([VIEWER4], 1)
        running.process.kill()
    until("the kernel has closed", lambda: lab.gateway.leases() == {}, 1.5)


@pytest.mark.requirement("F3")
def test_end_of_the_agent_and_sigterm_end_it_closed(lab: Net) -> None:
    """EOF gives exit 4 and SIGTERM exit 0, both with empty sets."""
    with shutter(lab) as running:
        running.renew([VIEWER4])
        running.peer.close()
        assert running.ended()[0] == 4
        assert lab.gateway.leases() == {}
    with shutter(lab) as running:
        running.renew([VIEWER4])
        running.process.terminate()
        assert running.ended()[0] == 0
        assert lab.gateway.leases() == {}


@pytest.mark.requirement("F3")
def test_only_the_agents_user_is_served(lab: Net) -> None:
    """A peer with another uid is refused before READY."""
    with shutter(lab, agent_uid=12345) as running:
        code, errors = running.ended()
        assert code == 5
        assert "uid must be 12345, got 0" in errors


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b"\x00\xff\n",
        b"[" * 4095 + b"\n",
        b"x" * 5000,
        b'{"verb":"close","now":true}\n',
        b'{"verb":"renew","own":["100.64.0.1"],"viewers":["100.64.0.2"],"seconds":3600}\n',
        b'{"verb":"renew","own":["100.64.0.1"],"viewers":["0.0.0.0/0"],"seconds":15}\n',
    ],
    ids=["empty", "binary", "nested", "endless", "a field more", "an hour", "everybody"],
)
def test_malformed_input_ends_an_open_window(lab: Net, said: bytes) -> None:
    """After a good renewal, a bad line empties the sets and exits 5, with one sentence as the answer."""
    with shutter(lab) as running:
        running.renew([VIEWER4])
        running.peer.sendall(said)
        answer = running.read()
        assert answer["ok"] is False
        assert answer["error"]
        assert running.ended()[0] == 5
        assert lab.gateway.leases() == {}


@pytest.mark.requirement("F3")
def test_an_own_address_that_is_not_on_the_vpn_is_refused(lab: Net) -> None:
    """The LAN's address as `own` would shut the LAN out: exit 6."""
    with shutter(lab) as running:
        answer = running.renew([VIEWER4], own=[LAN_GW4])
        assert answer == {"ok": False, "error": f"{LAN_GW4} is no address of tailscale0"}
        assert running.ended()[0] == 6


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("delete table inet sightglass", "does not exist|No such file"),
        ("flush table inet sightglass", "has no rule"),
        ("flush chain inet sightglass from_vpn", "has no rule in from_vpn"),
        ("delete element inet sightglass tcp_ports { 8554 }", "does not guard port 8554"),
        ("no rules at all", "syntax error"),
    ],
)
def test_it_does_not_open_without_a_whole_table(lab: Net, harm: str, sentence: str) -> None:
    """A file of rules that makes no table, an empty one, or one that does not know the port: exit 6 and no READY."""
    whole = lab.rules.read_text()
    lab.rules.write_text(f"{whole}\n{harm}\n")
    try:
        with shutter(lab) as running:
            code, errors = running.ended()
            assert code == 6
            assert any(part in errors for part in sentence.split("|")), errors
            running.notices.setblocking(False)
            assert running.notice() == "STOPPING=1"
    finally:
        lab.rules.write_text(whole)


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    "harm",
    [
        "add table inet sightglass { flags dormant; }",
        "insert rule inet sightglass in accept; insert rule inet sightglass out accept",
        "flush ruleset",
    ],
    ids=["dormant", "gutted", "gone"],
)
def test_a_window_opens_with_the_rules_of_the_file(lab: Net, harm: str) -> None:
    """Whatever was done to the table between two windows: the next one has it as root's file says."""
    serve(lab.gateway, OWN4, 8554, uid=STREAM)
    lab.gateway.load(f"{harm}\n")
    stranger = 65534
    assert probe(lab.gateway, OWN4, 8554, uid=stranger) == "data", "the control: the harm is one"
    with shutter(lab) as running:
        assert running.renew([VIEWER4])["ok"] is True
        assert probe(lab.gateway, OWN4, 8554, uid=stranger) == "refused"
        assert probe(lab.gateway, OWN4, 8554, uid=FEED) == "data"
        running.close()


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    "harm",
    [
        "flush ruleset",
        "delete table inet sightglass",
        "flush chain inet sightglass from_vpn",
        "insert rule inet sightglass from_vpn accept",
        "add element inet sightglass sources4 { 192.168.50.20 . 80 }",
        f"add element inet sightglass lease4 {{ {MEMBER4} . tcp . 8554 }}",
        f"add element inet sightglass lease4 {{ {VIEWER4} . udp . 9999 timeout 1h }}",
        f"add element inet sightglass own4 {{ {LAN_GW4} }}",
        rendered(),
    ],
    ids=[
        "flush ruleset",
        "delete",
        "flush chain",
        "insert rule",
        "add source",
        "a stranger's lease",
        "another port",
        "another address",
        "load again",
    ],
)
def test_a_table_that_changes_in_a_window_ends_it(lab: Net, harm: str) -> None:
    """Whatever is done to the table, the shutter ends at once, not at the next renewal."""
    with shutter(lab) as running:
        running.renew([VIEWER4])
        lab.gateway.load(harm + "\n")
        done = time.monotonic()
        code, errors = running.ended()
        assert code == 6, errors
        assert time.monotonic() - done < 2, "a renewal is seconds away, and the machine may be busy"


@pytest.mark.requirement("F1")
def test_other_tables_are_nobodys_business(lab: Net) -> None:
    """Somebody else's rules may change in a window."""
    with shutter(lab) as running:
        running.renew([VIEWER4])
        for _ in range(20):
            lab.gateway.load("add table inet site\ndelete table inet site\ntable inet site { set s { type mark; }; }\n")
        assert running.renew([VIEWER4])["ok"] is True
        assert running.close()["ok"] is True


@pytest.mark.requirement("A2")
@pytest.mark.parametrize(("own", "viewer"), [(OWN4, VIEWER4), (OWN6, VIEWER6)], ids=["v4", "v6"])
def test_a_close_resets_the_viewer_at_once(lab: Net, own: str, viewer: str) -> None:
    """A viewer's stream ends with a reset within 100 ms of the command, not in a hang."""
    serve(lab.gateway, own, 8554)
    with shutter(lab) as running:
        running.renew([viewer])
        watch = lab.peer.start(PYTHON, "-c", WATCH, viewer, own, "8554")
        asked = time.monotonic()
        running.close()
        kind, _, last, ended = watch.communicate(timeout=5)[0].split()
        assert kind == "reset"
        assert float(last) - asked < 0.1
        assert float(ended) - asked < 0.1


@pytest.mark.requirement("A2")
def test_a_renewal_cuts_only_who_is_no_longer_named(lab: Net) -> None:
    """Of two viewers at a server bound to every address, the one that is gone from the list is reset."""
    serve(lab.gateway, "", 8554)
    with shutter(lab) as running:
        running.renew([VIEWER4, MEMBER4])
        stays = lab.peer.start(PYTHON, "-c", WATCH, VIEWER4, OWN4, "8554")
        goes = lab.peer.start(PYTHON, "-c", WATCH, MEMBER4, OWN4, "8554")
        asked = time.monotonic()
        running.renew([VIEWER4])
        kind, _, _, ended = goes.communicate(timeout=5)[0].split()
        assert kind == "reset"
        assert float(ended) - asked < 0.1
        before = received(lab, VIEWER4)
        until("the other viewer gets more", lambda: received(lab, VIEWER4) > before)
        assert stays.poll() is None
        running.close()
        kind, _, last, _ = stays.communicate(timeout=5)[0].split()
        assert (kind, float(last) > float(ended)) == ("reset", True)


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(("own", "viewer"), [(OWN4, VIEWER4), (OWN6, VIEWER6)], ids=["v4", "v6"])
def test_what_each_viewer_was_sent_is_counted(lab: Net, own: str, viewer: str) -> None:
    """By the kernel, by address, at each renewal and at the close; a lease that nobody uses has no entry."""
    serve(lab.gateway, own, 8554)
    with shutter(lab) as running:
        assert running.renew([VIEWER4, VIEWER6])["sent"] == {}
        watch = lab.peer.start(PYTHON, "-c", WATCH, viewer, own, "8554")
        until("some bytes", lambda: received(lab, viewer) > 5_000)
        first = running.renew([VIEWER4, VIEWER6])["sent"]
        assert set(first) == {viewer}
        assert first[viewer] > 5_000
        assert running.close()["sent"][viewer] >= first[viewer]
        watch.communicate(timeout=5)


def received(lab: Net, viewer: str) -> int:
    """Bytes that a viewer's connection has got so far."""
    shown = lab.peer.run("ss", "-tinH", "src", f"[{viewer}]" if ":" in viewer else viewer)
    return int(re.search(r"bytes_received:(\d+)", shown)[1])  # type: ignore[index]


@pytest.mark.requirement("U1")
def test_renewing_loses_no_packet(lab: Net) -> None:
    """300 renewals under a stream: no packet meets an empty set."""
    serve(lab.gateway, OWN4, 8554)
    with shutter(lab) as running:
        running.renew([VIEWER4])
        watch = lab.peer.start(PYTHON, "-c", WATCH, VIEWER4, OWN4, "8554")
        for _ in range(300):
            running.renew([VIEWER4])
        rules = json.loads(lab.gateway.run("nft", "-j", "list", "chain", "inet", "sightglass", "to_viewer"))["nftables"]
        counters = [
            part["counter"]["packets"] for item in rules[2:] for part in item["rule"]["expr"] if "counter" in part
        ]
        assert counters
        assert not any(counters)
        running.close()
        assert watch.communicate(timeout=5)[0].startswith("reset")


@pytest.mark.requirement("F3")
def test_a_peer_that_does_not_read_ends_it(lab: Net) -> None:
    """Answers that pile up end the window instead of blocking it."""
    said = json.dumps({"verb": "renew", "own": [OWN4], "viewers": [], "seconds": 15}).encode() + b"\n"
    with shutter(lab) as running:
        running.peer.settimeout(10)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                running.peer.sendall(said * 50)
        assert running.ended()[0] == 4
        assert lab.gateway.leases() == {}


@pytest.mark.requirement("A2")
def test_a_frozen_gate_cuts_a_stream(lab: Net) -> None:
    """Kernel alone: with the shutter stopped, no byte arrives after the lease, and a new connection gets nothing."""
    serve(lab.gateway, OWN4, 8554)
    with shutter(lab) as running:
        running.renew([VIEWER4], 1)
        renewed = time.monotonic()
        watch = lab.peer.start(PYTHON, "-c", WATCH, VIEWER4, OWN4, "8554")
        running.process.send_signal(signal.SIGSTOP)
        _, _, last, _ = watch.communicate(timeout=5)[0].split()
        assert float(last) - renewed < 1.05
        assert probe(lab.peer, OWN4, 8554, source=VIEWER4) == "refused"


@pytest.mark.requirement("A2")
def test_the_publisher_needs_its_lease_too(lab: Net) -> None:
    """The feed's user publishes over lo while the window is open, not before and not after."""
    serve(lab.gateway, OWN4, 8554, uid=STREAM)
    assert probe(lab.gateway, OWN4, 8554, uid=FEED) == "refused"
    with shutter(lab) as running:
        running.renew()
        assert probe(lab.gateway, OWN4, 8554, uid=FEED) == "data"
        running.close()
        running.ended()
    assert probe(lab.gateway, OWN4, 8554, uid=FEED) == "refused"
