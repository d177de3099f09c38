"""What a window's parts are told: how long a lease may be, and what the site demands of a viewer's device."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from sightglass.adapters.shutter import Shutter
from sightglass.live import Live
from sightglass.viewers import Address, entitled
from sightglass.window import Limits, Machine, Purpose, State, Window
from tests.unit.observer_parts import ANN, Gateway


class Leases:
    """Stands for the shutter, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[int] = []

    async def renew(self, _own: Iterable[Address], _viewers: Iterable[Address], seconds: int) -> None:
        """A lease."""
        self.seconds.append(seconds)


def live(gateway: Gateway, left: float) -> Live:
    """A window on this gateway with so many seconds left."""
    now = gateway.now
    window = Window("w-1", "r-1", ("cam1",), Purpose.DEBUG, 30, frozenset(), "redacted", now, now + left, opened=now)
    machine = Machine(Limits(15, 600, 120, 2), State.OPEN, window)

    def record(_event: str, _data: dict[str, Any], _personal: dict[str, Any] | None) -> None:
        raise AssertionError("nobody has watched")

    return Live(gateway.parts(), window, lambda: machine, record, lambda: None)


@pytest.mark.requirement("O5")
@pytest.mark.parametrize(
    ("left", "site", "seconds"),
    [
        (1800.0, 15, 15),
        (1800.0, 5, 5),
        (15.0, 15, 15),
        (14.0, 15, 14),
        (3.2, 15, 4),
        (3.2, 3, 3),
        (0.5, 15, 1),
        (-0.5, 15, 1),
    ],
)
def test_no_lease_goes_beyond_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float, site: int, seconds: int
) -> None:
    """By less than a second at most: the shutter counts whole ones, and from one on."""
    there = live(Gateway(tmp_path, monkeypatch, lease_s=site), left)
    leases = Leases()
    there._shutter = cast("Shutter", leases)
    asyncio.run(there.lease((), ()))
    assert leases.seconds == [seconds]


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("site", "device", "may"),
    [
        ({}, {}, True),
        ({"key_must_expire": True}, {}, False),
        ({"key_must_expire": True}, {"expires": True}, True),
        ({"devices": ["ann-laptop"]}, {}, True),
        ({"devices": ["ann-laptop"]}, {"name": "ann-phone"}, False),
    ],
    ids=str,
)
def test_the_sites_rules_for_devices_hold_in_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: dict[str, Any], device: dict[str, Any], may: bool
) -> None:
    """From the configuration to who may watch."""
    needed = live(Gateway(tmp_path, monkeypatch, viewers=site), 1800.0).needed
    assert bool(entitled([dataclasses.replace(ANN, **device)], needed)) is may
