"""A lane's state out of what a broker carries, which anybody may have sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass import guards
from sightglass.adapters import clock
from sightglass.adapters.load import LoadWatch
from sightglass.config import Config
from sightglass.observer import Subject
from sightglass.payload import MOST_BYTES, MOST_CHARACTERS, MOST_DEEP, Unreadable, state
from sightglass.verdict import Outcome, Verdict
from sightglass.window import Purpose
from tests.unit.observer_parts import listener, observer
from tests.unit.test_config import GOOD

pytestmark = pytest.mark.requirement("O2")

LONG = f"its published state is longer than {MOST_BYTES} bytes"
NO_TEXT = "its published state is no UTF-8 text"
NO_JSON = "its published state is no JSON"
DEEP = f"its published state is nested more than {MOST_DEEP} deep"
TWICE = "its published state has a name twice"
NO_NUMBER = "its published state has NaN or Infinity, which JSON has not"
NO_VALUE = "its published state has no text, number or truth value at "
NO_STATE = f"its published state is not 1 to {MOST_CHARACTERS} printable characters"
SAID = (LONG, NO_TEXT, NO_JSON, DEEP, TWICE, NO_NUMBER, NO_STATE, NO_VALUE + "a", NO_VALUE + "a.b")


def nested(deep: int) -> bytes:
    """An idle lane beside lists that make the document `deep` deep."""
    return b'{"a": "idle", "x": ' + b"[" * (deep - 1) + b"]" * (deep - 1) + b"}"


@pytest.mark.parametrize(
    ("sent", "path", "found"),
    [
        (b"idle", None, "idle"),
        (b" idle\n", None, "idle"),
        (b'{"idle": 1}', None, '{"idle": 1}'),
        ("frei für alle".encode(), None, "frei für alle"),
        (b'{"a": "idle"}', "a", "idle"),
        (b'{\n "a": {"b": "idle"},\n "ts": 12\n}', "a.b", "idle"),
        (b'{"a": "idle", "b": {"a": "moving"}}', "a", "idle"),
        (b'{"a": true}', "a", "true"),
        (b'{"a": 0}', "a", "0"),
        (b'{"a": 0.50}', "a", "0.50"),
        (b'{"a": -1E+2}', "a", "-1E+2"),
        (b'{"a": "idle", "degrees": 21.5, "far": 1e999}', "a", "idle"),
        (nested(MOST_DEEP), "a", "idle"),
        (b'{"a": "idle"}'.ljust(MOST_BYTES), "a", "idle"),
        (b"idle".ljust(MOST_BYTES), None, "idle"),
    ],
)
def test_a_state_is_found_where_it_is_said_to_be(sent: bytes, path: str | None, found: str) -> None:
    """Plain text, or a value inside a document; up to each bound."""
    assert state(sent, path) == found


@pytest.mark.parametrize(
    ("sent", "path", "said"),
    [
        (b"", None, NO_STATE),
        (b"x" * (MOST_CHARACTERS + 1), None, NO_STATE),
        (b"idle\x1b[2J", None, NO_STATE),
        (b"idle\nmoving", None, NO_STATE),
        ("idle\u202e".encode(), None, NO_STATE),
        (b"idle".ljust(MOST_BYTES + 1), None, LONG),
        (b"idle\xff", None, NO_TEXT),
        (b"idle", "a", NO_JSON),
        (b"", "a", NO_JSON),
        (b'\xef\xbb\xbf{"a": "idle"}', "a", NO_JSON),
        ('{"a": "idle"}'.encode("utf-16"), "a", NO_TEXT),
        (b'{"a": "idle"} {"a": "moving"}', "a", NO_JSON),
        (b'{"a": 01}', "a", NO_JSON),
        (b"[]", "a", NO_VALUE + "a"),
        (b"null", "a", NO_VALUE + "a"),
        (b'{"a": null}', "a", NO_VALUE + "a"),
        (b'{"a": ["idle"]}', "a", NO_VALUE + "a"),
        (b'{"a": {"a": "idle"}}', "a", NO_VALUE + "a"),
        (b'{"a": "idle"}', "a.b", NO_VALUE + "a.b"),
        (b'{"a.b": "idle"}', "a.b", NO_VALUE + "a.b"),
        (b'{"a": "moving", "a": "idle"}', "a", TWICE),
        (b'{"a": "moving", "\\u0061": "idle"}', "a", TWICE),
        (b'{"a": "idle", "x": [{"y": 1, "y": 1}]}', "a", TWICE),
        (b'{"a": NaN}', "a", NO_NUMBER),
        (b'{"a": "idle", "x": -Infinity}', "a", NO_NUMBER),
        (b'{"a": ""}', "a", NO_STATE),
        (b'{"a": "idle\\u0000"}', "a", NO_STATE),
        (b'{"a": "\\ud800"}', "a", NO_STATE),
        (b'{"a": ' + b"9" * (MOST_CHARACTERS + 1) + b"}", "a", NO_STATE),
        (nested(MOST_DEEP + 1), "a", DEEP),
        (b'{"a":' * 170 + b"1" + b"}" * 170, "a", DEEP),
        (b"[" * 512 + b"]" * 512, "a", DEEP),
        (b'{"a": "idle"}'.ljust(MOST_BYTES + 1), "a", LONG),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "a", LONG),
    ],
    ids=range(34),
)
def test_what_is_no_state_is_one_sentence_without_it(sent: bytes, path: str | None, said: str) -> None:
    """Unknown is no, each for its own reason; and what somebody sent is not repeated to people."""
    with pytest.raises(Unreadable) as refused:
        state(sent, path)
    assert str(refused.value) == said


def verdict(tmp_path: Path, path: str | None, *sent: bytes) -> Verdict:
    """What the guard says of a lane whose publisher lives and has sent this, through the listener and the observer."""
    lane = {**GOOD["lanes"]["lane1"], "state_path": path}
    config = Config.model_validate({**GOOD, "lanes": {"lane1": lane}})
    watch = LoadWatch(config, clock.boottime)
    lanes = listener(config, watch)
    lanes.lanes.connected = True
    lanes.take(lane["heartbeat_topic"], b"1", retained=False)
    for payload in sent:
        lanes.take(lane["state_topic"], payload, retained=True)
    asked = Subject(("cam1",), Purpose.ALIGNMENT, frozenset(), None)
    facts = observer(tmp_path, config=config, load=watch, lanes=lanes).facts(asked, disabled=False)
    return guards.lane(facts.lanes[0])


@pytest.mark.parametrize(
    ("path", "sent", "outcome", "why"),
    [
        ("a.b", (b'{"a": {"b": "idle"}}',), Outcome.PASS, "lane1 is 'idle'"),
        ("a.b", (b'{"a": {"b": "moving"}}',), Outcome.FAIL, "lane1 is 'moving', safe is idle"),
        ("a.b", (b"idle",), Outcome.UNKNOWN, f"lane1: {NO_JSON}"),
        ("a.b", (b'{"a": {"b": "idle"}}', b'{"a": {}}'), Outcome.UNKNOWN, f"lane1: {NO_VALUE}a.b"),
        ("a.b", (), Outcome.UNKNOWN, "lane1: its state was never published"),
        (None, (b"idle",), Outcome.PASS, "lane1 is 'idle'"),
        (None, (b'{"a": {"b": "idle"}}',), Outcome.FAIL, 'lane1 is \'{"a": {"b": "idle"}}\', safe is idle'),
        (None, (b"idle", b"x" * 100_000), Outcome.UNKNOWN, f"lane1: {LONG}"),
        (None, (b"idle", b"\xff"), Outcome.UNKNOWN, f"lane1: {NO_TEXT}"),
        (None, (b"idle", b""), Outcome.UNKNOWN, "lane1: its state was never published"),
    ],
)
def test_the_guard_judges_what_stands_where_the_site_says(
    tmp_path: Path, path: str | None, sent: tuple[bytes, ...], outcome: Outcome, why: str
) -> None:
    """From the broker's bytes to the verdict; the newest counts, and one that cannot be read replaces one that can."""
    said = verdict(tmp_path, path, *sent)
    assert (said.outcome, said.why) == (outcome, why)


PATHS = st.sampled_from([None, "a", "a.b"])
NAMES = st.sampled_from(["a", "b", "\x1b[2J"]) | st.text(max_size=3)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
PIECES = st.lists(
    st.sampled_from(
        ['{"a":', '"a"', '"idle"', "{", "}", "[", "]", ",", ":", "NaN", "-", "1e999", "\\", '"', "null", " "]
    ),
    max_size=40,
)


@given(
    st.binary(max_size=MOST_BYTES + 10)
    | st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass"))
    | DOCUMENTS.map(lambda document: json.dumps(document).encode())
    | DOCUMENTS.map(lambda document: json.dumps({"a": {"b": document}}, ensure_ascii=False).encode(errors="replace"))
    | PIECES.map(lambda pieces: "".join(pieces).encode()),
    PATHS,
)
def test_nothing_that_is_sent_raises_anything_else(sent: bytes, path: str | None) -> None:
    """Whatever it is: a short printable state, or one of the known sentences, which hold nothing of it."""
    try:
        found = state(sent, path)
    except Unreadable as refused:
        assert str(refused) in SAID
    else:
        assert 0 < len(found) <= MOST_CHARACTERS
        assert found.isprintable()


@given(st.text(min_size=1, max_size=MOST_CHARACTERS).filter(str.isprintable))
def test_a_text_value_comes_out_as_it_went_in(value: str) -> None:
    """JSON's escapes are undone."""
    assert state(json.dumps({"a": {"b": value}}).encode(), "a.b") == value


@pytest.mark.parametrize(
    "fill",
    [
        lambda size: b"[" * size,
        lambda size: b'{"a":' * (size // 5),
        lambda size: b'{"a":' + b"9" * (size - 6) + b"}",
        lambda size: b'{"a":"' + b"\\u0061" * ((size - 8) // 6) + b'"}',
        lambda size: b"{" + b",".join(b'"%x":1' % number for number in range(size // 8)) + b"}",
        lambda size: b"-" * size,
        lambda size: b'"' + b"\\" * (size - 1),
        lambda size: b" " * size,
    ],
    ids=["lists", "objects", "digits", "escapes", "names", "signs", "open text", "blanks"],
)
def test_the_worst_that_fits_takes_no_time(fill: Callable[[int], bytes]) -> None:
    """A payload is read anew at each turn of the agent's loop, four times a second: 10 ms of processor at most."""
    sent = fill(MOST_BYTES)
    assert len(sent) <= MOST_BYTES
    started = time.process_time()
    for _ in range(100):
        try:
            state(sent, "a")
        except Unreadable as refused:
            assert str(refused) in SAID
    assert time.process_time() - started < 1
