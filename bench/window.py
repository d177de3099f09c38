"""One trial: a window opened by the agent's own command, watched over the VPN, and closed; the times of both ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from lab import wait
from lab.host import Host

TOOLS = Path(__file__).parents[1] / "lab" / "tools"


def viewer(host: Host, url: str, seconds: float = 30) -> subprocess.Popen[str]:
    """An ordinary RTSP player on a host of the lab, trying again until the stream is there."""
    return host.popen(
        [sys.executable, str(TOOLS / "watch.py"), url, "--seconds", str(seconds), "--retry", "15"],
        stdout=subprocess.PIPE,
        text=True,
    )


def first_frame_at(watching: subprocess.Popen[str]) -> float:
    """When the player decoded its first frame, in Unix seconds. Raises RuntimeError when it never did."""
    assert watching.stdout is not None
    line = watching.stdout.readline()
    event = json.loads(line) if line else {}
    if event.get("event") != "first":
        raise RuntimeError(f"the viewer decoded nothing: {line!r}")
    return float(event["at"])


def capture(gateway: Host, *ports: int) -> subprocess.Popen[str]:
    """Watch what leaves on the gateway's VPN interface from these ports; `finish` gives the figures."""
    process = gateway.popen(
        ["python3", "-c", (TOOLS / "wire.py").read_text(), "tailscale0", *map(str, ports)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError("the capture on tailscale0 did not start")
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, float]:
    """End a capture. Raises RuntimeError when it saw nothing: then its silence proves nothing either."""
    seen = json.loads(process.communicate("", timeout=10)[0])
    if not seen["packets"]:
        raise RuntimeError("the capture saw no media at all")
    return {key: float(value) for key, value in seen.items()}


def one_window(gateway: Host, maintainer: Host, url: str, name: str) -> dict[str, float]:
    """Seconds from `sightglass open` to the first decoded frame, and from `sightglass close` to the last media byte.

    The capture runs for a second after the close, so that a late byte would be seen.
    """
    wire = capture(gateway, 8554)
    watching = viewer(maintainer, url)
    try:
        opened = time.time()
        gateway.run(
            [
                "sightglass",
                "open",
                "--camera",
                "cam1",
                "--minutes",
                "5",
                "--purpose",
                "debug",
                "--reason",
                f"bench {name}",
            ],
            timeout=30,
        )
        answered = time.time()
        first = first_frame_at(watching)
        closed = time.time()
        gateway.run(["sightglass", "close"], timeout=30)
        confirmed = time.time()
        watching.wait(10)
        wait.until(lambda: time.time() > confirmed + 1, 3, "a second after the close")
        seen = finish(wire)
    finally:
        watching.kill()
        wire.kill()
    return {
        "open_s": answered - opened,
        "first_frame_s": first - opened,
        "close_s": confirmed - closed,
        "last_byte_s": seen["last"] - closed,
    }
