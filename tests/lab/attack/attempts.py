"""What an intruder on the gateway would try, as lists of attempts (see intrude.py)."""

from __future__ import annotations

from tests.lab.attack.intruder import OURS, Attempt
from tests.lab.window.site_under_test import Site

NEW_USER, NEW_MOUNTS = "10000000", "20000"
HTTP = "GET / HTTP/1.0\r\n\r\n"


def places(site: Site) -> list[Attempt]:
    """Sockets of the host and its daemons, and what they would do for a caller."""
    return [
        *(("unix", f"/run/{name}") for name in (
            "sightglass-agent.sock", "sightglass-shutter.sock", "tailscale/tailscaled.sock", "dbus/system_bus_socket",
            "systemd/private", "systemd/journal/stdout",
        )),
        ("run", "systemctl", "start", "sightglass-feed.service"),
        ("run", "busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
         "org.freedesktop.systemd1.Manager", "StartUnit", "ss", "sightglass-feed.service", "replace"),
        ("read", "/var/lib/sightglass"), ("read", "/etc/sightglass/agent.json"), ("read", "/run/sightglass"),
        ("read", "/run/credentials/sightglass-mediamtx.service"), ("read", "/run/log/journal"),
    ]  # fmt: skip


def kernel() -> list[Attempt]:
    """Ways around the network rules and the file system that the kernel might offer."""
    return [
        ("sockets", "AF_PACKET", "SOCK_RAW", 3), ("sockets", "AF_INET", "SOCK_RAW", 1),
        ("namespace", NEW_USER), ("namespace", NEW_MOUNTS),
    ]  # fmt: skip


def others(site: Site, own: str | None) -> list[Attempt]:
    """The memory and the files of the window's other processes, and of the agent."""
    pids = [site.pid(unit) for unit in (*OURS, "agent") if unit != own]
    looks: list[Attempt] = [
        ("read", f"/proc/{pid}/{name}") for pid in pids for name in ("fd", "environ", "maps", "cwd")
    ]
    return [*looks, *((kind, pid) for pid in pids for kind in ("memory", "vm-read", "trace", "signal"))]


def elsewhere(site: Site) -> list[Attempt]:
    """Addresses that answer, or take what is sent: of the gateway, its broker, the VPN, the LAN and the WAN."""
    gateway, maintainer = site.gateway, site.maintainer
    lan, wan = site.lab.host("lan").lan4, site.lab.host("wan").wan4
    tcp: list[Attempt] = [("tcp", host, 22) for host in (gateway.vpn4, gateway.wan4, gateway.lan4)]
    tcp += [("tcp", "127.0.0.1", 1883)]
    return [*tcp, *(("udp", host, 9) for host in (maintainer.vpn4, lan, wan, "127.0.0.1"))]


def ours(site: Site) -> dict[str, Attempt]:
    """The window's own ports by what they are."""
    own = site.gateway.vpn4
    return {
        "player": ("tcp", own, 8554), "offers": ("tcp", own, 8889), "page": ("tcp", own, 8550),
        "media": ("tcp", own, 8189), "hook": ("tcp", "127.0.0.1", 8800),
        "camera": ("tcp", "127.0.0.1", 8000, HTTP),
    }  # fmt: skip


def failed(outcomes: list[str], attempts: list[Attempt]) -> list[tuple[Attempt, str]]:
    """The attempts that were not refused."""
    return [pair for pair in zip(attempts, outcomes, strict=True) if not pair[1].startswith("no: ")]
