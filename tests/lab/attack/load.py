"""What the parking and the window feel of an attack: measured on the gateway, before and during."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab import wait
from lab.host import Host
from lab.media import watch_command
from tests.lab.window.site_under_test import Site

UNITS = ("agent", "shutter", "feed", "mediamtx", "console")
MEMORY_MB = {"agent": 256, "feed": 256, "mediamtx": 192, "console": 160}
"""MemoryMax= of the units, which a lab gateway does not always enforce."""

_ROUND_TRIPS = """
import json, sys, time
import paho.mqtt.client as mqtt
took, sent, end = [], None, time.monotonic() + float(sys.argv[1])
def heard(client, data, message):
    global sent
    if sent is not None and message.payload == str(sent).encode():
        took.append((time.monotonic() - sent) * 1000)
        sent = None
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_message = heard
client.connect("127.0.0.1", 1883)
client.subscribe("test/echo")
turn = time.monotonic()
while (now := time.monotonic()) < end:
    client.loop(0.005)
    if now >= turn and sent is None:
        sent, turn = now, now + 0.05
        client.publish("test/echo", str(sent))
took.sort()
print(json.dumps({"n": len(took), "median_ms": took[len(took) // 2], "max_ms": took[-1]}))
"""

# In: URL, key file, and a policy to write, or nothing. Out: the policy as it was.
_POLICY = """
import json, sys, urllib.request
url, key, wanted = sys.argv[1:]
def call(method, body=None):
    headers = {"Authorization": "Bearer " + open(key).read().strip(), "Content-Type": "application/json"}
    asked = urllib.request.Request(url + "/api/v1/policy", body and json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)
print(call("GET")["policy"])
if wanted:
    call("PUT", {"policy": wanted})
"""


def policy(site: Site, wanted: str = "") -> str:
    """Write the tailnet's policy past the role, which keeps the inventory's tests; returns what it was."""
    known = json.loads((site.lab.state / "lab.json").read_text())
    words = [sys.executable, "-c", _POLICY, known["headscale_url"], known["api_key_file"], wanted]
    return site.lab.host("ops").run(words).stdout


def viewers(site: Site) -> set[str]:
    """Who may watch now."""
    window = site.status()["window"]
    return {viewer["user"] for viewer in window["viewers"]} if window else set()


@contextlib.contextmanager
def second_viewer(site: Site) -> Iterator[Host]:
    """The member may watch, too, in the open window, while the block runs."""
    before = policy(site)
    changed = json.loads(before)
    changed["tests"] = []
    for grant in changed["grants"]:
        if grant.get("src") == ["maintainer@"]:
            grant["src"] = ["maintainer@", "member@"]
    policy(site, json.dumps(changed))
    try:
        wait.until(lambda: viewers(site) == {"maintainer", "member"}, 20, "two viewers")
        yield site.lab.host("member")
    finally:
        policy(site, before)


@dataclass(frozen=True)
class Felt:
    """Frames a second of the parking's vision and of a viewer; the broker's round trip."""

    vision_fps: float
    seen_fps: float
    mqtt_median_ms: float
    mqtt_max_ms: float

    def __str__(self) -> str:
        return (
            f"vision {self.vision_fps:.2f} fps, viewer {self.seen_fps:.2f} fps, "
            f"MQTT median {self.mqtt_median_ms:.1f} ms, max {self.mqtt_max_ms:.1f} ms"
        )


def not_felt(before: Felt, during: Felt) -> bool:
    """Vision within 5 %, the viewer's picture within 20 %; the broker loosely: the attacker works on this machine."""
    return (
        during.vision_fps > 0.95 * before.vision_fps
        and during.seen_fps > 0.8 * before.seen_fps
        and during.mqtt_median_ms < 5 * before.mqtt_median_ms + 20
    )


def feel(site: Site, seconds: float) -> Felt:
    """Measure for so long. A viewer joins meanwhile, as a person would, and stays."""
    asking = ["/opt/sightglass/venv/bin/python", "-c", _ROUND_TRIPS, str(seconds)]
    watching = site.maintainer.popen(
        watch_command(site.url, "--seconds", str(seconds), "--retry", "5"), stdout=-1, text=True
    )
    frame, began = site.parking_frame(), time.monotonic()
    asked = json.loads(site.gateway.run(asking, timeout=seconds + 20).stdout)
    vision = (site.parking_frame() - frame) / (time.monotonic() - began)
    events = [json.loads(line) for line in watching.communicate(timeout=seconds + 20)[0].splitlines()]
    first, end = events[0], events[-1]
    assert first["event"] == "first", events
    assert asked["n"] > seconds, "the broker answers"
    return Felt(vision, (end["frames"] - 1) / (end["at"] - first["at"]), asked["median_ms"], asked["max_ms"])


def memory(site: Site) -> dict[str, int]:
    """Resident megabytes of each of the window's processes."""
    found = {}
    for unit in MEMORY_MB:
        status = site.gateway.run(["cat", f"/proc/{site.pid(unit)}/status"]).stdout
        found[unit] = int(status.partition("VmRSS:")[2].split()[0]) // 1024
    return found


def say(*told: object) -> None:
    """A figure, for whoever runs the test with -s."""
    sys.stdout.write(f"{' '.join(map(str, told))}\n")
