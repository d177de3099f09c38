"""What the parking and the window feel of an attack: measured on the gateway, before and during."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

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
