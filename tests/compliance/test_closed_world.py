"""What listens on a gateway, by the kernel's word and any owner: closed, during a window, closed again.

A closed world: what is not in the list is wrong, wherever and whoever it is. `ss` is run here and its exit code and its
controls are looked at, because a list of listeners that could not be read is empty, too.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from testinfra.host import Host

WINDOW = ("sightglass-shutter", "sightglass-mediamtx", "sightglass-feed", "sightglass-console")


@dataclass(frozen=True, order=True)
class Listener:
    """One listening socket; `where` is loopback, vpn, any, or the address itself, `unit` its owner's cgroup."""

    protocol: str
    family: int
    where: str
    port: int
    unit: str


def both(protocol: str, where: str, port: int, unit: str) -> set[Listener]:
    """The same in both families."""
    return {Listener(protocol, family, where, port, unit) for family in (4, 6)}


# The site's own. A fleet with other software changes this list, and somebody reviews it.
SITE = {
    *both("tcp", "any", 22, "ssh.service"),
    *both("udp", "any", 41641, "tailscaled.service"),
    # tailscaled's peer API: its port is chosen at each start.
    *both("tcp", "vpn", 0, "tailscaled.service"),
    *both("tcp", "loopback", 1883, "mosquitto.service"),
    Listener("tcp", 4, "loopback", 8000, "parking.service"),
}
OPEN = {
    *(Listener("tcp", 4, "vpn", port, "sightglass-mediamtx.service") for port in (8189, 8554, 8889)),
    Listener("udp", 4, "vpn", 8189, "sightglass-mediamtx.service"),
    Listener("tcp", 4, "vpn", 8550, "sightglass-console.service"),
    Listener("tcp", 4, "loopback", 8800, "sightglass-agent.service"),
}


def listeners(host: Host) -> set[Listener]:
    """Every listening TCP and bound UDP socket. Fails the test when `ss` fails or shows nothing of its controls."""
    found = host.run("ss -Hltun -e")
    assert found.rc == 0, found.stderr
    vpn = {row["local"] for link in json_of(host, "ip -j address show tailscale0") for row in link["addr_info"]}
    seen = {listener(line, vpn) for line in found.stdout.splitlines() if line.strip()}
    for control in (*both("tcp", "any", 22, "ssh.service"), *both("udp", "any", 41641, "tailscaled.service")):
        assert control in seen, f"ss does not show the control {control}: {found.stdout}"
    return seen


def listener(line: str, vpn: set[str]) -> Listener:
    """One line of `ss -Hltun -e`."""
    fields = line.split()
    protocol, local = fields[0], fields[4]
    name, _, port = local.rpartition(":")
    address = ipaddress.ip_address("::" if name == "*" else name.strip("[]").partition("%")[0])
    owner = re.search(r"cgroup:\S*?([^/\s]+)(?:\s|$)", line)
    unit = owner[1] if owner else "nobody"
    where = (
        "loopback" if address.is_loopback
        else "vpn" if str(address) in vpn
        else "any" if address.is_unspecified
        else str(address)
    )  # fmt: skip
    peer_api = unit == "tailscaled.service" and where == "vpn"
    return Listener(protocol, address.version, where, 0 if peer_api else int(port), unit)


def json_of(host: Host, command: str) -> Any:
    """A command's JSON answer. Fails the test when the command fails."""
    done = host.run(command)
    assert done.rc == 0, f"{command}: {done.stderr or done.stdout}"
    return json.loads(done.stdout)


def state(host: Host) -> str:
    """The agent's own word."""
    return str(json_of(host, "sightglass status --json")["state"])


def until_closed(host: Host) -> None:
    """Waits until nothing of a window runs; 30 s at most."""
    deadline = time.monotonic() + 30
    units = " ".join(f"{unit}.service" for unit in WINDOW)
    while True:
        states = host.run(f"systemctl show -P ActiveState {units}").stdout.split()
        if states == ["inactive"] * len(WINDOW) and state(host) == "closed":
            return
        assert time.monotonic() < deadline, f"not closed after 30 s: {states}, {state(host)}"
        time.sleep(0.1)


@pytest.fixture
def closed(host: Host) -> Iterator[None]:
    """Closed before and after, whatever the test did."""
    host.run("sightglass close")
    until_closed(host)
    yield
    host.run("sightglass close")
    until_closed(host)


def only(found: set[Listener], wanted: set[Listener]) -> bool:
    """Whether exactly the wanted ones listen. tailscaled opens its peer API some time after its start, each family by
    itself, so that one may be missing; it may not be elsewhere."""
    peer_api = set(both("tcp", "vpn", 0, "tailscaled.service"))
    return found <= wanted and wanted - peer_api <= found


@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("N3")
@pytest.mark.usefixtures("closed")
def test_only_the_window_listens_and_only_while_it_is_open(host: Host) -> None:
    """Closed, open, closed again: a window adds its ports on the VPN and the join check on loopback, no more."""
    assert only(listeners(host), SITE)
    opened = json_of(
        host,
        "sightglass open --minutes 5 --purpose debug --camera cam1 --reason 'the compliance check' --json",
    )
    assert opened["state"] == "open"
    assert only(listeners(host), SITE | OPEN)
    assert json_of(host, "sightglass close --json")["state"] == "closed"
    assert only(listeners(host), SITE)


@pytest.mark.requirement("A1")
@pytest.mark.parametrize(("protocol", "address"), [(p, a) for p in ("tcp", "udp") for a in ("127.0.0.1", "::1")])
def test_the_check_sees_a_stranger(host: Host, protocol: str, address: str) -> None:
    """The positive control: a listener that is planted is seen, in each protocol and family."""
    kind = "SOCK_STREAM" if protocol == "tcp" else "SOCK_DGRAM"
    family = "AF_INET6" if ":" in address else "AF_INET"
    unit = f"compliance-stranger-{protocol}-{family[3:].lower()}"
    script = (
        f"import os,socket; s = socket.socket(socket.{family}, socket.{kind}); s.bind(('{address}', 0));"
        f"{' s.listen();' if protocol == 'tcp' else ''}"
        " n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); n.connect(os.environ['NOTIFY_SOCKET']);"
        " n.send(b'READY=1'); import time; time.sleep(60)"
    )
    planted = host.run(
        f"systemd-run --quiet --collect --unit={unit} --property=Type=notify --uid=nobody -- python3 -c %s", script
    )
    assert planted.rc == 0, planted.stderr
    try:
        strangers = listeners(host) - SITE
        assert {(s.protocol, s.where, s.unit) for s in strangers} == {(protocol, "loopback", f"{unit}.service")}
    finally:
        host.run(f"systemctl stop {unit}.service")


@pytest.mark.requirement("N3")
@pytest.mark.usefixtures("closed")
def test_closed_means_no_process(host: Host) -> None:
    """No process of a window's user while closed; the agent's own one is the control."""
    found = host.run("ps -eo user:32=")
    assert found.rc == 0
    users = set(found.stdout.split())
    assert "sightglass" in users
    assert not users & set(WINDOW)


def properties(host: Host, unit: str) -> dict[str, str]:
    """What systemd itself says about a unit."""
    done = host.run(f"systemctl show --all {unit}")
    assert done.rc == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert found["LoadState"] == "loaded", f"{unit} is {found['LoadState']}"
    return found


@pytest.mark.requirement("P1")
@pytest.mark.requirement("N2")
@pytest.mark.parametrize("name", WINDOW)
def test_window_units_are_confined(host: Host, name: str) -> None:
    """Own user, no writable path, no swap, first to go when memory is short: by systemd's own word."""
    found = properties(host, f"{name}.service")
    assert (found["User"], found["Group"]) == (name, name)
    assert found["ReadWritePaths"] == ""
    assert found["ProtectSystem"] == "strict"
    assert (
        found["StateDirectory"] == found["CacheDirectory"] == found["LogsDirectory"] == found["RuntimeDirectory"] == ""
    )
    # Of /run its own channel and systemd's ear: tailscaled's socket there dials for everybody.
    assert found["TemporaryFileSystem"] == "/run:ro"
    paths = {path.partition(":")[0] for path in found["BindPaths"].split()}
    channel = {f"/run/{name}.sock"} if name in ("sightglass-feed", "sightglass-console") else set()
    assert paths == channel | (set() if name == "sightglass-mediamtx" else {"/run/systemd/notify"})
    assert found["NoNewPrivileges"] == "yes"
    assert found["OOMScoreAdjust"] == "1000"
    assert found["MemorySwapMax"] == found["LimitCORE"] == "0"
    assert 0 < int(found["MemoryMax"]) <= 512 << 20
    capabilities = "cap_net_admin" if name == "sightglass-shutter" else ""
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == capabilities
    # The shutter works for a millisecond every few seconds, and a cut must not wait for the vision.
    assert found["CPUWeight"] == ("1000" if name == "sightglass-shutter" else "idle")


@pytest.mark.requirement("N3")
def test_nothing_is_enabled_that_must_not_be(host: Host) -> None:
    """At boot come the gate, the agent and its sockets; nothing of a window, and nothing else of ours."""
    found = host.run("systemctl list-unit-files --no-legend --no-pager 'sightglass*'")
    assert found.rc == 0, found.stderr
    files = {fields[0]: fields[1] for fields in map(str.split, found.stdout.splitlines())}
    assert {name for name, how in files.items() if how == "enabled"} == {
        "sightglass-nftables.service",
        "sightglass-agent.service",
        "sightglass-agent.socket",
        "sightglass-feed-channel.socket",
        "sightglass-console-channel.socket",
        "sightglass-shutter.socket",
    }
    static = {f"{unit}.service" for unit in (*WINDOW, "sightglass-off")}
    assert {name for name, how in files.items() if how == "static"} == static
    assert set(files.values()) <= {"enabled", "static"}


@pytest.mark.requirement("F3")
def test_agent_is_confined(host: Host) -> None:
    """The agent has no capability, and only its own state to write."""
    found = properties(host, "sightglass-agent.service")
    assert (found["User"], found["SupplementaryGroups"]) == ("sightglass", "")
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ""
    assert found["ReadWritePaths"] == ""
    assert (found["StateDirectory"], found["StateDirectoryMode"]) == ("sightglass", "0700")
    assert (found["RuntimeDirectory"], found["RuntimeDirectoryMode"]) == ("sightglass", "0700")
