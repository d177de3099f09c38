"""The gateway with the newer Debian (systemd 257, Python 3.13): its window, and what its sandboxes hold besides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import wait
from tests.lab.window.site_under_test import Site


@pytest.fixture
def newer(site: Site) -> Iterator[Site]:
    """The second gateway as a site, with its vision running as long as the test does."""
    found = Site(site.lab, site.lab.host("gw2"), site.maintainer)
    if not found.gateway.run(["cat", "/etc/debian_version"]).stdout.startswith("13."):
        pytest.skip("this attached lab has no Debian 13: lab up --gateways 2 --debian 12,13")
    control = ["test", "-S", "/run/parking/control"]
    found.gateway.run(["systemctl", "start", "parking.service"])
    try:
        wait.until(lambda: found.gateway.run(control, check=False).returncode == 0, 20, "the vision listens")
        found.lane("idle")
        found.wait_guards()
        yield found
        found.sightglass("close")
    finally:
        found.gateway.run(["systemctl", "stop", "parking.service"])


@pytest.mark.requirement("A2")
@pytest.mark.requirement("O3")
def test_a_window_on_debian_13_is_watched_checked_and_gone(newer: Site) -> None:
    """Live frames over the VPN, the compliance check during it and after it, and nothing is left."""
    window = newer.open()
    numbers = [number for number in newer.watch(frames=10) if number is not None]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 3
    during = newer.play("compliance", "site=gw2")
    assert during.returncode == 0, during.stdout[-2000:]
    newer.close()
    wait.until(lambda: newer.left() == [], 5, "nothing of the window is left")
    assert newer.cause(window["id"]) == "closed"
    newer.verify()
    newer.wait_guards()
    after = newer.play("compliance", "site=gw2", "during=true")
    assert after.returncode == 0, after.stdout[-2000:]
    assert newer.left() == []
