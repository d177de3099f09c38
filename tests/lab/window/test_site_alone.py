"""The site's own work neither needs us nor hears of us."""

from __future__ import annotations

import pytest

from tests.lab.window.site_under_test import Site

UNITS = ("sightglass-agent.socket", "sightglass-agent.service")


@pytest.mark.requirement("L1")
@pytest.mark.requirement("N2")
def test_a_window_says_nothing_to_the_broker(site: Site) -> None:
    """While one opens, is watched and closes, every message on the site's broker is one of the parking's own."""
    with site.gateway.popen(["mosquitto_sub", "-v", "-R", "-t", "#"], stdout=-1, text=True) as broker:
        try:
            assert broker.stdout is not None
            assert broker.stdout.readline().startswith("parking/"), "the control: the parking is heard"
            site.open()
            site.watch(frames=10)
            site.close()
            site.gateway.run(["mosquitto_pub", "-t", "test/last", "-m", "over"])
            heard = {line.split()[0] for line in iter(broker.stdout.readline, "test/last over\n")}
        finally:
            broker.kill()
    assert heard
    assert all(topic.startswith("parking/") for topic in heard), heard


@pytest.mark.requirement("L1")
def test_the_parking_goes_on_without_us(site: Site) -> None:
    """With the agent and its socket stopped the vision counts and the lane says how it moves; then a window opens."""
    site.gateway.run(["systemctl", "stop", *UNITS])
    try:
        assert site.sightglass("status").returncode != 0, "the control: nobody of ours is there"
        for mode in ("moving", "idle"):
            site.lane(mode)
        site.wait_frames(10)
    finally:
        site.gateway.run(["systemctl", "start", *UNITS])
    site.wait_guards()
    assert site.open()["state"] == "open"
