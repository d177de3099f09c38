"""`make bench-fleet`: what operators wait for. Ansible's own time for a window, and for the switch of a whole fleet.

Eight gateways, their visions stopped but for the first one's; `ATTACH=LAB` takes a lab that is up and converged. Writes
build/fleet.json and prints a table. Ansible's share of a window is the playbook's time less the module's own.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.window import install
from lab import Lab, wait
from lab.paths import CHECKOUT

BUILD = Path(__file__).parents[1] / "build"
GATEWAYS = 8
LOST = ("gw7", "gw8")
TRIALS = int(os.environ.get("TRIALS", "5"))
OPEN = ("window_open", "site=gw1", "minutes=5", "purpose=debug", "reason='bench: a window'")
CLOSE = ("window_close", "site=gw1", "reason='bench: it is over'")
OFF = ("fleet_off", "reason='bench: off'")
ON = ("fleet_on", "reason='bench: on'")


def play(lab: Lab, name: str, *asked: str, ends: int = 0) -> dict[str, float]:
    """Seconds that a playbook took, and those of the controller's processors. Raises when it ends otherwise."""
    words = ["ansible-playbook", f"ansible/playbooks/{name}.yml", *(word for one in asked for word in ("-e", one))]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = lab.host("ops").run(words, timeout=200, check=False, cwd=str(CHECKOUT))
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != ends:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stdout[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"s": took, "cpu_s": cpu}


def agent_alone(lab: Lab) -> float:
    """Seconds that the gateway's own command takes for a window, without Ansible."""
    words = "sightglass open --camera cam1 --minutes 5 --purpose debug --reason 'bench: alone'"
    began = time.monotonic()
    lab.host("gw1").run(["sh", "-c", words], timeout=30)
    took = time.monotonic() - began
    lab.host("gw1").run(["sightglass", "close"], timeout=30)
    return took


def measure(lab: Lab) -> dict[str, list[dict[str, float]]]:
    """All trials of all rows, side by side."""
    rows: dict[str, list[dict[str, float]]] = {}

    def note(name: str, figures: dict[str, float]) -> None:
        rows.setdefault(name, []).append(figures)

    play(lab, "window_status")
    for _ in range(TRIALS):
        note("agent alone", {"s": agent_alone(lab), "cpu_s": 0.0})
        lab.forget_connections()
        note("window_open, first connection", play(lab, *OPEN))
        note("window_close", play(lab, *CLOSE))
        note("window_open, warm", play(lab, *OPEN))
        play(lab, *CLOSE)
        lab.forget_connections()
        note(f"fleet_off, {GATEWAYS} gateways, first connection", play(lab, *OFF))
        play(lab, *ON)
        note(f"fleet_off, {GATEWAYS} gateways, warm", play(lab, *OFF))
        note(f"window_status, {GATEWAYS} gateways", play(lab, "window_status"))
        play(lab, *ON)
    report_file = lab.state / "fleet-off.json"
    report_file.unlink(missing_ok=True)
    with lab.unplugged(LOST[0]), lab.unplugged(LOST[1]):
        figures = play(lab, *OFF, f"report={report_file}", ends=2)
    told = {row["site"]: row["confirmed"] for row in json.loads(report_file.read_text())["gateways"]}
    if told != {gateway.name: gateway.name not in LOST for gateway in lab.gateways}:
        raise RuntimeError(f"fleet_off confirmed others than it could reach: {told}")
    note(f"fleet_off, {GATEWAYS} gateways, {len(LOST)} unreachable", figures)
    wait.until(lambda: play(lab, *ON), 60, "every gateway is enabled again")
    return rows


def main() -> int:
    """Measure and print."""
    attach = os.environ.get("ATTACH")
    if attach:
        return report(measure(Lab.attach(attach)))
    with Lab.up("bench-fleet", GATEWAYS) as lab:
        for gateway in lab.gateways[1:]:
            gateway.run(["systemctl", "stop", "parking.service"])
        return report(measure(lab)) if install(lab) else 1


def report(rows: dict[str, list[dict[str, float]]]) -> int:
    """Print the table and keep the figures."""
    BUILD.mkdir(exist_ok=True)
    made: dict[str, Any] = {}
    for name, trials in rows.items():
        seconds, cpu = ([trial[key] for trial in trials] for key in ("s", "cpu_s"))
        made[name] = {"n": len(trials), "median_s": statistics.median(seconds), "max_s": max(seconds)}
        made[name]["cpu_median_s"] = statistics.median(cpu)
        print(f"{name:<44}{len(trials):>3}  {made[name]['median_s']:6.2f} s  max {max(seconds):6.2f} s", end="")
        print(f"  controller {made[name]['cpu_median_s']:5.2f} s CPU")
    (BUILD / "fleet.json").write_text(json.dumps({"rows": made, "trials": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
