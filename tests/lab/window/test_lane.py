"""What a broker may carry under a lane's topic: whatever it is, it changes the guard's reason and nothing else."""

from __future__ import annotations

import base64
import json

import pytest

from lab import wait
from tests.lab.window.site_under_test import Site

TOPIC = "parking/lane1/state"
HOSTILE = {
    "nothing": (b"", "its state was never published"),
    "two states": (b"idle\nmoving", "printable characters"),
    "binary": (bytes(range(128, 256)), "no UTF-8 text"),
    "a tower": (b"[" * 900, "printable characters"),
    "long": (b"idle " * 1000, "longer than 1024 bytes"),
    "a terminal's words": (b"\x1b[2Jidle", "printable characters"),
    "no number": (b"NaN", "lane1 is 'NaN'"),
}


def publish(site: Site, payload: bytes) -> None:
    """Say it under the lane's topic, to be kept by the broker."""
    # `-n` is nothing, which takes a kept state back; the pipe wants a byte at least.
    encoded = base64.b64encode(payload).decode()
    how = f"echo {encoded} | base64 -d | mosquitto_pub -s" if payload else "mosquitto_pub -n"
    site.gateway.run(["sh", "-c", f"{how} -r -t {TOPIC}"])


def picture_is_back(site: Site) -> None:
    """The lane's publisher speaks again, and the same window shows its picture."""
    site.lane("moving")
    site.lane("idle")
    wait.until(lambda: site.status()["state"] == "open", 15, "the picture is back")


@pytest.mark.requirement("O2")
def test_no_payload_is_taken_for_a_safe_lane(site: Site) -> None:
    """Each suspends the picture with its own reason; the publisher's next word brings it back; the agent lives."""
    agent = site.pid("agent")
    site.open(purpose="alignment")
    for name, (payload, reason) in HOSTILE.items():
        publish(site, payload)
        wait.until(lambda: site.status()["state"] == "suspended", 5, f"suspended by {name}")
        assert reason in site.status()["window"]["why"], name
        picture_is_back(site)
    assert site.pid("agent") == agent


@pytest.mark.requirement("O2")
@pytest.mark.requirement("N2")
def test_a_flood_makes_the_lane_unknown_and_nothing_else(site: Site) -> None:
    """Some thousand messages a second, all of them `idle`: not believed while it lasts, and hardly logged."""
    agent = site.pid("agent")
    site.open(purpose="alignment")
    flood = f"timeout 20 sh -c 'yes idle | mosquitto_pub -l -t {TOPIC}'"
    flooding = site.gateway.popen(["sh", "-c", flood])
    try:
        wait.until(lambda: site.status()["state"] == "suspended", 10, "suspended by the flood")
        assert "messages a second" in site.status()["window"]["why"]
        asked = json.loads(site.sightglass("status", "--json").stdout)
        assert asked["state"] == "suspended", "the agent answers during it"
    finally:
        flooding.kill()
        flooding.wait(5)
        site.gateway.run(["pkill", "mosquitto_pub"], check=False)
    wait.until(lambda: site.status()["state"] == "open", 60, "the picture is back after the flood")
    assert site.pid("agent") == agent
    said = site.gateway.run(
        ["journalctl", "-u", "sightglass-agent", "--since", "-2min", "-o", "cat", "--no-pager"]
    ).stdout
    assert said.count("messages a second") <= 3


@pytest.mark.requirement("O2")
@pytest.mark.requirement("N2")
def test_a_huge_payload_does_not_reach_the_agent(site: Site) -> None:
    """50 MB: the broker keeps it back, and the agent lives; what was said before it stands, with a fresh heartbeat."""
    agent = site.pid("agent")
    site.open(purpose="alignment")
    huge = "head -c 50000000 /dev/zero | mosquitto_pub -s -t " + TOPIC
    site.gateway.run(["sh", "-c", huge], timeout=60)
    publish(site, b"moving")
    wait.until(lambda: site.status()["state"] == "suspended", 10, "the control: what comes after it is heard")
    assert site.pid("agent") == agent
    picture_is_back(site)
