"""The doctor names what is wrong with a gateway whose real parts are broken one by one, and what to do."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab import wait
from lab.control import FOR_EVER, Node, other_policy
from sightglass.cli_doctor import DOCTOR_S
from tests.lab.configured import CONFIG, configured
from tests.lab.window.site_under_test import ROOT, Site
from tests.lab.window.test_deadline import DAY_S, OFFSET, wrong_clock

__all__ = ["wrong_clock"]

Findings = dict[str, dict[str, str]]
Break = Callable[[Site], AbstractContextManager[None]]
QUIET = {"time source"}
"""Warned of on every host of the lab: containers get no time service."""
AGENT = "sightglass-agent.service"


def examine(site: Site, user: str | None = None) -> tuple[int, Findings, str]:
    """Exit code, findings by part, and all that was said; within the time that the command promises."""
    began = time.monotonic()
    done = site.sightglass("doctor", "--json", user=user)
    assert time.monotonic() - began < DOCTOR_S, "the doctor takes longer than it says"
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["findings"]
    for finding in found:
        assert (finding["verdict"] == "ok") == (finding["do"] == ""), finding
    return done.returncode, {finding["part"]: finding for finding in found}, done.stdout


def ill(found: Findings) -> set[str]:
    """The parts that are not ok."""
    return {part for part, finding in found.items() if finding["verdict"] != "ok"} - QUIET


def healthy(site: Site) -> None:
    """The control of every break: the same question finds nothing."""
    code, found, _ = examine(site)
    assert (code, ill(found)) == (0, set()), found


def named(site: Site, part: str, verdict: str, evidence: str, do: str) -> tuple[int, Findings]:
    """Wait until the doctor says this of a part; its exit code, and all it found then."""

    last: dict[str, str] | None = None

    def said() -> tuple[int, Findings] | None:
        nonlocal last
        code, found, _ = examine(site)
        last = found.get(part)
        fits = last is not None and last["verdict"] == verdict and evidence in last["evidence"] and do in last["do"]
        return (code, found) if fits else None

    try:
        return wait.until(said, 40, f"{part}: {evidence}")
    except TimeoutError:
        raise AssertionError(last) from None


def undone(site: Site) -> None:
    """Wait until the doctor finds nothing any more."""
    wait.until(lambda: not ill(examine(site)[1]), 60, "the gateway is healthy again")


@contextlib.contextmanager
def commands(site: Site, broken: list[str], mended: list[str]) -> Iterator[None]:
    """One shell line to break it, another to mend it."""
    site.gateway.run(["sh", "-c", *broken])
    try:
        yield
    finally:
        site.gateway.run(["sh", "-c", *mended])


def shell(broken: str, mended: str) -> Break:
    """A break by shell."""
    return lambda site: commands(site, [broken], [mended])


@contextlib.contextmanager
def key_ends(site: Site, left: timedelta) -> Iterator[None]:
    """The gateway's own VPN key ends after a while."""
    node = Node(site.lab, "gw1")
    node.expire((datetime.now(UTC) + left).strftime("%Y-%m-%dT%H:%M:%SZ"))
    try:
        yield
    finally:
        node.expire(FOR_EVER)


def nobody_may(site: Site) -> AbstractContextManager[None]:
    """No grant names a capability of ours any more."""

    def without(policy: dict[str, Any]) -> None:
        policy["grants"] = [grant for grant in policy["grants"] if "app" not in grant]

    return other_policy(site.lab, without)


CLOSED = "printf 'listener 1883 127.0.0.1\\nallow_anonymous false\\n' > /etc/mosquitto/conf.d/zz-closed.conf"
TABLE = "systemctl reload sightglass-nftables"
DROP_IN = "/run/systemd/system/sightglass-feed.service.d"
INTRUDER = "systemd-run -q --unit=intruder-cam --collect python3 -m http.server"

BREAKS: dict[str, tuple[Break, str, str, str, str]] = {
    "tailscaled stopped": (
        shell("systemctl stop tailscaled", "systemctl start tailscaled"),
        "vpn", "fail", "tailscaled does not answer", "systemctl restart tailscaled",
    ),
    "vpn switched off": (
        shell("tailscale down", "tailscale up"), "vpn", "fail", "its state is Stopped", "sudo tailscale up",
    ),
    "vpn key ended": (
        lambda site: key_ends(site, timedelta(seconds=-60)), "vpn", "fail", "its state is NeedsLogin", "log in",
    ),
    "vpn key ends soon": (
        lambda site: key_ends(site, timedelta(days=5, hours=1)), "vpn key", "warn", "in 5 days", "renew it",
    ),
    "mtu": (
        shell("ip link set tailscale0 mtu 1000", "ip link set tailscale0 mtu 1280; systemctl restart tailscaled"),
        "mtu", "fail", "packets of 1000 bytes", "mtu 1280",
    ),
    "nobody may watch": (nobody_may, "viewers", "warn", "nobody", '{"sites": ["gw1"]}'),
    "broker stopped": (
        shell("systemctl stop mosquitto", "systemctl start mosquitto"),
        "broker", "fail", "Connection refused", "start the broker",
    ),
    "broker wants a password": (
        shell(
            f"{CLOSED}; systemctl restart mosquitto",
            "rm /etc/mosquitto/conf.d/zz-closed.conf; systemctl restart mosquitto",
        ),
        "broker", "fail", "Not authorized", "user and password",
    ),
    "broker hangs": (
        shell("systemctl kill -s STOP mosquitto", "systemctl kill -s CONT mosquitto"),
        "broker", "fail", "has not answered", "broker's log",
    ),
    "lane's publisher stopped": (
        shell("systemctl stop parking", "systemctl start parking"),
        "lane lane1", "fail", "heartbeat is", "parking/heartbeat",
    ),
    "port taken": (
        shell(f"{INTRUDER} 8554", "systemctl stop intruder-cam"),
        "ports", "fail", "intruder-cam.service listens on tcp 0.0.0.0:8554", "another port than 8554",
    ),
    "join check's port taken": (
        shell(f"{INTRUDER} --bind 127.0.0.1 8800", "systemctl stop intruder-cam"),
        "ports", "fail", "tcp 127.0.0.1:8800, which a window needs for the join check", "intruder-cam.service",
    ),
    "table gone": (
        shell("nft delete table inet sightglass", TABLE), "kernel gate", "fail", "not loaded", TABLE,
    ),
    "table has a rule more": (
        shell("nft add rule inet sightglass in tcp dport 8554 accept", TABLE),
        "gate rules", "fail", "differ in chain in", TABLE,
    ),
    "table has a port less": (
        shell("nft delete element inet sightglass tcp_ports '{ 8554 }'", TABLE),
        "gate rules", "fail", "differ in set tcp_ports", TABLE,
    ),
    "unit changed": (
        shell(f"mkdir -p {DROP_IN}; printf '[Service]\\nNice=1\\n' > {DROP_IN}/a.conf", f"rm -r {DROP_IN}"),
        "files", "fail", f"{DROP_IN}/a.conf is not pinned", "site.yml",
    ),
    "socket stopped": (
        shell("systemctl stop sightglass-shutter.socket", "systemctl start sightglass-shutter.socket"),
        "units", "fail", "sightglass-shutter.socket is inactive", "systemctl start sightglass-shutter.socket",
    ),
    "windows disabled": (
        shell("sightglass disable --reason 'works on the road'", "sightglass enable --reason 'they are over'"),
        "enabled", "warn", "by root at", "sightglass enable",
    ),
    "switched off": (
        shell("touch /etc/sightglass/off", "rm /etc/sightglass/off"), "enabled", "warn", "windows are off", "sudo rm",
    ),
}  # fmt: skip

APART = {"agent", "configuration", "units", "camera cam1", "receipts", "receipts room"}
"""What each break leaves alone: their looks ask neither VPN, broker, kernel gate nor the other ports."""
TOUCHED = {
    "lane's publisher stopped": {"camera cam1"},  # the same service has the cameras
    "socket stopped": {"units"},
    "switched off": {"units"},
}


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_part_is_named_with_what_to_do(site: Site, name: str) -> None:
    """Healthy before and after; between, the part that was broken, by its name, with evidence and a fitting step, and
    none that has nothing to do with it."""
    broken, part, verdict, evidence, do = BREAKS[name]
    healthy(site)
    with broken(site):
        code, found = named(site, part, verdict, evidence, do)
        assert code == (1 if {each["verdict"] for each in found.values()} & {"fail", "unknown"} else 0)
        assert ill(found) & (APART - TOUCHED.get(name, set())) == set(), found
    undone(site)


HUNG_UP = "Connection reset by peer|the server ended the stream"
"""A broker ends what is no MQTT with the first byte: by a reset where it has not read the rest."""


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(
    ("url", "evidence", "do"),
    [
        ("http://127.0.0.1:8000/nothing?token=geheim", "404", "mend the path in cameras.cam1.url"),
        ("http://127.0.0.1:8009/mjpeg/cam1", "Connection refused", "mend the port in cameras.cam1.url"),
        ("http://127.0.0.1:8010/mjpeg/cam1?token=geheim", "no new frame for 2 s", "must send a new picture"),
        ("http://127.0.0.1:1883/mjpeg/cam1", f"127.0.0.1:1883: ({HUNG_UP})", "server behind cameras.cam1.url"),
        ("http://192.168.51.7/mjpeg/cam1", "192.168.51.7:80 is not on this gateway", "loopback"),
        ("http://no-such-host/mjpeg", "cannot be resolved", "mend the host"),
    ],
)
def test_a_camera_whose_url_is_wrong_is_named(site: Site, url: str, evidence: str, do: str) -> None:
    """By the error and the field, never by what stands behind the host; no process of the look is left."""
    healthy(site)
    silent = site.gateway.popen(["python3", "-c", SILENT])
    try:
        wait.until(lambda: ":8010 " in site.gateway.run(["ss", "-Hltn"]).stdout, 10, "the silent server listens")

        def wrong(config: dict[str, Any]) -> None:
            config["cameras"]["cam1"]["url"] = url

        with configured(site, wrong):
            code, found, said = examine(site)
            assert (code, found["camera cam1"]["verdict"]) == (1, "fail")
            assert re.search(evidence, found["camera cam1"]["evidence"]), found["camera cam1"]
            assert do in found["camera cam1"]["do"]
            assert "geheim" not in said
            assert "sightglass.feed.look" not in site.gateway.run(["ps", "-eo", "args"]).stdout
    finally:
        silent.kill()
        silent.wait(5)
    undone(site)


SILENT = """
import socket, threading
server = socket.create_server(("127.0.0.1", 8010))
held = []
while True:
    held.append(server.accept())
"""


@pytest.mark.requirement("N3")
def test_the_look_at_a_camera_ends_and_stays_away_from_a_window(site: Site) -> None:
    """It is a process of the agent's for a moment, seen there; gone after the answer; none while a window is open."""

    def looks() -> bool:
        return "sightglass.feed.look" in site.gateway.run(["ps", "-eo", "args"]).stdout

    with site.gateway.popen(["sightglass", "doctor"], stdout=subprocess.PIPE, text=True) as asking:
        wait.until(looks, 5, "the look at the camera runs", every_s=0.01)
        said, _ = asking.communicate(timeout=DOCTOR_S)
    assert "ok      camera cam1: 127.0.0.1:8000 sends 1280x720" in said
    assert not looks()
    site.open()
    seen = []
    with site.gateway.popen(["sightglass", "doctor"], stdout=subprocess.PIPE, text=True) as asking:
        while asking.poll() is None:
            seen.append(looks())
        said, _ = asking.communicate(timeout=5)
    assert seen
    assert not any(seen)
    assert "ok      camera cam1: a window shows it now" in said
    assert asking.returncode == 0, "a window is no fault: neither its listeners nor its leases are"
    for _ in range(5):
        examine(site)
    assert site.status()["state"] == "open", "looking ends nothing"
    site.close()
    for _ in range(5):
        healthy(site)


@pytest.mark.requirement("U1")
def test_a_viewer_over_the_relay_is_named(site: Site) -> None:
    """A viewer who watches is reached directly; when UDP is cut off between the two, over the relay."""
    cut = "nft add table inet cut; nft add chain inet cut o '{ type filter hook output priority 0; }'; "
    cut += f"nft add rule inet cut o ip daddr {site.maintainer.wan4} udp sport 41641 drop; "
    cut += f"nft add rule inet cut o ip6 daddr {site.maintainer.wan6} udp sport 41641 drop"
    site.open()
    with site.watching(seconds=90):
        assert named(site, "vpn path", "ok", "1 active viewers' devices are reached directly", "")[0] == 0
        with commands(site, [cut], ["nft delete table inet cut"]):
            code, found = named(site, "vpn path", "warn", "1 of 1 active viewers' devices are reached over", "UDP")
            assert "relay lab" in found["vpn path"]["evidence"]
            assert (code, ill(found)) == (0, {"vpn path"}), found
        named(site, "vpn path", "ok", "1 active viewers' devices are reached directly", "")
    site.close()


@pytest.mark.requirement("O1")
def test_a_clock_that_is_not_set_is_named(site: Site, wrong_clock: None) -> None:
    """The agent's clock a day back: the guard's evidence, and how to set it."""
    assert wrong_clock is None
    assert examine(site)[1]["clock"]["verdict"] == "ok"
    site.open()
    site.close()
    site.gateway.run(["tee", OFFSET], input=f"{-DAY_S}\n")
    assert named(site, "clock", "fail", "the newest receipt is of", "set the clock")[0] == 1


@pytest.mark.requirement("U1")
def test_an_agent_that_cannot_start_is_named_with_its_configuration(site: Site) -> None:
    """root learns the field, an operator that it is the configuration; the parts nobody looked at are unknown."""
    healthy(site)
    before = site.gateway.run(["cat", CONFIG]).stdout
    site.gateway.run(["tee", CONFIG], input=before.replace('"lease_s": 15', '"lease_s": 99'))
    try:
        warned = examine(site)[1]["configuration"]
        assert (warned["verdict"], "lease_s: " in warned["evidence"]) == ("fail", True), "an agent that still runs"
        site.gateway.run(["systemctl", "restart", "--no-block", AGENT])
        code, found = named(site, "agent", "fail", "status 2, for it cannot use its configuration", CONFIG)
        assert code == 1
        assert "lease_s: must be less than or equal to 15, not 99" in found["configuration"]["evidence"]
        assert found["the rest"]["verdict"] == "unknown"
        code, found, _ = examine(site, user="admin")
        assert (code, found["configuration"]["verdict"]) == (1, "unknown")
        assert "status 2" in found["agent"]["evidence"]
        assert "sudo sightglass doctor" in found["configuration"]["do"]
    finally:
        site.gateway.run(["tee", CONFIG], input=before)
        site.gateway.run(["systemctl", "restart", AGENT])
    undone(site)


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(
    ("broken", "evidence", "do"),
    [
        (f"systemctl stop sightglass-agent.socket {AGENT}", "somebody stopped it", f"systemctl start {AGENT}"),
        ("rm /run/sightglass-agent.sock", "gives no answer: No such file", "restart sightglass-agent.socket"),
        (f"systemctl kill -s STOP {AGENT}", "no answer within 8 s|it ended with watchdog", "journalctl"),
    ],
    ids=["stopped", "socket gone", "hangs"],
)
def test_an_agent_that_gives_no_answer_is_named(site: Site, broken: str, evidence: str, do: str) -> None:
    """Whatever has happened to it, the command ends in time and says so; the configuration is checked without it.

    systemd's watchdog ends one that hangs after 10 s, and may be first.
    """
    healthy(site)
    site.gateway.run(["sh", "-c", broken])
    try:
        code, found, _ = examine(site)
        assert (code, found["agent"]["verdict"]) == (1, "fail")
        assert re.search(evidence, found["agent"]["evidence"]), found["agent"]
        assert do in found["agent"]["do"]
        assert found["configuration"]["verdict"] == "ok"
    finally:
        site.gateway.run(["systemctl", "kill", "-s", "CONT", AGENT], check=False)
        site.gateway.run(["systemctl", "restart", "sightglass-agent.socket", AGENT])
    undone(site)


@pytest.mark.requirement("U1")
def test_who_is_no_operator_is_refused_in_one_sentence(site: Site) -> None:
    """An operator is answered; somebody else is told which group he lacks, and nothing else."""
    assert examine(site, user="admin")[0] == 0
    done = site.sightglass("doctor", user="nobody")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "refused (not-an-operator): nobody is not in the group sightglass-operators\n"
    wrong = site.sightglass("doctor", "everything")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def play(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """doctor.yml from the controller."""
    command = ["ansible-playbook", "ansible/playbooks/doctor.yml", *words]
    return site.lab.host("ops").run(command, timeout=150, check=False, cwd=str(ROOT))


@pytest.mark.requirement("U1")
def test_the_playbook_fails_for_a_gateway_that_needs_somebody(site: Site) -> None:
    """Sound: exit 0 and every part of the one asked for. Broken: what to do, and its name. Out of reach: its name."""
    sound = play(site, "-e", "site=gw1", "-b")
    assert sound.returncode == 0, sound.stdout
    for part in ("ok      vpn: running on a TUN", "ok      gate rules: the kernel has the rules"):
        assert part in sound.stdout
    with commands(site, ["systemctl stop mosquitto"], ["systemctl start mosquitto"]):
        ill = play(site, "-e", "site=gw1")
        assert ill.returncode == 2, ill.stdout
        assert "1 of 1 gateways need somebody: gw1" in ill.stdout
        assert "do: start the broker there" in ill.stdout
    with site.lab.unplugged("gw1"):
        away = play(site)
        assert away.returncode == 2, away.stdout
        assert "gw1: unreachable: " in away.stdout
        assert "need somebody: gw1" in away.stdout
    for words, sentence in (
        (("-e", "site=gw99"), "site: must be the name of one gateway"),
        (("--limit", "gw1"), "limit: must name localhost too (--limit gw1,localhost)"),
    ):
        refused = play(site, *words)
        assert refused.returncode == 2
        assert sentence in refused.stdout
    undone(site)
