"""`make demo`: the whole story on a fresh lab, with real output. Exit code 0 only when all is as promised.

Writes build/demo.json, build/demo-frame.png and build/demo-page.png. KEEP=1 leaves the lab up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.window import one_window
from demo.left import Unbelievable, left
from demo.matrix import Cell, measure, table
from demo.picture import NOISE, shown_and_scene
from lab import Lab, LabError
from lab.host import Host
from lab.media import browser, capture, finish, first_frame_at, lane, next_event, viewer, watch_command

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
NAME = "demo"
PLAYBOOKS = "ansible/playbooks"


class Wrong(Exception):  # noqa: N818 - what the demo says when a promise does not hold
    """Something is not as it must be; the message names it."""


def main() -> int:
    """Tell the story."""
    BUILD.mkdir(exist_ok=True)
    began = time.monotonic()
    report: dict[str, Any] = {}
    say(f"1. A fleet: one blank gateway, a maintainer, a stranger, and the networks around them (lab {NAME!r})")
    try:
        lab = Lab.up(NAME, gateways=1)
    except LabError as error:
        say(f"demo: {error}")
        return 1
    try:
        tell(lab, report)
    except (Wrong, Unbelievable, LabError, RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
        say(f"\nNOT AS IT MUST BE: {error}")
        report["failed"] = str(error)
        return 1
    finally:
        report["seconds"] = round(time.monotonic() - began, 1)
        (BUILD / "demo.json").write_text(json.dumps(report, indent=2) + "\n")
        if os.environ.get("KEEP") == "1":
            say(f"\nThe lab {NAME!r} is still up: uv run lab exec --name {NAME} gw1 -- sightglass status")
        else:
            lab.down()
    say(f"\nAll as it must be, in {report['seconds']} s. See build/demo.json and the pictures beside it")
    return 0


def tell(lab: Lab, report: dict[str, Any]) -> None:
    """The story. Raises Wrong, naming what is not as it must be."""
    gateway, maintainer = lab.host("gw1"), lab.host("maintainer")
    say("\n2. site.yml on the blank gateway, over the VPN")
    started = time.monotonic()
    playbook(lab, "site", [])
    report["site_s"] = round(time.monotonic() - started, 1)
    cells: list[Cell] = measure(lab, gateway, "before")

    say("\n3. Opening while a car moves in the lane")
    lane(gateway, "moving")
    answer = playbook(lab, "window_open", ["-e", "site=gw1", "-e", "reason='Plates unread since Monday'"], must=None)
    refusal = next((line.strip() for line in answer.splitlines() if "refused (" in line), "")
    if "guard-lane" not in refusal:
        raise Wrong("opening with a moving lane was not refused by the lane's guard")
    report["refusal"] = refusal

    say("\n4. The lane is idle again: opening with a reason")
    lane(gateway, "idle")
    playbook(lab, "window_open", ["-e", "site=gw1", "-e", "minutes=10", "-e", "reason='Plates unread since Monday'"])
    url = f"rtsp://{gateway.vpn4}:8554/cam1"

    say(f"\n5. The maintainer plays {url}")
    seen = watch(maintainer, url, frames=25, picture=BUILD / "demo-frame.png")
    report["watched"] = check_frames(seen)
    say(f"   {report['watched']['sentence']}")

    page = f"http://{gateway.vpn4}:8550/"
    say(f"\n6. The same in Chromium: {page}")
    report["browsed"] = browse(maintainer, page)
    say(f"   {report['browsed']['sentence']}")

    say("\n7. Who else gets anything? Every cell is a probe, each beside its control")
    watching = viewer(maintainer, url, seconds=60, retry=0)
    cells += measure(lab, gateway, "during")

    say("\n8. Closing, with a player and a page still watching")
    with browser(maintainer, page, "--stay", "60") as tab:
        try:
            next_event(tab, "seen")
            report["close"] = close(lab, gateway, watching)
            report["close"]["page"] = said_at_the_end(tab)
        finally:
            tab.kill()
    say(f"   {report['close']['sentence']}")
    say(f"   the page says: {report['close']['page']}")
    playbook(lab, "window_status", ["-e", "site=gw1"])
    cells += measure(lab, gateway, "after")
    say(table(cells))
    report["cells"] = [
        {**{name: getattr(cell, name) for name in Cell.__dataclass_fields__}, "good": cell.good} for cell in cells
    ]
    bad = [cell for cell in cells if not cell.good]
    if bad:
        raise Wrong(f"{len(bad)} of {len(cells)} cells; the first: {bad[0]}")
    say(f"   {len(cells)} cells measured, every one as it must be")

    say("\n9. What is left, and the receipt")
    report["left"] = nothing_left(gateway)
    say(gateway.run(["sightglass", "receipts", "show", "--all"]).stdout.rstrip())
    say(gateway.run(["sightglass", "receipts", "verify"]).stdout.rstrip())
    report["times"] = times(gateway, maintainer, url)
    say(f"\n10. Times: {report['times']['sentence']}")


def playbook(lab: Lab, name: str, arguments: list[str], *, must: int | None = 0) -> str:
    """Run a playbook on `ops` and show what it prints. `must=None` wants a refusal."""
    command = ["ansible-playbook", f"{PLAYBOOKS}/{name}.yml", *arguments]
    say(f"   ops$ {' '.join(command)}")
    done = lab.host("ops").run(command, timeout=600, check=False, cwd=str(ROOT))
    for line in done.stdout.splitlines():
        if line.strip() and not line.startswith(("PLAY [", "TASK [", "skipping:", "included:")):
            say(f"   {line}")
    if (done.returncode == 0) != (must == 0):
        raise Wrong(f"{name}.yml ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def watch(host: Host, url: str, frames: int, picture: Path | None = None) -> dict[str, Any]:
    """Decode some frames as an ordinary viewer; what the viewer saw."""
    extra = ["--picture", str(picture)] if picture else []
    command = watch_command(url, "--frames", str(frames), "--retry", "5", *extra)
    done = host.run(command, timeout=60, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or not events:
        raise Wrong(f"the maintainer decoded no frame: {events or done.stderr[-500:]}")
    return {"first_at": events[0]["at"], "numbers": events[-1]["numbers"], "frames": events[-1]["frames"]}


def browse(host: Host, page: str) -> dict[str, Any]:
    """The page in a real browser; what it showed."""
    with browser(host, page, "--picture", str(BUILD / "demo-page.png")) as tab:
        try:
            seen = next_event(tab, "seen")
        finally:
            tab.kill()
    numbers = [number for number in seen["numbers"] if number is not None]
    if len(set(numbers)) < 2 or numbers != sorted(numbers):
        raise Wrong(f"the page's picture does not move: {seen['numbers']}")
    over = str(seen["transport"]).upper()
    sentence = f"{seen['frames']} frames decoded over WebRTC ({over}), source frames {numbers[0]} to {numbers[-1]}"
    return {"frames": seen["frames"], "numbers": numbers, "transport": seen["transport"], "sentence": sentence}


def said_at_the_end(tab: subprocess.Popen[str]) -> str:
    """What the page tells its viewer after the close."""
    while (event := next_event(tab, "state"))["state"] != "ended":
        pass
    return str(event["text"])


def check_frames(seen: dict[str, Any]) -> dict[str, Any]:
    """The source's burnt-in number advances, and the picture holds nothing finer than the mosaic."""
    numbers = [number for number in seen["numbers"] if number is not None]
    if len(numbers) < 10 or numbers != sorted(numbers) or len(set(numbers)) < 5:
        raise Wrong(f"the burnt-in frame number does not advance: {seen['numbers']}")
    shown, scene = shown_and_scene(BUILD / "demo-frame.png")
    if scene < 3 * NOISE:
        raise Wrong(f"the scene itself holds no detail ({scene:.1f} grey levels): the control fails")
    if shown > NOISE:
        raise Wrong(f"the picture holds {shown:.1f} grey levels of detail within a block: it is not redacted")
    return {
        "frames": seen["frames"],
        "numbers": numbers,
        "detail_in_blocks": round(shown, 1),
        "detail_in_blocks_of_the_scene": round(scene, 1),
        "sentence": f"{seen['frames']} frames decoded, source frames {numbers[0]} to {numbers[-1]}; detail within a"
        f" block: {shown:.1f} grey levels (the scene without the mosaic: {scene:.1f})",
    }


def close(lab: Lab, gateway: Host, watching: subprocess.Popen[str]) -> dict[str, Any]:
    """Close by playbook while the wire is watched; the viewer's end, and the last media byte."""
    wire = capture(gateway, 8554, 8189)
    first_frame_at(watching)
    playbook(lab, "window_close", ["-e", "site=gw1"])
    closed_at = time.time()
    ended = watching.wait(10)
    seen = finish(wire)
    if seen["last"] > closed_at:
        raise Wrong(f"media left the gateway {seen['last'] - closed_at:.3f} s after the close was reported")
    return {
        "media_packets": int(seen["packets"]),
        "viewer_exit": ended,
        "sentence": f"{seen['packets']:.0f} media packets seen on tailscale0 before the close was reported, none after;"
        f" the viewer has ended (exit {ended})",
    }


def nothing_left(gateway: Host) -> dict[str, str]:
    """No process, no stream listener, no element in the kernel's sets; each beside something that is found."""
    if gateway.run(["systemctl", "is-active", "sightglass-agent.service"]).stdout.strip() != "active":
        raise Wrong("the agent does not run: then its absence of windows proves nothing")
    found = left(gateway)
    if found:
        raise Wrong(f"something is left: {'; '.join(found)}")
    say("   no process of the window, no listener on its ports, no lease in the kernel")
    return {"processes": "none", "listeners": "none", "leases": "none"}


def times(gateway: Host, maintainer: Host, url: str) -> dict[str, Any]:
    """From the agent's own command to the first decoded frame, and from close to the last media byte on the wire."""
    trial = one_window(gateway, maintainer, url, name="demo")
    return {
        **trial,
        "sentence": f"`sightglass open` to the maintainer's first decoded frame {trial['first_frame_s']:.2f} s,"
        f" `sightglass close` to the last media byte on tailscale0 {trial['last_byte_s'] * 1000:.0f} ms",
    }


def say(text: str) -> None:
    """To the terminal, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
