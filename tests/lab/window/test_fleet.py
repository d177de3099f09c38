"""The whole fleet is disabled and enabled in one play, whatever of it can be reached."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import wait
from lab.host import Host
from lab.next_version import NEXT, NOW, wheelhouse
from tests.lab.upgrading import installed, version
from tests.lab.window.site_under_test import LEASE_S, Site

OFF = "reason='works at all sites'"
ON = "reason='the works are over'"


@pytest.fixture
def other(site: Site) -> Iterator[Host]:
    """A second gateway of the fleet; enabled again at the end."""
    found = site.lab.host("gw2")
    yield found
    for whose in ((), ("--fleet",)):
        found.run(["sightglass", "enable", "--reason", "the test is over", *whose])


def report(site: Site, done: subprocess.CompletedProcess[str]) -> tuple[str, dict[str, dict[str, Any]]]:
    """The report that a run has written: its path, and its rows by gateway. Readable by its owner alone."""
    path = next(line.split("report: ")[1].strip() for line in done.stdout.splitlines() if "report: " in line)
    ops = site.lab.host("ops")
    assert ops.run(["stat", "-c", "%a", path]).stdout.strip() == "600"
    found = json.loads(ops.run(["cat", path]).stdout)
    rows = {row["site"]: row for row in found["gateways"]}
    assert found["confirmed"] == all(row["confirmed"] for row in rows.values())
    assert set(rows) == {gateway.name for gateway in site.lab.gateways}
    return path, rows


def state(gateway: Host) -> str:
    """By the gateway's own word."""
    return str(json.loads(gateway.run(["sightglass", "status", "--json"]).stdout)["state"])


@pytest.mark.requirement("U2")
@pytest.mark.requirement("N3")
def test_a_fleet_with_a_gateway_that_cannot_be_reached(site: Site, other: Host) -> None:
    """What can be reached is closed and disabled; what cannot is named, with when it is over there, until a second run
    has told that one alone; enabling needs a reason of its own."""
    site.wait_reachable()
    window = site.open()
    with site.lab.unplugged(other.name):
        first = site.play("fleet_off", OFF)
    assert first.returncode == 2, first.stdout
    assert f"gateways not confirmed: {other.name}." in " ".join(first.stdout.split())
    path, rows = report(site, first)
    assert [name for name, row in rows.items() if not row["confirmed"]] == [other.name]
    assert f"{window['id']} has ended (fleet-off)" in rows["gw1"]["said"]
    assert "unreachable: ssh: " in rows[other.name]["said"]
    until = rows[other.name]["ended_by"]
    assert datetime.fromisoformat(until) - datetime.fromisoformat(rows[other.name]["at"]) == timedelta(
        minutes=120, seconds=LEASE_S
    ), "the site's longest window and a lease, from then on"
    assert f"what is open there has ended by {until}" in " ".join(first.stdout.split())
    assert site.left() == []
    assert site.cause(window["id"]) == "fleet-off"
    assert site.ask_open().returncode == 3
    assert (site.status()["state"], state(other)) == ("disabled", "closed"), "the control: it was not told"

    site.wait_reachable()
    second = site.play("fleet_off", OFF, f"unconfirmed={path}")
    assert second.returncode == 0, second.stdout
    assert "skipping: [gw1]" in second.stdout
    assert f"changed: [{other.name}]" in second.stdout
    assert all(row["confirmed"] for row in report(site, second)[1].values())
    assert (site.status()["state"], state(other)) == ("disabled", "disabled")

    refused = site.play("fleet_on")
    assert refused.returncode == 2
    assert 'reason: must be one line of 5 to 200 printable characters, not ""' in " ".join(refused.stdout.split())
    assert state(other) == "disabled"
    on = site.play("fleet_on", ON)
    assert on.returncode == 0, on.stdout
    assert (site.status()["state"], state(other)) == ("closed", "closed")
    site.wait_guards()
    site.open()


@pytest.mark.requirement("U2")
def test_a_site_that_disabled_itself_stays_so(site: Site, other: Host) -> None:
    """Neither does the fleet enable it, nor does it enable itself while the fleet is off."""
    done = site.sightglass("disable", "--reason", "the road is dug up")
    assert done.returncode == 0, done.stderr
    assert site.play("fleet_off", OFF).returncode == 0
    again = site.play("fleet_off", OFF)
    assert again.returncode == 0
    assert "changed=0" in again.stdout.rpartition("gw1 ")[2].splitlines()[0], "the second time changes nothing"
    assert site.sightglass("enable", "--reason", "the road is whole").returncode == 0
    assert site.status()["state"] == "disabled", "by the fleet"
    refused = site.sightglass("enable", "--reason", "the road is whole")
    assert (refused.returncode, "refused (still-fleet-off)" in refused.stderr) == (3, True)
    assert site.sightglass("disable", "--reason", "the road is dug up").returncode == 0
    on = site.play("fleet_on", ON)
    assert on.returncode == 0, on.stdout
    assert "it stays disabled: the road is dug up" in report(site, on)[1]["gw1"]["said"]
    assert (site.status()["state"], state(other)) == ("disabled", "closed")


@pytest.mark.timeout(600)  # two installations and a boot
@pytest.mark.requirement("U2")
@pytest.mark.requirement("N3")
def test_disabled_outlives_an_upgrade_and_a_reboot(site: Site, tmp_path: Path) -> None:
    """Another version of the agent, and the gateway boots again: still off, for the reason that was given, and so it is
    with the version of before."""
    done = site.sightglass("disable", "--fleet", "--reason", "works at all sites")
    assert done.returncode == 0, done.stderr
    assert version(site) == NOW
    installed(site, wheelhouse(tmp_path))
    assert version(site) == NEXT
    assert site.status()["state"] == "disabled"
    site.lab.reboot("gw1")
    wait.until(lambda: site.status()["state"] == "disabled", 30, "still disabled after the reboot")
    assert site.status()["disabled"][0]["reason"] == "works at all sites"
    assert site.ask_open().returncode == 3
    installed(site)
    assert (version(site), site.status()["state"]) == (NOW, "disabled")
    assert site.sightglass("enable", "--fleet", "--reason", "the works are over").returncode == 0
    booted = ["parking-control", "status"]
    wait.until(lambda: site.gateway.run(booted, check=False).returncode == 0, 30, "the parking has booted, too")
    site.lane("idle")
    site.wait_guards()
    site.open()


@pytest.mark.requirement("U2")
def test_nothing_is_left_out_in_silence(site: Site, other: Host) -> None:
    """A limit without the controller, or that leaves a gateway out, does not end well; check mode changes nothing."""
    limited = site.play("fleet_off", OFF, more=("--limit", "gw1"))
    assert limited.returncode == 2
    assert "limit: must name localhost too (--limit gw1,localhost)" in limited.stdout
    assert site.status()["state"] == "closed"
    checked = site.play("fleet_off", OFF, more=("--check",))
    assert checked.returncode == 0, checked.stdout
    assert "it would be disabled" in checked.stdout
    assert (site.status()["state"], state(other)) == ("closed", "closed")
    part = site.play("fleet_off", OFF, more=("--limit", "gw1,localhost"))
    assert part.returncode == 2
    assert report(site, part)[1][other.name]["said"] == "it was not asked"
    assert (site.status()["state"], state(other)) == ("disabled", "closed")
