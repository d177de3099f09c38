"""What wakes the agent, what it believes, and what a publisher that means harm can do to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sightglass.adapters.lanes import MOST_MESSAGES, Flood, LaneListener
from sightglass.config import Config, Mqtt
from tests.unit.test_config import GOOD


class Heard:
    """A listener that has not been connected, fed by hand."""

    def __init__(self, **lane: Any) -> None:
        config = Config.model_validate({**GOOD, "lanes": {"lane1": {**GOOD["lanes"]["lane1"], **lane}}})
        self.woken, self.now = 0, 100.0
        self.rates: list[tuple[str, float | None]] = []
        self.lane = config.lanes["lane1"]
        self.listener = LaneListener(Mqtt(port=1), config.lanes, lambda: self.now, self._wake, self._rate)

    def _wake(self) -> None:
        self.woken += 1

    def _rate(self, lane: str, fps: float | None) -> None:
        self.rates.append((lane, fps))

    def state(self, text: str, *, retained: bool = False) -> str | None:
        """Feed a state; what is believed of it."""
        self.listener.take(self.lane.state_topic, text.encode(), retained=retained)
        said = self.listener.lanes.states.get("lane1")
        return None if said is None else str(said.state)


@pytest.mark.requirement("N2")
def test_a_document_whose_time_changes_wakes_nobody() -> None:
    """The state in it counts; a publisher that repeats itself ten times a second costs no turn of the loop."""
    heard = Heard(state_path="lane.state")
    for second in range(50):
        heard.state(json.dumps({"at": second, "lane": {"state": "idle"}}))
    assert heard.woken == 1
    heard.state(json.dumps({"at": 50, "lane": {"state": "moving"}}))
    heard.state(json.dumps({"at": 51, "lane": {}}))
    heard.state("")
    assert heard.woken == 4


@pytest.mark.requirement("N2")
def test_a_flood_is_given_up() -> None:
    """More messages than any lane sends: nothing is known of the lane then."""
    heard = Heard()
    for _ in range(MOST_MESSAGES):
        heard.listener._count()
    with pytest.raises(Flood):
        heard.listener._count()
    heard.now += 1
    heard.listener._count()


@pytest.mark.requirement("O2")
@pytest.mark.parametrize(
    ("payload", "fps"),
    [
        (b'{"fps": 9.5}', 9.5),
        (b'{"fps": "9.5"}', 9.5),
        (b'{"fps": NaN}', None),
        (b'{"fps": 1e999}', None),
        (b'{"fps": true}', None),
        (b'{"other": 1}', None),
        (b"x" * 5000, None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_a_heartbeat_may_carry_the_frame_rate(payload: bytes, fps: float | None) -> None:
    """A number or nothing, whatever was sent; where no path is configured the payload is not even read."""
    heard, plain = Heard(fps_path="fps"), Heard()
    for each in (heard, plain):
        each.listener.take(each.lane.heartbeat_topic, payload, retained=False)
        assert each.listener.lanes.heartbeats == {"lane1": 100.0}
    assert (heard.rates, plain.rates) == ([("lane1", fps)], [])


@pytest.mark.requirement("O2")
def test_a_retained_heartbeat_is_a_dead_publishers_last_word() -> None:
    """It proves nothing; a live one does."""
    heard = Heard()
    heard.listener.take(heard.lane.heartbeat_topic, b"1", retained=True)
    assert heard.listener.lanes.heartbeats == {}
    heard.listener.take(heard.lane.heartbeat_topic, b"1", retained=False)
    assert heard.listener.lanes.heartbeats == {"lane1": 100.0}
