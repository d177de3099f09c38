"""What is observed reaches its guard: each source, changed alone, changes what the guards say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sightglass.facts import Listener
from sightglass.observer import FRESH_S
from sightglass.window import Purpose
from tests.unit.observer_parts import USERS, Gateway
from tests.unit.test_config import GOOD

pytestmark = pytest.mark.requirement("F3")

SITE = {
    "limits": {"control_silent_s": 60},
    "cameras": {**GOOD["cameras"], "cam2": {"url": "http://127.0.0.1:8000/mjpeg/cam2", "lane": "lane2"}},
    "lanes": {
        "lane1": {**GOOD["lanes"]["lane1"], "state_max_age_s": 30, "retained": False},
        "lane2": {**GOOD["lanes"]["lane1"], "state_topic": "lane2", "heartbeat_topic": "beat2"},
    },
}
"""Where a limit of the site could be taken for the usual one, it is another."""
ELSEWHERE = Listener("tcp", "127.0.0.1", 9997, USERS["mediamtx"])
STRANGER = Listener("tcp", "0.0.0.0", 8554, 1000)


def silent(gateway: Gateway, who: str) -> None:
    """Somebody answers no more, until the last answer is too old."""
    gateway.answering.discard(who)
    gateway.now += FRESH_S + 0.1


def later(gateway: Gateway, seconds: float, *, beats: bool) -> None:
    """Time goes by in which the lane's state is not said again."""
    gateway.now += seconds
    if beats:
        gateway.lanes.take("parking/heartbeat", b"1", retained=False)


CASES: dict[str, tuple[Callable[[Gateway], object], dict[str, str]]] = {
    "the mark": (lambda at: setattr(at, "disabled", True), {"enabled": "disabled"}),
    "the switch": (lambda at: at.switch.touch(), {"enabled": "switch"}),
    "no clock": (lambda at: setattr(at.observer, "floor", None), {"time": "time-unknown"}),
    "tailscaled": (lambda at: at.tell(state="Stopped"), {"vpn": "vpn-down"}),
    "tailscaled's age": (
        lambda at: silent(at, "tailscaled"),
        {"vpn": "tailscaled-gone", "contact": "control-unknown"},
    ),
    "the site's limit of silence": (lambda at: at.tell(contact_age_s=61.0), {"contact": "control-silent"}),
    "the sockets, by user": (lambda at: at.listeners.add(ELSEWHERE), {"exposure": "exposure"}),
    "the sockets, by port": (lambda at: at.listeners.add(STRANGER), {"exposure": "exposure"}),
    "the sockets' age": (lambda at: silent(at, "kernel"), {"exposure": "exposure-unknown"}),
    "what the window may have open": (lambda at: at.ask(allowed=frozenset()), {"exposure": "exposure"}),
    "the stream server's configuration": (lambda at: at.rendered.write_text("another"), {"exposure": "exposure"}),
    "no configuration": (lambda at: at.rendered.unlink(), {"exposure": "exposure"}),
    "the installed files": (
        lambda at: (at.pinned.write_text("another"), at.observer.strange()),
        {"exposure": "exposure"},
    ),
    "the load": (lambda at: at.load.rate("lane1", None), {"load": "load-unknown"}),
    "the lane's state": (lambda at: at.say("moving"), {"lane": "lane"}),
    "the lane's safe states": (lambda at: at.say("occupied"), {"lane": "lane"}),
    "a state that the broker has kept": (
        lambda at: at.lanes.take("parking/lane1/state", b"idle", retained=True),
        {"lane": "lane-unknown"},
    ),
    "the lane's heartbeat": (lambda at: later(at, 5.1, beats=False), {"lane": "lane-unknown"}),
    "the state's age": (lambda at: later(at, 31.0, beats=True), {"lane": "lane-unknown"}),
    "the broker": (lambda at: setattr(at.lanes.lanes, "connected", False), {"lane": "lane-unknown"}),
    "the camera": (lambda at: at.ask(cameras=("cam2",)), {"lane": "lane-unknown"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_source_that_changes_alone_changes_what_its_guard_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """That all guards pass before (the control) is asked where the gateway is made."""
    change, said = CASES[name]
    gateway = Gateway(tmp_path, monkeypatch, **SITE)
    change(gateway)
    gateway.hear()
    assert gateway.said() == said


@pytest.mark.requirement("O2")
def test_what_a_window_is_for_decides_which_states_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An occupied lane is safe to debug, and not to align a camera."""
    gateway = Gateway(tmp_path, monkeypatch)
    gateway.say("occupied")
    assert gateway.said() == {"lane": "lane"}
    gateway.ask(purpose=Purpose.DEBUG)
    assert gateway.said() == {}
