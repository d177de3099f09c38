"""What makes a window more than a window for its viewers closes it, by its own name, while somebody watches."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from lab import wait
from tests.lab.window.site_under_test import Site

DROP_IN = "/run/systemd/system/sightglass-mediamtx.service.d/x.conf"
UNIT = "/etc/systemd/system/sightglass-feed.service"
SERVER = "/opt/sightglass/bin/mediamtx"
_BIND = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
made = socket.socket(family, kind)
made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
made.bind((sys.argv[2], int(sys.argv[3])))
if sys.argv[1] == "tcp":
    made.listen()
time.sleep(20)
"""


@dataclass(frozen=True)
class Harm:
    """What is done as root on the gateway, how it is undone, the causes that may be named, and a word of the reason."""

    name: str
    do: str
    undo: str
    causes: frozenset[str]
    word: str


def listens(user: str, *words: object) -> str:
    """A command that lets a user of the gateway listen somewhere."""
    python = f"runuser -u {user} -- python3 -c '{_BIND}'"
    return f"nohup {python} {' '.join(map(str, words))} >/dev/null 2>&1 &"


EXPOSURE, VPN = frozenset({"exposure"}), frozenset({"not-vpn-only"})
STOP = "pkill -f '[m]ade.bind' || true"
HARMS = [
    Harm("the stream server elsewhere", listens("sightglass-mediamtx", "tcp", "127.0.0.1", 9000), STOP, EXPOSURE,
         ":9000"),
    Harm("the feed on UDP, IPv6", listens("sightglass-feed", "udp", "::", 9001), STOP, EXPOSURE, "udp [::]:9001"),
    Harm("another user at our port", listens("nobody", "udp", "0.0.0.0", 8550), STOP, EXPOSURE, ":8550"),
    Harm("a stranger's lease", "nft add element inet sightglass lease4 '{ 100.64.0.99 . tcp . 8554 }'", "true",
         frozenset({"shutter-lost"}), "the shutter has ended"),
    Harm("a drop-in", f"mkdir -p {DROP_IN.rpartition('/')[0]} && echo '[Service]' > {DROP_IN}",
         f"rm -rf {DROP_IN.rpartition('/')[0]}", EXPOSURE, f"{DROP_IN} is not pinned"),
    Harm("an edited unit", f"echo >> {UNIT}", f"sed -i '$ d' {UNIT}", EXPOSURE, f"{UNIT} is not the file"),
    Harm("another stream server", f"cp -p {SERVER} /root/was && cp /bin/true /root/new && mv /root/new {SERVER}",
         f"mv /root/was {SERVER}", EXPOSURE, f"{SERVER} is not the file"),
    Harm("its configuration", "echo 'api: true' >> /run/sightglass/mediamtx.yml", "true", EXPOSURE, "configuration"),
    Harm("an advertised route", "tailscale set --advertise-routes=192.168.51.0/24", "tailscale set --advertise-routes=",
         VPN, "192.168.51.0/24"),
    Harm("tailscaled's ssh server", "tailscale set --ssh --accept-risk=all",
         "tailscale set --ssh=false --accept-risk=all", VPN, "ssh server"),
    Harm("serve in the foreground", "nohup tailscale serve --tcp 9999 tcp://127.0.0.1:8000 >/dev/null 2>&1 &",
         "pkill -f '[t]ailscale serve' || true", VPN, "publishes"),
]  # fmt: skip


def active(site: Site) -> bool:
    """Whether the window's own processes are there; what a stranger listens on is not asked."""
    shown = site.gateway.run(["systemctl", "is-active", "sightglass-shutter", "sightglass-mediamtx"], check=False)
    return "active" in shown.stdout.split()


@pytest.mark.requirement("F3")
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A3")
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_what_exposes_the_gateway_closes_the_window(site: Site, harm: Harm) -> None:
    """Within two seconds and some for the test's own steps; nothing opens while it lasts; undone, the next one does."""
    window = site.open()
    with site.watching() as player:
        try:
            began = time.monotonic()
            site.gateway.run(["sh", "-c", harm.do])
            wait.until(lambda: not active(site), 10, f"closed after {harm.name}")
            took = time.monotonic() - began
            player.wait(5)
            ended = next(event["data"] for event in site.events(window["id"]) if event["event"] == "cause")
            assert ended["cause"] in harm.causes
            assert harm.word in ended["why"]
            assert took < 4
            if harm.undo != "true":
                refused = site.ask_open()
                assert (refused.returncode, "refused (" in refused.stderr) == (3, True)
        finally:
            site.gateway.run(["sh", "-c", harm.undo])
    site.wait_closed()
    site.wait_guards()
    assert site.open()["state"] == "open"


@pytest.mark.requirement("F3")
def test_the_stream_server_has_no_environment(site: Site) -> None:
    """It takes every setting from there, before its file's: what the service manager hands to all never reaches it."""
    site.gateway.run(["systemctl", "set-environment", "MTX_RTSPADDRESS=:8554", "MTX_API=yes"])
    try:
        site.open()
        environment = site.gateway.run(["cat", f"/proc/{site.pid('mediamtx')}/environ"]).stdout
        assert "MTX_" not in environment
        feed = site.gateway.run(["cat", f"/proc/{site.pid('feed')}/environ"]).stdout
        assert "MTX_API=yes" in feed, "the control: others get what the service manager hands out"
        assert len(site.watch(frames=3)) == 3
    finally:
        site.gateway.run(["systemctl", "unset-environment", "MTX_RTSPADDRESS", "MTX_API"])


@pytest.mark.requirement("F3")
def test_the_windows_programs_load_nothing_that_a_variable_names(site: Site) -> None:
    """A module in the service manager's PYTHONPATH runs in every Python service of the host, and not in ours."""
    site.gateway.run(["mkdir", "-p", "/opt/variable"])
    site.gateway.run(["tee", "/opt/variable/sitecustomize.py"], input="print('loaded by a variable', flush=True)\n")
    site.gateway.run(["systemctl", "set-environment", "PYTHONPATH=/opt/variable"])
    try:
        control = ["systemd-run", "--wait", "--pipe", "-q", "/opt/sightglass/venv/bin/python", "-c", "pass"]
        assert "loaded by a variable" in site.gateway.run(control).stdout
        since = site.journal_end()
        site.gateway.run(["systemctl", "restart", "sightglass-agent"])
        site.wait_guards()
        site.open()
        for unit in ("agent", "shutter", "feed", "console"):
            environment = site.gateway.run(["cat", f"/proc/{site.pid(unit)}/environ"]).stdout
            assert "PYTHONPATH=/opt/variable" in environment, f"the control: {unit} was handed it"
        said = site.journal(since)
        assert "sightglass-agent[" in said
        assert "loaded by a variable" not in said
    finally:
        site.gateway.run(["systemctl", "unset-environment", "PYTHONPATH"])
        site.gateway.run(["rm", "-r", "/opt/variable"])
        site.gateway.run(["systemctl", "restart", "sightglass-agent"])


@pytest.mark.requirement("F3")
def test_a_vpn_without_a_tun_closes_the_window(site: Site) -> None:
    """tailscaled started anew in userspace: every peer would look like loopback. Nothing opens until it has its TUN."""
    window = site.open()
    place = "/run/systemd/system/tailscaled.service.d"
    started = site.gateway.run(["sh", "-c", "tr '\\0' ' ' < /proc/$(pidof tailscaled)/cmdline"]).stdout
    flags = f"[Service]\nExecStart=\nExecStart={started.strip()} --tun=userspace-networking\n"
    try:
        site.gateway.run(["mkdir", "-p", place])
        site.gateway.run(["tee", f"{place}/90-userspace.conf"], input=flags)
        site.gateway.run(["sh", "-c", "systemctl daemon-reload && systemctl restart tailscaled"], timeout=60)
        wait.until(lambda: not site.left(), 20, "closed")
        assert site.cause(window["id"]) in {"tailscaled-gone", "not-vpn-only", "vpn-down"}
        wait.until(lambda: "without a TUN" in site.ask_open().stderr, 30, "refused without a TUN")
    finally:
        site.gateway.run(["rm", "-rf", place])
        site.gateway.run(["sh", "-c", "systemctl daemon-reload && systemctl restart tailscaled"], timeout=60)
    site.wait_guards()
    site.open()
