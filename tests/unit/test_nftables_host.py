"""Scope host: what a site declares, what would be cut off, and the chain that comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.unit.plugins import loaded
from tests.unit.shutter_parts import LAN_GW4, ROLE, Net, needs_kernel, net, rendered

SS = """\
udp   UNCONN 0      0            0.0.0.0:41641      0.0.0.0:*    users:(("tailscaled",pid=40,fd=11))
udp   UNCONN 0      0      192.168.51.1%lan0:67     0.0.0.0:*    users:(("dnsmasq",pid=41,fd=4))
udp   UNCONN 0      0               [::]:5353          [::]:*    users:(("avahi-daemon",pid=42,fd=13))
tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=50,fd=3),("systemd",pid=1,fd=50))
tcp   LISTEN 0      100        127.0.0.1:1883       0.0.0.0:*    users:(("mosquitto",pid=51,fd=5))
tcp   LISTEN 0      100            [::1]:1883          [::]:*    users:(("mosquitto",pid=51,fd=6))
tcp   LISTEN 0      100     127.0.0.53%lo:53        0.0.0.0:*    users:(("systemd-resolve",pid=7,fd=6))
tcp   LISTEN 0      100    [::ffff:127.0.0.1]:8000        *:*    users:(("java",pid=52,fd=6))
tcp   LISTEN 0      100                *:9100             *:*    users:(("node exp\\"orter",pid=53,fd=6))
tcp   LISTEN 0      64           0.0.0.0:2049       0.0.0.0:*
"""
OWN = ["tcp 22", "udp 68"]


FILTERS: Any = loaded("../../roles/sightglass_nftables/filter_plugins/sightglass_sockets.py")


def undeclared(allowed: list[dict[str, Any]], denied: list[dict[str, Any]]) -> list[str]:
    found: list[str] = FILTERS.undeclared(SS.splitlines(), allowed, denied, OWN)
    return found


@pytest.mark.requirement("F1")
def test_each_socket_that_nothing_is_said_about_is_named_with_its_process() -> None:
    """Loopback, in any family and form, is nobody else's; the chain's own ports need no word."""
    assert undeclared([], []) == [
        "udp 0.0.0.0:41641 of tailscaled",
        "udp 192.168.51.1%lan0:67 of dnsmasq",
        "udp [::]:5353 of avahi-daemon",
        'tcp *:9100 of node exp\\"orter',
        "tcp 0.0.0.0:2049 of no process (the kernel's own)",
    ]


@pytest.mark.requirement("F1")
def test_a_word_for_each_is_enough() -> None:
    """By port, by range, by process; a rule of the other protocol says nothing."""
    allowed: list[dict[str, Any]] = [
        {"name": "vpn", "protocol": "udp", "port": 41641},
        {"name": "files", "protocol": "tcp", "port": "2000-2100"},
        {"name": "dhcp", "protocol": "tcp", "port": 67},
    ]
    denied: list[dict[str, Any]] = [
        {"name": "discovery", "protocol": "udp", "process": "avahi-daemon"},
        {"name": "figures", "protocol": "tcp", "port": "9100"},
        {"name": "other", "protocol": "udp", "port": 67, "process": "isc-dhcpd"},
    ]
    assert undeclared(allowed, denied) == ["udp 192.168.51.1%lan0:67 of dnsmasq"]


@pytest.mark.requirement("F1")
def test_a_line_that_cannot_be_read_is_no_empty_answer() -> None:
    """What cannot be read may be anybody's socket."""
    with pytest.raises(ValueError, match="cannot be read: 'Error: netlink'"):
        FILTERS.undeclared(["Error: netlink"], [], [], OWN)


OURS = "uid:61001 ino:7 sk:9 cgroup:/system.slice/sightglass-agent.service <->"
THEIRS = "uid:33 ino:7 sk:9 cgroup:/system.slice/site.service <->"


def strangers(line: str) -> list[str]:
    found: list[str] = FILTERS.strangers([line], [8189, "8554"], [8189], 8800)
    return found


@pytest.mark.requirement("F1")
@pytest.mark.parametrize(
    ("protocol", "local"),
    [
        ("tcp", "0.0.0.0:8554"),
        ("tcp", "[::1]:8189"),
        ("udp", "127.0.0.1:8189"),
        ("tcp", "127.0.0.1:8800"),
        ("tcp", "0.0.0.0:8800"),
        ("tcp", "*:8800"),
        ("tcp", "[::ffff:127.0.0.1]:8800"),
        ("tcp", "127.0.0.1%lo:8800"),
    ],
)
def test_a_port_that_the_gate_shuts_is_nobody_elses(protocol: str, local: str) -> None:
    """A site's server on 127.0.0.1:8800 lost its clients at the first run. A socket of ours there is no stranger's."""
    line = f"{protocol} LISTEN 0 128 {local} 0.0.0.0:* "
    assert strangers(line + THEIRS) == [f"{protocol} {local} of /system.slice/site.service"]
    assert strangers(line + "ino:7 sk:9 <->") == [f"{protocol} {local} of somebody"]
    assert strangers(line + OURS) == []


@pytest.mark.requirement("F1")
@pytest.mark.parametrize(
    ("protocol", "local"),
    [
        ("udp", "0.0.0.0:8554"),
        ("udp", "127.0.0.1:8800"),
        ("tcp", "192.0.2.1:8800"),
        ("tcp", "[::]:8800"),
        ("tcp", "127.0.0.1:18800"),
        ("tcp", "127.0.0.1:880"),
    ],
)
def test_a_port_that_the_gate_leaves_alone_may_be_the_sites(protocol: str, local: str) -> None:
    """The hook has 127.0.0.1 alone, and no list is about the other protocol."""
    assert strangers(f"{protocol} LISTEN 0 128 {local} 0.0.0.0:* {THEIRS}") == []


DOCKER = """\
tcp   LISTEN 0      4096         0.0.0.0:8080       0.0.0.0:*    users:(("docker-proxy",pid=60,fd=7))
tcp   LISTEN 0      4096            [::]:8080          [::]:*    users:(("docker-proxy",pid=61,fd=7))
tcp   LISTEN 0      4096       127.0.0.1:8081       0.0.0.0:*    users:(("docker-proxy",pid=62,fd=7))
udp   UNCONN 0      0            0.0.0.0:5060       0.0.0.0:*    users:(("conmon",pid=63,fd=5))
tcp   LISTEN 0      100                *:9100             *:*    users:(("node_exporter",pid=53,fd=6))
"""
BOTH = ["tcp 0.0.0.0:8080 docker-proxy", "tcp [::]:8080 docker-proxy"]
PAST = "is published is forwarded past the input chain and stays open. Publish it on 127.0.0.1, or not at all"


@pytest.mark.requirement("F1")
@pytest.mark.parametrize(
    ("rule", "sockets"),
    [
        ({"protocol": "tcp", "port": "8080-9100"}, BOTH),
        (
            {"protocol": "tcp", "process": "docker-proxy"},
            ["tcp 0.0.0.0:8080 docker-proxy", "tcp [::]:8080 docker-proxy"],
        ),
        ({"protocol": "udp", "port": 5060}, ["udp 0.0.0.0:5060 conmon"]),
        ({"protocol": "udp", "port": 8080}, []),
        ({"protocol": "tcp", "port": 8081}, []),
        ({"protocol": "tcp", "port": 9100}, []),
    ],
)
def test_what_a_container_engine_publishes_cannot_be_denied(rule: dict[str, Any], sockets: list[str]) -> None:
    """It is forwarded: the denial was taken, and the port stayed open. On loopback, or a plain socket, it can."""
    found = FILTERS.published(DOCKER.splitlines(), [rule | {"name": "page"}])
    assert found == [
        f"{what} must not be denied (page): {whose} publishes it for a container, and what {PAST}"
        for what, _, whose in (one.rpartition(" ") for one in sockets)
    ]


MAY_HAVE = "it may have interfaces, name, port, protocol, sources"
RANGE = "port must lie between 1 and 65535, the first not above the last, not"
NAME = "name must be 1 to 64 letters, digits, spaces and . _ - only, not"
NETWORK = "must be a network such as 192.0.2.0/24, with no bit set behind its length, not"
INTERFACES = "interfaces must be names of at most 15 letters, digits and . _ - @, not"
BROKER = {"name": "broker", "protocol": "tcp", "port": 1883}


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(
    ("what", "rules", "sentence"),
    [
        ("allow", "broker", "x must be a list, not 'broker'"),
        ("allow", ["broker"], "x[0] must be a mapping, not 'broker'"),
        ("allow", [BROKER | {"prot": "tcp"}], f"x[0] has no setting 'prot'; {MAY_HAVE}"),
        ("allow", [BROKER | {"process": "mosquitto"}], f"x[0] has no setting 'process'; {MAY_HAVE}"),
        ("allow", [BROKER, BROKER | {"port": "1 accept"}], "x[1] port must be a number or FIRST-LAST, not '1 accept'"),
        ("allow", [BROKER | {"port": 65536}], f"x[0] {RANGE} 65536"),
        ("allow", [BROKER | {"port": 0}], "x[0] port must be a number or FIRST-LAST, not 0"),
        ("allow", [BROKER | {"port": "20-10"}], f"x[0] {RANGE} '20-10'"),
        ("allow", [BROKER | {"protocol": "sctp"}], "x[0] protocol must be tcp or udp, not 'sctp'"),
        ("allow", [BROKER | {"name": 'a"b\n'}], f"x[0] {NAME} 'a\"b\\n'"),
        ("allow", [BROKER | {"sources": ["192.0.2.1/24"]}], f"x[0] sources {NETWORK} '192.0.2.1/24'"),
        ("allow", [BROKER | {"sources": ["all"]}], f"x[0] sources {NETWORK} 'all'"),
        ("allow", [BROKER | {"interfaces": ['lan0" accept']}], f"x[0] {INTERFACES} 'lan0\" accept'"),
        (
            "allow",
            [BROKER | {"interfaces": "lan0"}],
            "x[0] interfaces must be a list that names at least one, not 'lan0'",
        ),
        ("allow", [BROKER | {"sources": None}], "x[0] sources must be a list that names at least one, not None"),
        ("allow", [BROKER | {"port": "0443"}], "x[0] port must be a number or FIRST-LAST, not '0443'"),
        ("deny", [{"name": "a", "protocol": "tcp"}], "x[0] port must be a number or FIRST-LAST, not None"),
        (
            "deny",
            [BROKER | {"sources": []}],
            "x[0] has no setting 'sources'; it may have name, port, process, protocol",
        ),
    ],
)
def test_a_bad_rule_is_one_sentence(what: str, rules: Any, sentence: str) -> None:
    """It names the variable, the place, the rule and the value."""
    assert FILTERS.faults({"y": [], "x": rules}, what) == [sentence]


@pytest.mark.requirement("U1")
def test_what_is_denied_is_not_allowed_elsewhere() -> None:
    """The chain only allows, so that the port would stay open; a denial by process alone contradicts nothing."""
    denied = [
        {"name": "figures", "protocol": "tcp", "port": "1800-1900"},
        {"name": "other", "protocol": "udp", "port": 1883},
        {"name": "discovery", "protocol": "tcp", "process": "mosquitto"},
    ]
    said = ["tcp 1800-1900 must not be denied (figures) and allowed (broker) at once"]
    assert FILTERS.contradictions([BROKER], denied) == said
    assert FILTERS.contradictions([BROKER | {"port": "1901-1902"}], denied) == []


@pytest.mark.requirement("U1")
def test_good_rules_have_no_fault() -> None:
    """The control."""
    full = BROKER | {"interfaces": ["lan0", "eth0.5"], "sources": ["192.0.2.0/24", "2001:db8::/32", "10.0.0.1"]}
    assert FILTERS.faults({"x": [BROKER, full]}, "allow") == []
    assert FILTERS.faults({"x": [BROKER, {"name": "a", "protocol": "udp", "process": "b"}]}, "deny") == []
    assert FILTERS.network_faults(["192.0.2.0/24", "::1"], "n") == []
    assert FILTERS.network_faults(["fe80::1%lan0"], "n") != [], "behind a % there may be anything"


@pytest.mark.requirement("U1")
def test_what_the_roles_publish_has_no_fault() -> None:
    """Whoever runs them has not written it, and could do nothing about a sentence that names it."""
    published = {
        name: value
        for file in (ROLE.parent).glob("*/vars/main.yml")
        for name, value in yaml.safe_load(file.read_text()).items()
        if re.search("_firewall_(allow|deny)$", name)
    }
    assert len(published) == 2
    for name, rules in published.items():
        assert FILTERS.faults({name: rules}, name.rpartition("_")[2]) == []


GIVEN: dict[str, dict[str, Any]] = {
    "interfaces": {"i": ["tailscale0"], "o": []},
    "ports": {"t": [8550, 8554], "u": [8189]},
    "sources": {"s": [{"address": "127.0.0.1", "port": 8000}, {"address": "::1", "port": 554}]},
    "addresses": {"c": ["10.0.0.9", "2001:db8::1"]},
}


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (
            "interfaces",
            {"i": ['a" accept']},
            "i must be a name of at most 15 letters, digits and . _ - @, not 'a\" accept'",
        ),
        ("ports", {"t": [8550, 8550]}, "t must be ports from 1 to 65535, each once, not [8550, 8550]"),
        ("ports", {"t": []}, "t must be ports from 1 to 65535, each once, not []"),
        ("ports", {"t": [65536]}, "t must be ports from 1 to 65535, each once, not [65536]"),
        (
            "sources",
            {"s": [{"address": "10.0.0.9", "port": 1}]},
            "s[0] address must be one of the gateway's own loopback, not '10.0.0.9'",
        ),
        ("addresses", {"c": ["cam.example"]}, "c must be numeric addresses, not 'cam.example'"),
        ("addresses", {"c": ["fe80::1%x } ; }"]}, "c must be numeric addresses, not 'fe80::1%x } ; }'"),
        ("sources", {"s": [{"address": "::1", "port": 0}]}, "s[0] port must lie between 1 and 65535, not 0"),
        ("interfaces", {"i": "eth0"}, "i must be a list, not 'eth0'"),
        ("addresses", {"c": "10.0.0.9"}, "c must be a list, not '10.0.0.9'"),
    ],
)
def test_what_the_rules_are_made_of_is_looked_at(kind: str, values: dict[str, Any], sentence: str) -> None:
    """Before nft is asked, whose answer names a line of ours and nothing of the inventory."""
    assert FILTERS.given_faults(GIVEN) == [], "the control"
    assert FILTERS.given_faults(GIVEN | {kind: values}) == [sentence]


@pytest.fixture(scope="module")
def lab() -> Iterator[Net]:
    """Namespaces to load the chain in."""
    with net() as made:
        yield made


def chain(*rules: dict[str, Any], **changed: Any) -> str:
    return rendered("host.nft.j2", __sightglass_nftables_allowed=list(rules), **changed)


@needs_kernel
@pytest.mark.requirement("F3")
def test_the_chain_loads_over_itself_and_holds_what_was_declared(lab: Net) -> None:
    """Each rule with its interfaces and its sources of either family, and the name to read it by."""
    lab.gateway.load("table inet site { chain c { type filter hook input priority 0; }; }\n")
    full: dict[str, Any] = {"interfaces": ["lan0", "eth0.5"], "sources": ["192.0.2.0/24", "2001:db8::/32"]}
    rules: list[dict[str, Any]] = [
        {"name": "broker", "protocol": "tcp", "port": 1883, **full},
        {"name": "figures", "protocol": "tcp", "port": "9100-9110"},
        {"name": "VPN", "protocol": "udp", "port": 41641, "sources": []},
    ]
    text = chain(*rules, sightglass_nftables_management_networks=["198.51.100.0/24", "2001:db8:1::/48"])
    for _ in range(2):
        lab.gateway.load(text)
    listed = re.sub(r" +", " ", lab.gateway.run("nft", "-s", "list", "table", "inet", "sightglass_host"))
    for line in (
        "type filter hook input priority filter; policy drop;",
        'iifname { "eth0.5", "lan0" } ip saddr 192.0.2.0/24 tcp dport 1883 accept comment "broker"',
        'iifname { "eth0.5", "lan0" } ip6 saddr 2001:db8::/32 tcp dport 1883 accept comment "broker"',
        'tcp dport 9100-9110 accept comment "figures"',
        'udp dport 41641 accept comment "VPN"',
        'iifname "tailscale0" tcp dport 22 accept',
        "ip saddr 198.51.100.0/24 tcp dport 22 accept",
        "ip6 saddr 2001:db8:1::/48 tcp dport 22 accept",
        'iifname "tailscale0" tcp dport { 8189, 8550, 8554, 8889 } accept',
    ):
        assert line in listed.replace('{ "lan0", "eth0.5" }', '{ "eth0.5", "lan0" }'), listed
    assert "table inet site" in lab.gateway.run("nft", "list", "tables")


def counted(lab: Net, prefix: str) -> int:
    """Packets at the rule of the input chain that begins so."""
    listed = lab.gateway.run("nft", "list", "chain", "inet", "sightglass_host", "input")
    (found,) = re.findall(rf"(?m)^\s+{prefix}counter packets (\d+)", listed)
    return int(found)


SHOUT = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for _ in range(12):
        out.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
"""


@needs_kernel
@pytest.mark.requirement("F1")
def test_what_is_cut_off_is_logged_a_little(lab: Net) -> None:
    """A service that came later is found in the kernel's log; neither a flood nor what is sent to all fills it."""
    lab.gateway.load(chain({"name": "open", "protocol": "udp", "port": 7000}))
    listed = lab.gateway.run("nft", "-s", "list", "chain", "inet", "sightglass_host", "input")
    (line,) = [line.strip() for line in listed.splitlines() if "log prefix" in line]
    assert re.search(r'^meta pkttype host limit rate 6/minute .*log prefix "sightglass_host "', line), line
    logged, dropped = "meta pkttype host limit rate 6/minute ", ""

    def sent(address: str, port: int) -> tuple[int, int]:
        before = counted(lab, f"{logged}.*?"), counted(lab, dropped)
        lab.lan.run("python3", "-c", SHOUT, address, str(port))
        return counted(lab, f"{logged}.*?") - before[0], counted(lab, dropped) - before[1]

    assert sent(LAN_GW4, 7000) == (0, 0), "the control: what is allowed is neither"
    assert sent("192.168.50.255", 7001) == (0, 12)
    assert sent(LAN_GW4, 7001) == (5, 12)


@needs_kernel
@pytest.mark.requirement("F3")
def test_nobody_outside_gets_to_a_camera_or_a_published_stream_port_through_the_gateway(lab: Net) -> None:
    """The rules stand in the gate's own table, so in both scopes; the direction that answers is not in them."""
    lab.gateway.load(
        rendered(
            __sightglass_nftables_cameras=["10.9.9.9", "2001:db8::9"], __sightglass_nftables_outside=["wwan0", "eth0"]
        )
    )
    listed = lab.gateway.run("nft", "-s", "list", "chain", "inet", "sightglass", "forw")
    for what in (
        "ip daddr @cameras4",
        "ip6 daddr @cameras6",
        "ct original proto-dst @tcp_ports",
        "ct original proto-dst @udp_ports",
    ):
        named, unnamed = (line.strip() for line in listed.splitlines() if what in line)
        for line in (named, unnamed):
            assert line.endswith("drop")
            assert "ct direction original" in line
        assert {"wwan0", "eth0", "tailscale0"} <= set(re.findall(r'"([^"]+)"', named))
        assert unnamed.startswith('iifname != "lo" meta iifkind != "bridge" '), unnamed
