"""The guards, one line a case under the rule it proves."""

from __future__ import annotations

import dataclasses
import inspect
import math
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import get_type_hints

import pytest

from sightglass import guards
from sightglass.facts import Clock, Exposure, Facts, Lane, Listener, Vpn
from sightglass.payload import Unreadable
from sightglass.verdict import Outcome, Verdict
from sightglass.window import SUSPENDING

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OWN = (ip_address("100.64.0.1"), ip_address("fd7a:115c:a1e0::1"))
RTSP = Listener("tcp", "100.64.0.1", 8554, 2001)
VPN = Vpn("Running", True, OWN, OWN, (), "", False, (), 1.0, ())
EXPOSURE = Exposure(
    listeners=frozenset({RTSP, Listener("tcp", "0.0.0.0", 22, 0)}),
    allowed=frozenset({RTSP}),
    users=frozenset({2000, 2001, 2002}),
    ports=frozenset({8550, 8554, 8889, 8189}),
    config_intact=True,
    strange=None,
)
LANE = Lane("lane1", True, "idle", 0.5, frozenset({"idle"}), 5.0, None, math.inf)
FACTS = Facts(False, False, Clock(NOW, NOW - timedelta(days=1)), VPN, EXPOSURE, (LANE,), (), 600.0)


def test_all_is_well() -> None:
    """The positive control of every case below: these facts pass every guard."""
    assert {verdict.outcome for verdict in guards.opening(FACTS)} == {Outcome.PASS}
    assert {verdict.outcome for verdict in guards.during(FACTS)} == {Outcome.PASS}


@pytest.mark.requirement("F3")
def test_every_guard_is_asked_at_an_opening_and_all_but_the_clock_all_the_time() -> None:
    """A guard is a public function from facts to a verdict, whether or not a table names it; and each answers by its
    own name, or a renewal would miss it."""
    public = {name: each for name, each in inspect.getmembers(guards, inspect.isfunction) if not name.startswith("_")}
    judging = {
        name: each for name, each in public.items() if get_type_hints(each) == {"facts": Facts, "return": Verdict}
    }
    assert {name: each(FACTS).guard for name, each in judging.items()} == {name: name for name in judging}
    assert {"vpn", "time"} < judging.keys(), "the control: they are found"
    assert dict(guards.OPENING) == judging
    assert {verdict.guard for verdict in guards.opening(FACTS)} == {*judging, "lane"}
    del judging["time"]
    assert dict(guards.STANDING) == judging
    assert {verdict.guard for verdict in guards.during(FACTS)} == {*judging, "lane"}


@pytest.mark.requirement("F3")
def test_every_guard_either_ends_a_window_or_suspends_its_picture() -> None:
    """One that was asked and neither renews nor suspends would be heard by nobody."""
    assert not set(guards.STANDING) & set(SUSPENDING)
    assert {verdict.guard for verdict in guards.during(FACTS)} == {*guards.STANDING, *SUSPENDING}
    assert {verdict.guard for verdict in guards.opening(FACTS)} == {*guards.OPENING, *SUSPENDING}


@pytest.mark.requirement("F3")
@pytest.mark.requirement("A2")
@pytest.mark.parametrize(
    ("change", "outcome", "code"),
    [
        ({"state": "Stopped"}, Outcome.FAIL, "vpn-down"),
        ({"state": "NeedsLogin"}, Outcome.FAIL, "vpn-down"),
        ({"tun": False}, Outcome.FAIL, "not-vpn-only"),
        ({"own": ()}, Outcome.FAIL, "vpn-down"),
        ({"present": OWN[:1]}, Outcome.FAIL, "tailscaled-gone"),
        ({"serves": ("gw1:443",)}, Outcome.FAIL, "not-vpn-only"),
        ({"advertised_routes": ("10.0.0.0/8",)}, Outcome.FAIL, "not-vpn-only"),
        ({"exit_node": "n1"}, Outcome.FAIL, "not-vpn-only"),
        ({"ssh_server": True}, Outcome.FAIL, "not-vpn-only"),
    ],
)
def test_the_vpn_guard(change: dict[str, object], outcome: Outcome, code: str) -> None:
    """Whatever makes the stream reachable from elsewhere fails; each case fails by its own code."""
    seen = guards.vpn(dataclasses.replace(FACTS, vpn=dataclasses.replace(VPN, **change)))  # type: ignore[arg-type]
    assert (seen.outcome, seen.code) == (outcome, code)


@pytest.mark.requirement("F3")
def test_a_silent_tailscaled_is_unknown() -> None:
    """Unknown is no, but it is not the same no as a failure."""
    silent = dataclasses.replace(FACTS, vpn=None)
    assert guards.vpn(silent).outcome is Outcome.UNKNOWN
    assert guards.contact(silent).outcome is Outcome.UNKNOWN


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("age", "outcome"), [(None, Outcome.UNKNOWN), (0.0, Outcome.PASS), (600.0, Outcome.PASS), (601.0, Outcome.FAIL)]
)
def test_the_control_plane_must_have_been_heard(age: float | None, outcome: Outcome) -> None:
    """Ten minutes without it and a removed viewer may still look entitled."""
    assert (
        guards.contact(dataclasses.replace(FACTS, vpn=dataclasses.replace(VPN, contact_age_s=age))).outcome is outcome
    )


@pytest.mark.requirement("A1")
@pytest.mark.parametrize(
    ("stranger", "outcome"),
    [
        (Listener("tcp", "0.0.0.0", 8554, 2001), Outcome.FAIL),
        (Listener("tcp", "::", 8554, 2001), Outcome.FAIL),
        (Listener("tcp", "100.64.0.1", 9997, 2001), Outcome.FAIL),
        (Listener("udp", "100.64.0.1", 8189, 2001), Outcome.FAIL),
        (Listener("tcp", "127.0.0.1", 9997, 2001), Outcome.FAIL),
        (Listener("tcp", "192.168.51.1", 8554, 1000), Outcome.FAIL),
        (Listener("udp", "0.0.0.0", 8189, 0), Outcome.FAIL),
        (Listener("tcp", "0.0.0.0", 8000, 1000), Outcome.PASS),
        (Listener("tcp", "127.0.0.1", 8554, 1000), Outcome.PASS),
    ],
)
def test_the_exposure_guard_is_closed_world(stranger: Listener, outcome: Outcome) -> None:
    """Our users listen on what the window needs and nothing else; nobody else listens on our ports."""
    exposure = dataclasses.replace(EXPOSURE, listeners=EXPOSURE.listeners | {stranger})
    assert guards.exposure(dataclasses.replace(FACTS, exposure=exposure)).outcome is outcome


@pytest.mark.requirement("F3")
def test_a_changed_configuration_or_file_fails_and_an_unread_socket_table_is_unknown() -> None:
    """An empty answer is not 'nothing listens'."""
    changed = dataclasses.replace(FACTS, exposure=dataclasses.replace(EXPOSURE, config_intact=False))
    assert guards.exposure(changed).outcome is Outcome.FAIL
    strange = dataclasses.replace(FACTS, exposure=dataclasses.replace(EXPOSURE, strange="/a is not pinned"))
    assert guards.exposure(strange).outcome is Outcome.FAIL
    assert guards.exposure(dataclasses.replace(FACTS, exposure=None)).outcome is Outcome.UNKNOWN


@pytest.mark.requirement("O2")
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.PASS),
        ({"state": "moving"}, Outcome.FAIL),
        ({"state": "IDLE"}, Outcome.FAIL),
        ({"state": None}, Outcome.UNKNOWN),
        ({"state": Unreadable("its published state is no JSON")}, Outcome.UNKNOWN),
        ({"heartbeat_age_s": None}, Outcome.UNKNOWN),
        ({"heartbeat_age_s": 5.0}, Outcome.PASS),
        ({"heartbeat_age_s": 5.1}, Outcome.UNKNOWN),
        ({"connected": False}, Outcome.UNKNOWN),
    ],
)
def test_the_lane_guard(change: dict[str, object], outcome: Outcome) -> None:
    """Safe means: one of the safe values, from a publisher that lives."""
    assert guards.lane(dataclasses.replace(LANE, **change)).outcome is outcome  # type: ignore[arg-type]


@pytest.mark.requirement("O2")
def test_no_lane_is_not_a_safe_lane() -> None:
    """A window whose cameras belong to no lane does not open."""
    verdicts = guards.opening(dataclasses.replace(FACTS, lanes=()))
    assert verdicts[-1].outcome is Outcome.UNKNOWN


@pytest.mark.requirement("U5")
def test_a_clock_that_was_never_set_is_refused() -> None:
    """1970 in a receipt would prove nothing; five minutes of correction are usual."""
    early = dataclasses.replace(FACTS, clock=Clock(datetime(1970, 1, 1, tzinfo=UTC), NOW))
    assert guards.time(early).outcome is Outcome.FAIL
    corrected = dataclasses.replace(FACTS, clock=Clock(NOW - timedelta(minutes=4), NOW))
    assert guards.time(corrected).outcome is Outcome.PASS
    assert guards.time(dataclasses.replace(FACTS, clock=None)).outcome is Outcome.UNKNOWN


@pytest.mark.requirement("N3")
def test_disabled_fails() -> None:
    """The mark alone is enough."""
    assert guards.enabled(dataclasses.replace(FACTS, disabled=True)).outcome is Outcome.FAIL


@pytest.mark.requirement("N3")
def test_the_switch_at_the_gateway_is_above_all() -> None:
    """Whatever anybody enabled, and by its own name."""
    said = guards.enabled(dataclasses.replace(FACTS, switched_off=True, disabled=True))
    assert (said.outcome, said.code) == (Outcome.FAIL, "switch")


@pytest.mark.requirement("A5")
def test_a_silent_control_plane_ends_a_window_too() -> None:
    """Nobody would learn who may not watch any more."""
    silent = dataclasses.replace(FACTS, vpn=dataclasses.replace(VPN, contact_age_s=61.0), contact_max_s=60.0)
    assert ("control-silent", Outcome.FAIL) in {(said.code, said.outcome) for said in guards.during(silent)}


@pytest.mark.requirement("O2")
@pytest.mark.parametrize(("age", "outcome"), [(None, Outcome.PASS), (59.0, Outcome.PASS), (61.0, Outcome.UNKNOWN)])
def test_a_state_may_have_a_greatest_age(age: float | None, outcome: Outcome) -> None:
    """Where the publisher repeats it."""
    lane = dataclasses.replace(LANE, state_age_s=age, state_max_age_s=60.0)
    assert guards.lane(lane).outcome is outcome
