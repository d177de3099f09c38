"""The parking's messages: on change and retained, each as the sites' software sends it."""

import itertools
import json

import pytest

from lab.parking.lane import Mode, lane_at
from lab.parking.mqtt import Message, changes, heartbeat


@pytest.mark.requirement("F3")
def test_new_broker_is_told_everything() -> None:
    """A broker that knows nothing gets all three states, retained."""
    assert changes(None, lane_at(Mode.IDLE, 0).facts) == [
        Message("parking/lane1/presence", "false", True),
        Message("parking/lane1/barrier", "closed", True),
        Message("parking/lane1/state", "idle", True),
    ]


@pytest.mark.requirement("F3")
def test_unchanged_lane_is_silent() -> None:
    """The same facts send nothing."""
    facts = lane_at(Mode.OCCUPIED, 100).facts
    assert changes(facts, facts) == []


@pytest.mark.requirement("F3")
def test_one_passage_is_told_in_order() -> None:
    """A passage is told as it happens, each change once."""
    facts = [lane_at(Mode.IDLE, 0).facts, *(lane_at(Mode.MOVING, age).facts for age in range(70))]
    told = [
        (message.topic.rsplit("/", 1)[1], message.payload)
        for before, now in itertools.pairwise(facts)
        for message in changes(before, now)
    ]
    assert told == [
        ("state", "moving"),
        ("presence", "true"),
        ("barrier", "opening"),
        ("barrier", "open"),
        ("presence", "false"),
        ("barrier", "closing"),
    ]


@pytest.mark.requirement("F3")
def test_heartbeat_is_not_retained() -> None:
    """The heartbeat carries frames, rate and plates, and leaves nothing behind on the broker."""
    beat = heartbeat(120, 9.948, 7)
    assert (beat.topic, beat.retain) == ("parking/heartbeat", False)
    assert json.loads(beat.payload) == {"frames": 120, "fps": 9.9, "detections": 7}
