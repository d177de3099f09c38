"""Whatever dies, hangs or goes away: the window ends closed, parking goes on, the next one opens."""

from __future__ import annotations

import pytest

from lab import wait
from tests.lab.window.site_under_test import LEASE_S, Site

UNITS = ("agent", "shutter", "feed", "mediamtx", "console")


def kill(site: Site, signal: str, *units: str) -> None:
    """Send a signal to the main processes of some of our units, all in one command."""
    pids = [str(site.pid(unit)) for unit in units]
    site.gateway.run(["kill", f"-{signal}", *pids])


def parking_goes_on(site: Site, since: int) -> None:
    """The site's own vision has taken frames since, and takes more; its broker carries its heartbeat."""
    now = site.parking_frame()
    assert now > since
    wait.until(lambda: site.parking_frame() > now + 5, 5, "the site's own frames go on")
    beat = site.gateway.run(["mosquitto_sub", "-C", "1", "-W", "5", "-t", "parking/heartbeat"])
    assert '"frames"' in beat.stdout


def next_window_opens(site: Site) -> None:
    """And shows a picture."""
    wait.until(lambda: site.status()["state"] == "closed", 15, "the agent is back and closed")
    site.wait_guards()
    site.open()
    assert any(number is not None for number in site.watch(frames=10))
    site.close()


@pytest.mark.requirement("F1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("signal", ["KILL", "STOP"])
@pytest.mark.parametrize("units", [*((unit,) for unit in UNITS), ("agent", "shutter")], ids="+".join)
def test_a_part_that_dies_or_hangs_closes_the_window(site: Site, signal: str, units: tuple[str, ...]) -> None:
    """Killed: at once. Stopped: within its watchdog or the lease, whichever is first."""
    window = site.open()
    with site.watching() as viewer:
        frame = site.parking_frame()
        kill(site, signal, *units)
        wait.until(lambda: not site.left(), LEASE_S + 10, f"closed after SIG{signal} of {' and '.join(units)}")
        viewer.wait(LEASE_S)
    parking_goes_on(site, frame)
    next_window_opens(site)
    assert site.cause(window["id"]) in {
        "agent-lost",
        "shutter-lost",
        "feed-lost",
        "server-lost",
        "console-lost",
    }
    site.verify()


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("act", ["reboot", "power_cut"])
def test_a_reboot_or_power_cut_ends_closed(site: Site, act: str) -> None:
    """Nothing is open after it; the receipt names the cause; the next window opens."""
    window = site.open()
    getattr(site.lab, act)("gw1")
    wait.until(lambda: site.status()["state"] == "closed", 20, "the agent is up and closed")
    assert site.left() == []
    assert site.cause(window["id"]) in {"host-restarted", "agent-stopped"}
    wait.until(
        lambda: site.gateway.run(["parking-control", "status"], check=False).returncode == 0, 20, "parking is up"
    )
    next_window_opens(site)


@pytest.mark.requirement("F1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    ("unit", "cause"),
    [("tailscaled", {"tailscaled-gone", "vpn-down"}), ("parking", None), ("mosquitto", None)],
)
def test_a_part_of_the_site_that_stops(site: Site, unit: str, cause: set[str] | None) -> None:
    """Without the VPN the window closes; without the lane's publisher or broker nothing new opens."""
    window = site.open(purpose="debug")
    site.gateway.run(["systemctl", "stop", unit])
    try:
        if cause is not None:
            wait.until(lambda: not site.left(), LEASE_S + 10, "closed without the VPN")
            assert site.cause(window["id"]) in cause
        else:
            site.close()
        wait.until(lambda: _refused(site), 15, f"refused without {unit}")
    finally:
        site.gateway.run(["systemctl", "start", unit])
    next_window_opens(site)


@pytest.mark.requirement("O2")
def test_a_retained_safe_state_of_a_dead_publisher_is_no_safe_lane(site: Site) -> None:
    """The broker still says idle; its publisher's heartbeat is gone: alignment suspends, and nothing new opens."""
    site.open(purpose="alignment")
    site.gateway.run(["systemctl", "kill", "-s", "STOP", "parking"])
    try:
        retained = site.gateway.run(["mosquitto_sub", "-C", "1", "-W", "5", "-t", "parking/lane1/state"]).stdout.strip()
        assert retained == "idle"
        wait.until(lambda: site.status()["state"] == "suspended", 15, "suspended without a heartbeat")
        site.close()
        assert _refused(site)
    finally:
        site.gateway.run(["systemctl", "kill", "-s", "CONT", "parking"])
    next_window_opens(site)


def _refused(site: Site) -> bool:
    asked = site.ask_open()
    if asked.returncode == 0:
        site.close()
    return asked.returncode == 3 and "refused (guard-" in asked.stderr
