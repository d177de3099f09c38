"""`make bench-site`: what an installation costs: time, the controller's processors, bytes sent to a gateway.

A blank lab gateway, its vision stopped as on a machine of its own; site.yml for the first time, again, and with one
setting changed. Writes build/site.json and prints a table.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

from bench.fleet import play
from lab import Lab

BUILD = Path(__file__).parents[1] / "build"
TRIALS = int(os.environ.get("TRIALS", "3"))


def sent(lab: Lab) -> int:
    """Bytes that the controller has sent into the VPN until now."""
    shown = lab.host("ops").run(["ip", "-j", "-s", "link", "show", "dev", "tailscale0"]).stdout
    return int(json.loads(shown)[0]["stats64"]["tx"]["bytes"])


def run(lab: Lab, *asked: str) -> dict[str, float]:
    """One run of site.yml."""
    before = sent(lab)
    return {**play(lab, "site", *asked), "mb": (sent(lab) - before) / 1e6}


def measure() -> dict[str, list[dict[str, float]]]:
    """All rows, in a lab for each trial, since only a blank gateway has a first run."""
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(TRIALS):
        with Lab.up("bench-site") as lab:
            lab.host("gw1").run(["systemctl", "stop", "parking.service"])
            rows.setdefault("first run", []).append(run(lab))
            rows.setdefault("second run", []).append(run(lab))
            rows.setdefault("one setting changed", []).append(run(lab, "sightglass_agent_timezone=Europe/Vienna"))
    return rows


def main() -> int:
    """Measure, print and keep."""
    rows = measure()
    for name, trials in rows.items():
        seconds, cpu, mb = (statistics.median(trial[key] for trial in trials) for key in ("s", "cpu_s", "mb"))
        print(f"{name:<22}{len(trials):>3}  {seconds:6.1f} s  controller {cpu:5.1f} s CPU  {mb:8.2f} MB sent")
    BUILD.mkdir(exist_ok=True)
    (BUILD / "site.json").write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
