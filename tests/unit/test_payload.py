"""A lane's state out of what a broker carries, which anybody may have sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass.adapters.mqtt import LaneListener
from sightglass.adapters.tailnet import Tailnet
from sightglass.config import Config
from sightglass.observer import Observer, Subject
from sightglass.payload import MOST_CHARACTERS, Unreadable, state
from sightglass.window import Purpose
from tests.unit.test_config import GOOD

pytestmark = pytest.mark.requirement("O2")


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("idle", None, "idle"),
        (" idle\n", None, "idle"),
        ('{"idle": 1}', None, '{"idle": 1}'),
        ('{"state": "idle"}', "state", "idle"),
        ('{\n "lane": {"state": "idle"},\n "ts": 12\n}', "lane.state", "idle"),
        ('{"free": true}', "free", "true"),
        ('{"cars": 0}', "cars", "0"),
        ('{"state": "idle", "degrees": 21.5}', "state", "idle"),
    ],
)
def test_a_state_is_found_where_it_is_said_to_be(text: str, path: str | None, found: str) -> None:
    """Plain text, or a value inside a document."""
    assert state(text, path) == found


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("x" * (MOST_CHARACTERS + 1), None),
        ("idle\x1b[2J", None),
        ("idle\nmoving", None),
        ("idle", "state"),
        ("[]", "state"),
        ("null", "state"),
        ('{"state": null}', "state"),
        ('{"state": ["idle"]}', "state"),
        ('{"state": {"state": "idle"}}', "state"),
        ('{"state": "moving", "state": "idle"}', "state"),
        ('{"lane": "idle"}', "lane.state"),
        ('{"state": NaN}', "state"),
        ('{"state": "idle", "x": Infinity}', "state"),
        ('{"state": 1e999}', "state"),
        ('{"state": 0.5}', "state"),
        ('{"state": ""}', "state"),
        ('{"state": "idle\\u0000"}', "state"),
        ('{"state": "idle"} {"state": "moving"}', "state"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "a"),
        ('{"state": ' + "9" * 5000 + "}", "state"),
    ],
    ids=range(21),
)
def test_what_is_no_state_is_one_sentence_without_it(text: str, path: str | None) -> None:
    """Unknown is no; and what somebody sent is not repeated to people."""
    with pytest.raises(Unreadable) as refused:
        state(text, path)
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 100
    assert "\x1b" not in said
    assert "moving" not in said


def test_the_observer_reads_it_where_the_site_says(tmp_path: Path) -> None:
    """And says why, when there is nothing to read."""
    lane = {**GOOD["lanes"]["lane1"], "state_path": "lane.state"}
    config = Config.model_validate({**GOOD, "lanes": {"lane1": lane}})
    listener = LaneListener("127.0.0.1", 1, set(), set(), lambda: 0.0, lambda: None)
    tailnet = Tailnet(str(tmp_path / "none"), "lo", "example/cap")
    observer = Observer(config, tailnet, listener, frozenset(), tmp_path / "none", lambda: None)
    subject = Subject(("cam1",), Purpose.ALIGNMENT, frozenset(), None)
    for text, found, unreadable in (
        ('{"lane": {"state": "idle"}}', "idle", None),
        ('{"lane": {}}', None, "its state has no value at lane.state"),
    ):
        listener.lanes.states[lane["state_topic"]] = text
        (seen,) = observer.facts(subject, disabled=False).lanes
        assert (seen.state, seen.unreadable) == (found, unreadable)


@given(st.text(max_size=300), st.sampled_from([None, "a", "a.b"]))
def test_no_text_raises_anything_else(text: str, path: str | None) -> None:
    """Whatever it is: a short printable state, or a refusal."""
    try:
        found = state(text, path)
    except Unreadable:
        return
    assert 0 < len(found) <= MOST_CHARACTERS
    assert found.isprintable()


@given(st.text(min_size=1, max_size=MOST_CHARACTERS).filter(str.isprintable))
def test_a_text_value_comes_out_as_it_went_in(value: str) -> None:
    """JSON's escapes are undone."""
    assert state(json.dumps({"a": {"b": value}}), "a.b") == value
