"""The deadline holds: whatever the wall clock says, however busy the host is, and over a host that stood still."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lab import wait
from lab.media import TOOLS, capture, finish, first_frame_at, viewer
from lab.paths import LabError
from tests.lab.configured import configured
from tests.lab.pinned import pinned
from tests.lab.window.site_under_test import LEASE_S, Site

LIBRARY, OFFSET = "/usr/lib/sightglass-clock.so", "/usr/lib/sightglass-clock.offset"
STATE = "/var/lib/sightglass"
CLOCKED = ("agent", "shutter")
DROP_IN = f"[Service]\nEnvironment=LD_PRELOAD={LIBRARY}\n"
DAY_S = 86_400
LARGE = "/var/tmp/large"
_BURN = "import time\nend = time.monotonic() + 75\nwhile time.monotonic() < end: pass"


def drop_in(unit: str) -> str:
    """Where a unit of ours gets the wrong clock."""
    return f"/run/systemd/system/sightglass-{unit}.service.d/clock.conf"


def _unburdened(config: dict[str, Any]) -> None:
    config["lanes"]["lane1"]["fps_min"], config["load"]["round_trip_ms"] = 0, 60_000


@pytest.fixture
def wrong_clock(site: Site, tmp_path: Path) -> Iterator[None]:
    """Agent and shutter with a wall clock of their own, and no load guard, for the vision will starve.

    Their record is put away afterwards: its times are wrong.
    """
    built = tmp_path / "clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", built, TOOLS / "clock.c"], check=True, timeout=30)
    gateway = site.gateway
    gateway.run(["sh", "-c", f"base64 -d > {LIBRARY}"], input=base64.b64encode(built.read_bytes()).decode())
    with configured(site, _unburdened):
        gateway.run(["systemctl", "stop", "sightglass-agent"])
        gateway.run(["sh", "-c", f"cp -a {STATE} /root/kept"])
        for unit in CLOCKED:
            gateway.run(["mkdir", "-p", str(Path(drop_in(unit)).parent)])
            gateway.run(["tee", drop_in(unit)], input=DROP_IN)
        gateway.run(["systemctl", "daemon-reload"])
        gateway.run(["systemctl", "start", "sightglass-agent"])
        try:
            with pinned(gateway, *map(drop_in, CLOCKED)):
                site.wait_guards()
                yield
        finally:
            gateway.run(["systemctl", "stop", "sightglass-agent"])
            for unit in CLOCKED:
                gateway.run(["rm", "-rf", str(Path(drop_in(unit)).parent)])
            gateway.run(["rm", "-f", LIBRARY, OFFSET])
            gateway.run(["sh", "-c", f"rm -rf {STATE}/* && cp -a /root/kept/. {STATE}/ && rm -rf /root/kept"])
            gateway.run(["systemctl", "daemon-reload"])


def shown_deadline(site: Site) -> float:
    """The open window's deadline as the agent shows it, in Unix seconds by its own wall clock."""
    return datetime.fromisoformat(site.status()["window"]["deadline"]).timestamp()


@contextlib.contextmanager
def watched(site: Site) -> Iterator[subprocess.Popen[str]]:
    """The maintainer watches, and what leaves is captured; ask the capture for its figures by `finish`."""
    with viewer(site.maintainer, site.url, seconds=90) as player:
        try:
            first_frame_at(player)
            with capture(site.gateway, 8554) as wire:
                try:
                    yield wire
                finally:
                    wire.kill()
        finally:
            player.kill()


@contextlib.contextmanager
def busy(site: Site) -> Iterator[None]:
    """Every core of the machine has more to do than it can, from inside the gateway."""
    burning = [site.gateway.popen(["python3", "-c", _BURN]) for _ in range(4)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait(5)


@pytest.mark.alone
@pytest.mark.requirement("O5")
@pytest.mark.requirement("F3")
def test_the_deadline_does_not_follow_the_wall_clock_nor_the_load(site: Site, wrong_clock: None) -> None:
    """A day forward, then a day back, while all cores are taken: the last byte leaves at the deadline all the same."""
    assert wrong_clock is None
    site.lane("idle")
    opened = time.time()
    site.open(minutes=1)
    deadline = shown_deadline(site)
    assert abs(deadline - opened - 60) < 5
    with watched(site) as wire:
        with busy(site):
            for offset in (DAY_S, -DAY_S):
                site.gateway.run(["tee", OFFSET], input=str(offset))
                assert abs(shown_deadline(site) - deadline - offset) < 5, "the control: the agent's wall clock is wrong"
                assert site.status()["state"] == "open"
            wait.until(lambda: not site.left(), 60 + LEASE_S, "closed")
        last = finish(wire)["last"]
        window = site.status()["last"]
    assert window["cause"] == "deadline"
    assert deadline - 2 < last < deadline + 1, f"the last byte left {last - deadline:+.2f} s from the deadline"
    site.verify()


@pytest.fixture
def greedy(site: Site) -> Iterator[Site]:
    """A gateway on which somebody reads a large file again and again; skipped where memory cannot be limited."""
    try:
        with site.lab.squeezed("gw1", 1 << 40):
            pass
    except LabError as no:
        pytest.skip(str(no))
    site.gateway.run(["sh", "-c", f"head -c 256M /dev/urandom > {LARGE} && sync {LARGE}"])
    reading = site.gateway.popen(["sh", "-c", f"while cat {LARGE} > /dev/null; do :; done"])
    try:
        with configured(site, _unburdened):
            yield site
    finally:
        reading.kill()
        reading.wait(5)
        site.gateway.run(["rm", LARGE])


@pytest.mark.alone
@pytest.mark.requirement("O5")
@pytest.mark.requirement("F3")
def test_the_deadline_holds_without_memory_to_spare(greedy: Site) -> None:
    """Somebody reads more than there is room for, and each page of it has to be won from another."""
    site = greedy
    site.open(minutes=1)
    deadline = shown_deadline(site)
    with watched(site) as wire:
        with site.lab.squeezed("gw1", 160 << 20) as dropped:
            before = dropped()
            wait.until(lambda: time.time() > deadline - 3, 60, "three seconds before the deadline", every_s=0.1)
            assert site.status()["state"] == "open", "the control: it is open until then"
            assert dropped() > before + 1000, "the control: memory was short all the while"
            wait.until(lambda: not site.left(), 3 + LEASE_S, "closed")
        last = finish(wire)["last"]
    assert site.status()["last"]["cause"] == "deadline"
    assert deadline - 2 < last < deadline + 1, f"the last byte left {last - deadline:+.2f} s from the deadline"


@pytest.mark.alone
@pytest.mark.requirement("O5")
@pytest.mark.requirement("F3")
def test_without_memory_to_run_at_all_nothing_outlives_the_deadline(greedy: Site) -> None:
    """Less than the running programs themselves: for half a minute next to nothing runs, the shutter neither."""
    site = greedy
    window = site.open(minutes=1)
    deadline = shown_deadline(site)
    with watched(site) as wire:
        began = time.time()
        with site.lab.squeezed("gw1", 32 << 20) as dropped:
            before = dropped()
            wait.until(lambda: time.time() > deadline + 5, 70, "five seconds after the deadline", every_s=0.1)
            assert dropped() > before + 1000, "the control: memory was short all the while"
        wait.until(lambda: not site.left(), 10, "closed")
        last = finish(wire)["last"]
    assert began < last < deadline + 1, f"the last byte left {last - deadline:+.2f} s from the deadline"
    assert site.cause(window["id"]), "and has its record"


@pytest.mark.requirement("O5")
@pytest.mark.requirement("F3")
def test_a_host_that_stands_still_shows_nothing_after_the_deadline(site: Site) -> None:
    """Frozen five seconds before it and thawed ten after: the kernel kept the deadline, and all is closed at once."""
    window = site.open(minutes=1)
    deadline = shown_deadline(site)
    with watched(site) as wire:
        wait.until(lambda: time.time() > deadline - 5, 60, "five seconds before the deadline", every_s=0.1)
        assert site.status()["state"] == "open", "the control: it is open until then"
        with site.lab.frozen("gw1"):
            frozen = time.time()
            wait.until(lambda: time.time() > deadline + 10, 30, "ten seconds after the deadline", every_s=0.1)
        thawed = time.time()
        wait.until(lambda: not site.left(), 10, "closed")
        seen = finish(wire)
    assert thawed - frozen > 13
    assert frozen - 2 < seen["last"] < deadline + 1, f"the last byte left {seen['last'] - deadline:+.2f} s from it"
    # systemd's watchdogs have counted the standstill, too: who is quicker at the thaw names the end.
    assert site.cause(window["id"]) in {"deadline", "shutter-lost", "agent-lost"}
