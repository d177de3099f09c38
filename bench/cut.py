"""`make bench-cut`: from what ends a permission to the last media byte on the gateway's VPN interface.

In each trial three viewers watch at once: a player and a browser that behave, and a client that never closes, keeps
sending and reconnects in a loop. Noticing is a column of its own: from the event until the agent knows of it. Beside it
plain MediaMTX, which loses its grant and goes on for as long as anybody looks (30 s). Writes build/cut.json.
TRIALS sets n; the deadline, which takes a minute, has a third of it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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
EVENT, NOTICED = "from the event", "from noticing"


class Trial(NamedTuple):
    """Seconds from the event to the last media byte (or picture), and to the agent's knowing of it."""

    last_byte_s: float
    noticed_s: float


class Promise(NamedTuple):
    """At most so many seconds."""

    seconds: float
    since: str


PROMISED = (
    dict.fromkeys(("close", "disable", "deadline"), Promise(0.1, EVENT))
    | dict.fromkeys(("exposure", MOVING), Promise(0.1, NOTICED))
    | dict.fromkeys(("capability removed", "node expired"), Promise(1.0, EVENT))
    | {
        f"{who} {what}": Promise(LEASE_S, EVENT)
        for who in ("agent", "shutter", "feed", "agent and shutter")
        for what in ("killed", "stopped")
    }
)


def trial(ends: Ends, act: Callable[[], float], minutes: int) -> Trial:
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
    noticed = wait.until(lambda: ends.noticed(window["id"], at), 30, "the agent's word of it")
    return Trial(seen["last"] - at, noticed - at)


def suspension(ends: Ends) -> Trial:
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
        noticed = wait.until(lambda: ends.noticed(window["id"], at), 5, "the agent's word of it")
    finally:
        player.kill()
        player.communicate(timeout=5)
        lane(gateway, "idle")
    return Trial(last - at, noticed - at)


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
    rows: dict[str, list[Trial]] = {}
    with Lab.up(NAME, push_delay_ms=PUSH_DELAY_MS) as lab:
        if not install(lab):
            return 1
        ends = Ends(lab)
        for number in range(TRIALS):
            for name, act in ways(ends).items():
                if name == "deadline" and number % 3:
                    continue
                ends.restore()
                _add(rows, name, trial(ends, act, 1 if name == "deadline" else 5))
            ends.restore()
            _add(rows, MOVING, suspension(ends))
        ends.restore()
        rows[PLAIN] = [Trial(plain(ends), 0.0)]
    with Lab.up(NAME, push_delay_ms=DEFAULT_PUSH_DELAY_MS) as lab:
        if not install(lab):
            return 1
        ends = Ends(lab)
        for _ in range(TRIALS):
            for name, act in (("capability removed", ends.capability), ("node expired", ends.expired)):
                ends.restore()
                _add(rows, f"{name}, push delay {DEFAULT_PUSH_DELAY_MS} ms", trial(ends, act, 5))
    report = {name: summary(trials, PROMISED.get(name)) for name, trials in rows.items()}
    (BUILD / "cut.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    return 1 if any(row["kept"] is False for row in report.values()) else 0


def ways(ends: Ends) -> dict[str, Callable[[], float]]:
    """What ends a permission, by its name in the table."""
    kill = ends.kill
    return {
        "close": ends.close,
        "disable": ends.disable,
        "deadline": ends.deadline,
        "exposure": ends.exposure,
        "capability removed": ends.capability,
        "node expired": ends.expired,
        "agent killed": lambda: kill("KILL", "agent"),
        "shutter killed": lambda: kill("KILL", "shutter"),
        "feed killed": lambda: kill("KILL", "feed"),
        "agent and shutter killed": lambda: kill("KILL", "agent", "shutter"),
        "agent stopped": lambda: kill("STOP", "agent"),
        "shutter stopped": lambda: kill("STOP", "shutter"),
        "agent and shutter stopped": lambda: kill("STOP", "agent", "shutter"),
    }


def _add(rows: dict[str, list[Trial]], name: str, trial: Trial) -> None:
    rows.setdefault(name, []).append(trial)
    print(f"{len(rows[name])}/{TRIALS} {name}: {trial}", flush=True)


def summary(trials: list[Trial], promise: Promise | None) -> dict[str, Any]:
    """Seconds; what is below zero is the measure's own doubt of some milliseconds."""
    last, cut = [trial.last_byte_s for trial in trials], [trial.last_byte_s - trial.noticed_s for trial in trials]
    counted = cut if promise is not None and promise.since == NOTICED else last
    return {
        "n": len(last),
        "noticed_median_s": round(statistics.median(trial.noticed_s for trial in trials), 3),
        "median_s": round(statistics.median(last), 3),
        "max_s": round(max(last), 3),
        "cut_max_s": round(max(cut), 3),
        "promised": "" if promise is None else f"{promise.seconds:g} {promise.since}",
        "kept": None if promise is None else max(counted) <= promise.seconds,
    }


def table(report: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    columns = {
        "n": "n",
        "noticed after": "noticed_median_s",
        "last media byte after, median": "median_s",
        "max": "max_s",
        "after noticing, max": "cut_max_s",
        "promised (s)": "promised",
    }
    heads = ("what happens", *columns)
    rows = [(name, *(str(row[key]) for key in columns.values())) for name, row in report.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows))


if __name__ == "__main__":
    sys.exit(main())
