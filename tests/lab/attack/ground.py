"""A gateway as an attacker on the network wants it: what the site, Docker and the kernel could open is open.

The site's careless rules forward, translate and masquerade, the kernel follows source routes and takes its own
addresses from outside, and tailscaled's chains are empty. What is left is the gate, and each attack is first seen to
succeed without it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.matrix import OPEN, TCP_PORTS, UDP_PORTS, planted, responder
from lab import wait
from lab.cgroups import Cgroup
from lab.host import Host
from lab.media import TOOLS
from tests.lab.window.site_under_test import Site

BEHIND = 10_000
"""A published port of Docker's is this much above the one that it leads to."""
HOOK = 8800
OPENER = 7998
"""Nothing of ours listens there, and the site's rules lead nowhere: where a packet that must arrive does."""
LINKS = {"wan": "eth0", "lan": "lan0", "member": "tailscale0"}
"""Who forges packets, and where: there and on the gateway the link has the same name."""
_KERNEL = (
    "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.route_localnet",
    "net.ipv4.conf.all.accept_source_route", "net.ipv4.conf.all.accept_local", "net.ipv4.conf.eth0.accept_local",
    "net.ipv4.conf.lan0.accept_local", "net.ipv6.conf.all.seg6_enabled", "net.ipv6.conf.eth0.seg6_enabled",
    "net.ipv6.conf.lan0.seg6_enabled",
)  # fmt: skip
# What has passed every rule of the gate, by protocol and ports. Later than all others, tailscaled's included.
_LATE = """
table inet late {
  set seen { type inet_proto . inet_service . inet_service; flags dynamic; size 4096; }
  chain in { type filter hook input priority 250; policy accept;
    iifname { "eth0", "lan0", "tailscale0" } update @seen { meta l4proto . th sport . th dport }
  }
  chain forward { type filter hook forward priority 250; policy accept;
    update @seen { meta l4proto . th sport . th dport }
  }
}
"""
# As Docker writes them, with ports published to the VPN address, and what somebody adds who wants it to "just work".
_DOCKER = """
table {ip} docker {{
  chain PREROUTING {{ type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }}
  chain OUTPUT {{ type nat hook output priority -100; policy accept;
    {ip} daddr != {loopback} fib daddr type local jump DOCKER; }}
  chain POSTROUTING {{ type nat hook postrouting priority srcnat; policy accept;
    oifname {{ "tailscale0", "eth0", "lan0", "docker0" }} masquerade; }}
  chain DOCKER {{
{published}
  }}
  chain FORWARD {{ type filter hook forward priority filter; policy accept; counter accept; }}
}}
"""


@dataclass
class Ground:
    """The prepared gateway. `bare` says of each attack whether it succeeded without the gate."""

    site: Site
    container: list[str]
    bare: dict[str, bool] = field(default_factory=dict)

    @property
    def gateway(self) -> Host:
        return self.site.gateway

    def nft(self, *words: str) -> list[dict[str, Any]]:
        """What nft says, in JSON."""
        found: list[dict[str, Any]] = json.loads(self.gateway.run(["nft", "-j", "-y", *words]).stdout)["nftables"]
        return found

    def dropped(self) -> dict[str, int]:
        """Packets that each chain of the gate has counted, which it does only for those that it refuses."""
        found: dict[str, int] = {}
        for entry in self.nft("list", "table", "inet", "sightglass"):
            if rule := entry.get("rule"):
                packets = sum(part["counter"]["packets"] for part in rule["expr"] if "counter" in part)
                found[rule["chain"]] = found.get(rule["chain"], 0) + packets
        return found

    def seen(self) -> set[tuple[int, int]]:
        """(source port, destination port) of what has passed."""
        (entry,) = [entry["set"] for entry in self.nft("list", "set", "inet", "late", "seen") if "set" in entry]
        keys = [item["elem"]["val"] if "elem" in item else item for item in entry.get("elem", [])]
        return {(sport, dport) for _, sport, dport in (key["concat"] for key in keys)}

    def forge(self, host: str, packets: Sequence[dict[str, Any]]) -> None:
        """Put packets on the wire at `host`, and one more that must arrive; returns when the gateway has taken it."""
        link = LINKS[host]
        self.gateway.run(["nft", "flush", "set", "inet", "late", "seen"])
        mac = json.loads(self.gateway.run(["ip", "-j", "link", "show", "dev", link]).stdout)[0].get("address", "")
        source, target = self.near(host)
        last = {"source": source, "target": target, "protocol": "udp", "sport": OPENER, "dport": OPENER}
        words = [sys.executable, str(TOOLS / "forge.py"), link, mac]
        self.site.lab.host(host).run(words, input=json.dumps([*packets, last]))
        wait.until(lambda: (OPENER, OPENER) in self.seen(), 5, "the control packet has arrived")

    def near(self, host: str, family: int = 4) -> tuple[str, str]:
        """The host's address and the gateway's, on the network that they share."""
        side = f"{ {'member': 'vpn'}.get(host, host) }{family}"
        return str(getattr(self.site.lab.host(host), side)), str(getattr(self.gateway, side))

    def probe(self, host: str, probes: Sequence[dict[str, Any]]) -> list[bool]:
        """Which of the probes are answered; `host` may be the container."""
        if host == "container":
            script = (TOOLS / "probe.py").read_text()
            done = self.gateway.run([*self.container, "python3", "-c", script, json.dumps(probes)])
        else:
            done = self.site.lab.host(host).run([sys.executable, str(TOOLS / "probe.py")], input=json.dumps(probes))
        answers = json.loads(done.stdout)["probes"]
        assert len(answers) == len(probes)
        return [answer["outcome"] in OPEN for answer in answers]

    def sent(self) -> int:
        """Bytes that the maintainer was sent."""
        (entry,) = [e["set"] for e in self.nft("list", "set", "inet", "sightglass", "sent4") if "set" in e]
        return sum(item["elem"]["counter"]["bytes"] for item in entry.get("elem", []))

    def lives(self) -> bool:
        """The viewer goes on watching and the site's own vision goes on counting. TimeoutError when not."""
        sent, frame = self.sent(), self.site.parking_frame()
        wait.until(lambda: self.sent() > sent, 5, "the viewer is sent more")
        wait.until(lambda: self.site.parking_frame() > frame, 5, "the parking has taken another frame")
        return True

    @contextlib.contextmanager
    def without_the_gate(self) -> Iterator[None]:
        """The table is gone while the block runs, and others listen at our ports."""
        self.gateway.run(["nft", "delete", "table", "inet", "sightglass"])
        try:
            with responder(self.gateway, *TCP_PORTS, HOOK):
                yield
        finally:
            self.gateway.run(["nft", "-f", "/etc/sightglass/nftables.nft"])


def _sysctl(gateway: Host, *words: str) -> list[str]:
    """Read `name`s, or write `name=value`s, in the gateway's network namespace from outside: within it is read-only."""
    pid = Cgroup(gateway.lab).init_pid(f"{gateway.name}/payload/init.scope")
    inside = ["nsenter", "--target", str(pid), "--net"]
    found = []
    for word in words:
        name, _, value = word.partition("=")
        path = f"/proc/sys/{name.replace('.', '/')}"
        act = {"args": [*inside, "tee", path], "input": value} if value else {"args": [*inside, "cat", path]}
        done = subprocess.run(**act, capture_output=True, text=True, timeout=10, check=True)
        found.append(f"{name}={done.stdout.strip()}")
    return found


def _published(gateway: Host, family: int) -> str:
    own = gateway.vpn4 if family == 4 else f"[{gateway.vpn6}]"
    local = "127.0.0.1" if family == 4 else "[::1]"
    leads = [("tcp", port + BEHIND, f"{own}:{port}") for port in TCP_PORTS]
    leads += [("udp", port + BEHIND, f"{own}:{port}") for port in UDP_PORTS]
    leads += [("tcp", 7999, f"{own}:8554"), ("udp", 7999, f"{own}:8189"), ("tcp", HOOK + BEHIND, f"{local}:{HOOK}")]
    word = "ip" if family == 4 else "ip6"
    return "\n".join(f"    {protocol} dport {port} dnat {word} to {to};" for protocol, port, to in leads)


@contextlib.contextmanager
def prepared(site: Site) -> Iterator[Ground]:
    """The ground while the block runs; afterwards the gateway is as it was."""
    gateway = site.gateway
    before = _sysctl(gateway, *_KERNEL)
    # Somebody may have flushed them already; tailscaled brings them back at its next start only.
    there = gateway.run(["nft", "list", "ruleset"]).stdout
    chains = [(ip, chain) for ip in ("ip", "ip6") for chain in ("ts-input", "ts-forward") if f"chain {chain} " in there]
    kept = "".join(gateway.run(["nft", "list", "chain", ip, "filter", chain]).stdout for ip, chain in chains)
    inside = gateway.popen(["unshare", "--net", "sh", "-c", "echo $$; exec cat"], stdin=-1, stdout=-1, text=True)
    try:
        assert inside.stdout is not None
        pid = inside.stdout.readline().strip()
        container = ["nsenter", "--target", pid, "--net"]
        gateway.run(["ip", "link", "add", "docker0", "type", "veth", "peer", "name", "eth0", "netns", pid])
        gateway.run(["ip", "addr", "add", "172.17.0.1/16", "dev", "docker0"])
        gateway.run(["ip", "link", "set", "docker0", "up"])
        for words in ("addr add 172.17.0.2/16 dev eth0", "link set eth0 up", "route add default via 172.17.0.1"):
            gateway.run([*container, "ip", *words.split()])
        _sysctl(gateway, *(f"{name}=1" for name in _KERNEL))
        for ip, chain in chains:
            gateway.run(["nft", "flush", "chain", ip, "filter", chain])
        rules = "".join(
            _DOCKER.format(ip=ip, loopback=loopback, published=_published(gateway, family))
            for ip, family, loopback in (("ip", 4, "127.0.0.0/8"), ("ip6", 6, "::1"))
        )
        gateway.run(["nft", "-f", "-"], input=_LATE + rules)
        with planted(site.lab, gateway):
            yield Ground(site, container)
    finally:
        for table in ("inet late", "ip docker", "ip6 docker"):
            gateway.run(["nft", "delete", "table", *table.split()], check=False)
        flush = "".join(f"flush chain {ip} filter {chain}\n" for ip, chain in chains)
        gateway.run(["nft", "-f", "-"], input=flush + kept)
        _sysctl(gateway, *before)
        gateway.run(["ip", "link", "del", "docker0"], check=False)
        inside.kill()
        inside.communicate(timeout=5)
