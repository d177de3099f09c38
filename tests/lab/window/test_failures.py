"""Whatever dies, hangs or goes away: the window ends closed, parking goes on, the next one opens."""

from __future__ import annotations

import pytest

from demo.left import SETS
from lab import wait
from tests.lab.window.site_under_test import LEASE_S, Site

LOST = {
    ("agent",): "agent-lost",
    ("shutter",): "shutter-lost",
    ("feed",): "feed-lost",
    ("mediamtx",): "server-lost",
    ("console",): "console-lost",
    ("agent", "shutter"): "agent-lost",
}
# Seconds. A killed part is noticed by what hangs on it within some 0.1 s; the rest is a busy machine's.
KINDS = {"KILL": 3.0, "STOP": LEASE_S + 10.0}


def kill(site: Site, signal: str, *units: str) -> None:
    """Send a signal to the main processes of some of our units, all in one command."""
    pids = [str(site.pid(unit)) for unit in units]
    site.gateway.run(["kill", f"-{signal}", *pids])


def _alive(site: Site) -> list[str]:
    """What of the window could send or answer: all but the kernel's leases, which end by themselves."""
    return [each for each in site.left() if not each.startswith(SETS)]


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
@pytest.mark.requirement("P2")
@pytest.mark.parametrize("signal", KINDS)
@pytest.mark.parametrize("units", LOST, ids="+".join)
def test_a_part_that_dies_or_hangs_closes_the_window(site: Site, signal: str, units: tuple[str, ...]) -> None:
    """Killed: at once. Stopped: within its watchdog or the lease, whichever is first. By the name of what was lost."""
    window = site.open()
    with site.watching() as viewer:
        frame = site.parking_frame()
        kill(site, signal, *units)
        what = f"closed after SIG{signal} of {' and '.join(units)}"
        wait.until(lambda: not _alive(site), KINDS[signal], what)
        wait.until(lambda: not site.left(), LEASE_S + 10, what)
        viewer.wait(LEASE_S)
    parking_goes_on(site, frame)
    next_window_opens(site)
    # A stream server that hangs shows in the feed, which cannot publish any more.
    hung = {"feed-lost"} if (units, signal) == (("mediamtx",), "STOP") else set()
    assert site.cause(window["id"]) in {LOST[units], *hung}
    site.verify()


@pytest.mark.requirement("F1")
def test_an_agent_that_stood_still_for_a_moment_keeps_its_window(site: Site) -> None:
    """Three seconds, as for a write to a slow disk: what it knew is old then, and it asks again before it judges."""
    site.open(purpose="alignment")
    agent = site.pid("agent")
    for _ in range(3):
        site.gateway.run(["kill", "-STOP", str(agent)])
        site.wait_frames(30)
        site.gateway.run(["kill", "-CONT", str(agent)])
        site.wait_frames(10)
        assert site.status()["state"] == "open"
    assert site.pid("agent") == agent
    site.gateway.run(["kill", "-STOP", str(agent)])
    wait.until(lambda: not site.left(), LEASE_S + 10, "the control: for longer, it is closed")
    wait.until(lambda: site.status()["state"] == "closed", 15, "the agent is back and closed")


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
