"""`make bench-cut`: from what ends a permission to the last media byte on the gateway's VPN interface.

In each trial three viewers watch at once: a player and a browser that behave, and a client that never closes, keeps
sending and reconnects in a loop. Detection is a column of its own: from the event until the agent acts, by its record.
Beside it plain MediaMTX, which loses its grant and goes on for as long as anybody looks (30 s). Writes build/cut.json.
TRIALS sets n; the deadline, which takes a minute, has a tenth of it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.ends import Ends
from bench.plain import plain_stream
from bench.window import install
from lab import Lab, wait
from lab.headscale import DEFAULT_PUSH_DELAY_MS
from lab.host import Host
from lab.media import browser, capture, finish, first_frame_at, lane, next_event, viewer
from lab.plan import PROBE_PORT

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
NAME = "bench"
TRIALS = int(os.environ.get("TRIALS", "5"))
LEASE_S = 15
PLAIN_S = 30.0
PUSH_DELAY_MS = 100
MOVING = "lane in motion (alignment: last picture before the blank)"
PLAIN = "plain MediaMTX, grant removed"


def trial(ends: Ends, act: Callable[[], float], minutes: int) -> dict[str, float]:
    """One window, three viewers, one end: seconds to the last media byte, and to the agent's knowing."""
    gateway, maintainer = ends.gateway, ends.maintainer
    reason = ["--reason", "bench: how quick is the cut", "--purpose", "debug", "--minutes", str(minutes)]
    window = json.loads(gateway.run(["sightglass", "open", "--camera", "cam1", *reason, "--json"]).stdout)
    url, page = window["urls"]["cam1"], window["page"]
    player, tab = viewer(maintainer, url, seconds=90), browser(maintainer, page, "--frames", "3", "--stay", "90")
    wire = insisting = None
    try:
        first_frame_at(player)
        next_event(tab, "seen")
        # After the others: all three are one address, whose connections are limited, and it would take every place.
        insist = [sys.executable, str(ROOT / "bench" / "stubborn.py"), str(gateway.vpn4), "8554", "100"]
        insisting = maintainer.popen(insist)
        wire = capture(gateway, 8189, 8554)
        began = time.time()
        wait.until(lambda: time.time() > began + 0.5, 2, "media on the wire before the event")
        at = act()
        wait.until(lambda: time.time() > at + 1, LEASE_S, "a second after the event")
        quiet(gateway, LEASE_S + 10)
        seen = finish(wire)
    finally:
        for process in filter(None, (player, tab, insisting, wire)):
            process.kill()
            process.wait(5)
    return {"last_byte_s": seen["last"] - at, "detection_s": _detected(ends, window["id"], at) - at}


def _detected(ends: Ends, window: str, since: float) -> float:
    """When the agent recorded the cause; a loss of the viewer alone is a `left`."""
    found = lambda: [at for at in ends.recorded(window, "cause", "left") if at > since - 0.1]  # noqa: E731
    return min(wait.until(found, 30, "the record"))


def suspension(ends: Ends) -> dict[str, float]:
    """A window for alignment whose lane begins to move: the last picture that the player decodes, by its own number."""
    gateway = ends.gateway
    reason = ["--reason", "bench: how quick is the blank", "--purpose", "alignment"]
    window = json.loads(gateway.run(["sightglass", "open", "--camera", "cam1", *reason, "--json"]).stdout)
    player = viewer(ends.maintainer, window["urls"]["cam1"], seconds=6)
    try:
        first_frame_at(player)
        began = time.time()
        wait.until(lambda: time.time() > began + 1, 2, "a second of pictures")
        at = time.time()
        lane(gateway, "moving")
        last = float(next_event(player, "end")["last_picture"])
        suspended = wait.until(lambda: ends.recorded(window["id"], "suspended"), 5, "the record")[0]
    finally:
        player.kill()
        player.communicate(timeout=5)
        lane(gateway, "idle")
    return {"last_byte_s": last - at, "detection_s": suspended - at}


def quiet(gateway: Host, seconds: float) -> None:
    """Wait until no media has left for a second; raises TimeoutError after `seconds`."""

    def still() -> bool:
        wire = capture(gateway, 8189, 8554)
        began = time.time()
        wait.until(lambda: time.time() > began + 1, 2, "a second")
        return int(json.loads(wire.communicate("", timeout=10)[0])["packets"]) == 0

    wait.until(still, seconds, "no media for a second")


def plain(ends: Ends) -> float:
    """Plain MediaMTX and the VPN's policy alone: seconds from losing the grant to the last byte seen in PLAIN_S."""
    with plain_stream(ends.lab, ends.gateway) as url:
        player = viewer(ends.maintainer, url, seconds=PLAIN_S + 30)
        try:
            first_frame_at(player)
            wire = capture(ends.gateway, PROBE_PORT)
            at = ends.without(f"tcp:{PROBE_PORT}")
            wait.until(lambda: time.time() > at + PLAIN_S, PLAIN_S + 5, "the time is over")
            return finish(wire)["last"] - at
        finally:
            player.kill()
            player.wait(5)


def main() -> int:
    """Measure and print."""
    BUILD.mkdir(exist_ok=True)
    with Lab.up(NAME, push_delay_ms=PUSH_DELAY_MS) as lab:
        if not install(lab):
            return 1
        ends = Ends(lab)
        ways: list[tuple[str, Callable[[], float], float]] = [
            ("close", ends.close, 0.1),
            ("disable", ends.disable, 0.1),
            ("deadline", ends.deadline, 0.1),
            ("exposure", ends.exposure, 2.1),
            ("capability removed", ends.capability, 1.0),
            ("node expired", ends.expired, 1.0),
            *((f"{unit} killed", _killed(ends, "KILL", unit), LEASE_S) for unit in ("agent", "shutter", "feed")),
            *((f"{unit} stopped", _killed(ends, "STOP", unit), LEASE_S) for unit in ("agent", "shutter")),
            ("agent and shutter stopped", _killed(ends, "STOP", "agent", "shutter"), LEASE_S),
        ]
        rows: dict[str, list[dict[str, float]]] = {}
        for number in range(TRIALS):
            for name, act, _ in ways:
                if name == "deadline" and number % 10:
                    continue
                ends.restore()
                _add(rows, name, trial(ends, act, 1 if name == "deadline" else 5))
            ends.restore()
            _add(rows, MOVING, suspension(ends))
        ends.restore()
        rows[PLAIN] = [{"last_byte_s": plain(ends), "detection_s": 0.0}]
        promised = {name: target for name, _, target in ways} | {MOVING: 0.5, PLAIN: PLAIN_S}
    with Lab.up(NAME, push_delay_ms=DEFAULT_PUSH_DELAY_MS) as lab:
        if not install(lab):
            return 1
        ends = Ends(lab)
        for _ in range(TRIALS):
            for name, act in (("capability removed", ends.capability), ("node expired", ends.expired)):
                ends.restore()
                slow = f"{name}, push delay {DEFAULT_PUSH_DELAY_MS} ms"
                promised[slow] = 1.0 + DEFAULT_PUSH_DELAY_MS / 1000
                _add(rows, slow, trial(ends, act, 5))
    report = {name: summary(rows[name], target) for name, target in promised.items()}
    (BUILD / "cut.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    return 1 if any(row["max_s"] > row["target_s"] for row in report.values()) else 0


def _add(rows: dict[str, list[dict[str, float]]], name: str, trial: dict[str, float]) -> None:
    rows.setdefault(name, []).append(trial)
    print(f"{len(rows[name])}/{TRIALS} {name}: {trial}", flush=True)


def _killed(ends: Ends, signal: str, *units: str) -> Callable[[], float]:
    return lambda: ends.kill(signal, *units)


def summary(trials: list[dict[str, float]], target: float) -> dict[str, Any]:
    """Seconds; what is below zero is the measure's own doubt of some milliseconds."""
    last = [trial["last_byte_s"] for trial in trials]
    return {
        "n": len(last),
        "median_s": round(statistics.median(last), 3),
        "max_s": round(max(last), 3),
        "detection_median_s": round(statistics.median(trial["detection_s"] for trial in trials), 3),
        "target_s": target,
    }


def table(report: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    heads = ("event", "n", "last media byte, median (s)", "max (s)", "recorded after (s)", "promised (s)")
    keys = ("n", "median_s", "max_s", "detection_median_s", "target_s")
    rows = [(name, *(str(row[key]) for key in keys)) for name, row in report.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows))


if __name__ == "__main__":
    sys.exit(main())
