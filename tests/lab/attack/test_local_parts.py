"""One of our own processes, taken over: what its sandbox and its user let it do while a window is open, and after."""

from __future__ import annotations

import itertools

import pytest

from tests.lab.attack.attempts import elsewhere, failed, kernel, others, ours, places
from tests.lab.attack.intruder import OURS, Attempt, as_user, in_sandbox
from tests.lab.window.site_under_test import Site

_KEYS = itertools.count(0x51670000)


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("unit", OURS)
def test_a_part_that_is_taken_over_reaches_nothing_but_its_neighbour(opened: Site, unit: str) -> None:
    """No daemon, no process beside it, no address but those that it needs; root's same attempts succeed."""
    forbidden = [*places(opened), *others(opened, unit), *elsewhere(opened), *kernel()]
    allowed = {"feed": {"player", "camera"}, "mediamtx": {"hook"}, "console": {"offers"}, "shutter": set()}[unit]
    doors = ours(opened)
    outcomes = in_sandbox(opened.gateway, unit, [*forbidden, *doors.values()])
    assert failed(outcomes[: len(forbidden)], forbidden) == []
    reached = dict(zip(doors, outcomes[len(forbidden) :], strict=True))
    assert {name for name, outcome in reached.items() if outcome.startswith("done")} == allowed, reached


@pytest.mark.requirement("A1")
def test_the_attempts_that_a_part_fails_at_are_good_ones(opened: Site) -> None:
    """The control of the test above: root does every one of them, but starting what refuses a manual start, and the
    doors that are by uid."""
    attempts = [*places(opened), *others(opened, None), *elsewhere(opened), *kernel()]
    refused = [a for a, o in zip(attempts, as_user(opened.gateway, None, attempts), strict=True) if o[:2] == "no"]
    assert [attempt[:2] for attempt in refused] == [("run", "systemctl"), ("run", "busctl")]
    started = as_user(opened.gateway, None, [("run", "systemctl", "start", "mosquitto.service")])
    assert started == ["done"]


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("unit", OURS)
def test_a_part_that_is_taken_over_keeps_nothing_outside_itself(opened: Site, unit: str) -> None:
    """No file, no shared memory, no queue and no key of it is there for anybody else; the same user outside the
    sandbox leaves all of them."""
    text, gateway = f"a picture of {unit}", opened.gateway
    number, queue = next(_KEYS), f"/{unit}"
    keep: list[Attempt] = [("shared", number, text), ("queue", queue, text), ("key", text), ("writable", "/")]
    find: list[Attempt] = [("shared", number), ("queue", queue)]
    inside = in_sandbox(gateway, unit, keep)
    assert inside[2:] == ["no: EPERM Operation not permitted", "done"], "no key, and no place to write"
    assert {outcome[:10] for outcome in as_user(gateway, "nobody", find)} == {"no: ENOENT"}
    try:
        outside = as_user(gateway, f"sightglass-{unit}", keep)
        assert outside[:3] == ["done"] * 3
        assert "/var/tmp" in outside[3].split(), "the control: a place to write would be found"
        assert as_user(gateway, "nobody", find) == [f"done: {text}"] * 2
    finally:
        gateway.run(["ipcrm", "-M", str(number)])
        gateway.run(["rm", f"/dev/mqueue{queue}"])
