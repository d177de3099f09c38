"""A viewer, a capture of what leaves a gateway, and the lane: what demo, bench and tests measure with."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import wait
from lab.host import Host

TOOLS = Path(__file__).parent / "tools"


def watch_command(url: str, *options: str) -> list[str]:
    """The command line of the lab's ordinary player, `lab/tools/watch.py`."""
    return [sys.executable, str(TOOLS / "watch.py"), url, *options]


def viewer(host: Host, url: str, *, seconds: float = 30, retry: float = 15) -> "subprocess.Popen[str]":
    """An ordinary RTSP player on a host of the lab, trying again for `retry` seconds until the stream is there."""
    command = watch_command(url, "--seconds", str(seconds), "--retry", str(retry))
    return host.popen(command, stdout=subprocess.PIPE, text=True)


def browser(host: Host, url: str, *options: str) -> "subprocess.Popen[str]":
    """A window's page in Chromium on a host of the lab; the events are those of `lab/tools/browse.py`."""
    return tool(host, "browse", url, *options)


def tool(host: Host, name: str, *words: str) -> "subprocess.Popen[str]":
    """A tool of `lab/tools/` on a host of the lab; it says what it sees as `next_event` reads it."""
    return host.popen([sys.executable, str(TOOLS / f"{name}.py"), *words], stdout=subprocess.PIPE, text=True)


def next_event(watching: "subprocess.Popen[str]", kind: str) -> dict[str, Any]:
    """The next event of that kind that a viewer says. Raises RuntimeError when it ends without one."""
    assert watching.stdout is not None
    for line in watching.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == kind:
            return event
    raise RuntimeError(f"the viewer has ended without the event {kind!r}")


def first_frame_at(watching: "subprocess.Popen[str]") -> float:
    """When the player decoded its first frame, in Unix seconds. Raises RuntimeError when it never did."""
    return float(next_event(watching, "first")["at"])


def capture(gateway: Host, *ports: int) -> "subprocess.Popen[str]":
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


def finish(process: "subprocess.Popen[str]") -> dict[str, float]:
    """End a capture. Raises RuntimeError when it saw nothing: then its silence proves nothing either."""
    seen = json.loads(process.communicate("", timeout=10)[0])
    if not seen["packets"]:
        raise RuntimeError("the capture saw no media at all")
    return {key: float(value) for key, value in seen.items()}


def lane(gateway: Host, mode: str) -> None:
    """Let the site's lane do something, and wait until its publisher says so."""
    gateway.run(["parking-control", "lane", mode])
    ask = ["mosquitto_sub", "-C", "1", "-W", "2", "-t", "parking/lane1/state"]
    wait.until(lambda: gateway.run(ask, check=False).stdout.strip() == mode, 10, f"the lane is {mode}")
