"""A user of the gateway who opens sockets by the ten thousand: what we look for among them is found, and in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import wait
from lab.media import capture, finish, first_frame_at, viewer
from tests.lab.window.site_under_test import Site

HOARDERS, EACH = 4, 12_000
_HOARD = """
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = []
for number in range(int(sys.argv[2])):
    kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    kept[-1].bind((f"127.{sys.argv[1]}.0.1", 10_000 + number))
print("ready", flush=True)
sys.stdin.read()
"""
_LISTEN = """
import socket, sys
listener = socket.create_server((sys.argv[1], 8550))
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def hoarded(site: Site) -> Iterator[None]:
    """The user has bound 48 000 UDP sockets."""
    hoarders = [
        site.gateway.popen(["python3", "-c", _HOARD, str(number + 1), str(EACH)], user="nobody", stdin=-1, stdout=-1)
        for number in range(HOARDERS)
    ]
    try:
        for hoarder in hoarders:
            assert hoarder.stdout is not None
            assert hoarder.stdout.readline().strip() == b"ready"
        yield
    finally:
        for hoarder in hoarders:
            hoarder.kill()
            hoarder.communicate(timeout=20)


@pytest.mark.requirement("F3")
@pytest.mark.requirement("A1")
@pytest.mark.requirement("L1")
def test_a_user_with_very_many_sockets_delays_no_cut_and_hides_no_listener(site: Site) -> None:
    """Reading them from /proc took the agent's loop many seconds a look: the window lives, closes at once, and a
    listener on one of our ports is still seen."""
    with hoarded(site):
        sockets = site.gateway.run(["sh", "-c", "ss -Hun state unconnected | wc -l"], timeout=30).stdout
        assert int(sockets) > HOARDERS * EACH, "the control: they are there"
        site.open()
        with viewer(site.maintainer, site.url, seconds=60) as player:
            first_frame_at(player)
            with capture(site.gateway, 8554) as wire:
                site.wait_frames(60)  # six seconds of looks
                assert site.status()["state"] == "open"
                asked = time.time()
                site.close()
                last = finish(wire)["last"]
            player.kill()
        assert last < asked + 1, f"the last byte left {last - asked:.2f} s after the command began"
        site.wait_closed()
        window = site.open()["id"]
        listening = site.gateway.popen(
            ["python3", "-c", _LISTEN, site.gateway.lan4 or ""], user="nobody", stdin=-1, stdout=-1
        )
        try:
            assert listening.stdout is not None
            assert listening.stdout.readline().strip() == b"ready"
            wait.until(lambda: site.status()["state"] == "closed", 5, "closed for the listener")
        finally:
            listening.kill()
            listening.communicate(timeout=5)
        assert site.cause(window) == "exposure"
    site.verify()


@pytest.mark.requirement("A1")
def test_the_agent_uses_little_of_a_processor_beside_them(site: Site) -> None:
    """A window's looks at 48 000 sockets take less than half a core: the site comes first."""
    with hoarded(site):
        site.open()
        before = _cpu_s(site)
        began = time.monotonic()
        site.wait_frames(50)
        share = (_cpu_s(site) - before) / (time.monotonic() - began)
        site.close()
    assert share < 0.6, f"the agent took {share:.0%} of a core"


def _cpu_s(site: Site) -> float:
    shown = site.gateway.run(["systemctl", "show", "-P", "CPUUsageNSec", "sightglass-agent.service"]).stdout
    return int(shown) / 1e9
