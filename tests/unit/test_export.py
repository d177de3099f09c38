"""An exported part of the record: whole as it was written, and whatever is done to it is named, without an agent."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass import receipts
from sightglass.export import MOST_LINE, Wanted, check, document, span
from sightglass.receipts import NO_HEAD, Head
from tests.unit.export_parts import ABOUT, ALL, BEN, ONE, TWO, Record, events_of, exported, part, record, sealed

pytestmark = pytest.mark.requirement("U5")
EVENTS = record().events
PARTS = {"all": ALL, "the first window": Wanted(ONE), "the second window": Wanted(TWO)}


LATER = datetime(2028, 6, 1, tzinfo=UTC)
"""When somebody checks, years after everything in the record."""


def named(lines: list[bytes], *known: Head, now: datetime = LATER) -> list[tuple[str, int]]:
    """The problems' names and lines."""
    return [(problem.name, problem.line) for problem in check(lines, now, known)[1].problems]


def day(number: int, hour: int = 0) -> datetime:
    """A time of November 2026."""
    return datetime(2026, 11, number, hour, tzinfo=UTC)


@pytest.mark.parametrize("wanted", PARTS.values(), ids=PARTS)
def test_a_part_is_whole_and_any_program_reads_it(wanted: Wanted) -> None:
    """The control of every test below; one JSON object, events as the agent has them, their names included."""
    lines = exported(EVENTS, wanted)
    about, report = check(lines, LATER)
    found, own = part(EVENTS, wanted)
    assert report.ok
    assert (report.events, report.head) == (len(own), found.last)
    assert events_of(lines) == own
    assert about["after"] == {"n": found.after.n, "hash": found.after.hash}


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        (ALL, 1, 20),
        (Wanted(ONE), 2, 13),
        (Wanted(TWO), 17, 20),
        (Wanted(since=day(24)), 14, 20),
        (Wanted(until=day(24)), 1, 13),
        (Wanted(since=day(24), until=day(26)), 14, 15),
        # A window that was open at midnight is not cut in two, at either end.
        (Wanted(until=day(28)), 1, 20),
        (Wanted(since=day(28)), 17, 20),
        (Wanted(since=day(29)), 21, 20),
        (Wanted(until=day(1)), 21, 20),
        (Wanted("w-ffffffffffff"), 21, 20),
    ],
    ids=str,
)
def test_a_span_is_without_a_gap_and_has_whole_windows(wanted: Wanted, first: int, last: int) -> None:
    """So that what stands in between cannot be left out unseen."""
    found = span(EVENTS, wanted)
    assert (found.after.n + 1, found.last.n, found.chain.n) == (first, last, 20)
    assert check(exported(EVENTS, wanted), LATER)[1].ok


@given(st.data())
def test_any_changed_byte_of_an_event_is_named_at_its_line(data: st.DataObject) -> None:
    """Also by somebody who makes the checksum anew."""
    lines = exported(EVENTS, data.draw(st.sampled_from([*PARTS.values()])))
    at = data.draw(st.integers(1, len(lines) - 2))
    place = data.draw(st.integers(0, len(lines[at].rstrip(b",\n")) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (lines[at][place], 0x0A)))
    lines[at] = lines[at][:place] + bytes([byte]) + lines[at][place + 1 :]
    assert at + 1 in {line for _, line in named(sealed(lines))}
    assert named(lines) == named(sealed(lines)), "one change is named once"


@given(st.data())
def test_any_changed_byte_of_the_file_is_named(data: st.DataObject) -> None:
    """Its first and last line, too."""
    text = b"".join(exported(EVENTS, Wanted(TWO)))
    place = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != text[place]))
    changed = text[:place] + bytes([byte]) + text[place + 1 :]
    try:
        assert named(changed.splitlines(keepends=True)) != []
    except ValueError as error:
        assert "is no export of receipts" in str(error)


@given(st.data())
def test_a_removed_event_is_missing(data: st.DataObject) -> None:
    """Any of a part; its first one, too, by the event before it, and its last one by its first line."""
    lines = exported(EVENTS, data.draw(st.sampled_from([*PARTS.values()])))
    at = data.draw(st.integers(1, len(lines) - 2))
    end = at == len(lines) - 2
    del lines[at]
    assert named(sealed(lines)) == [("shortened", len(lines) - 1) if end else ("missing", at + 1)]


@given(st.data())
def test_another_order_is_named(data: st.DataObject) -> None:
    """Two events change places."""
    lines = exported(EVENTS, Wanted(ONE))
    a, b = data.draw(st.lists(st.integers(1, len(lines) - 3), min_size=2, max_size=2, unique=True))
    lines[a], lines[b] = lines[b], lines[a]
    assert {name for name, _ in named(sealed(lines))} == {"reordered"}


def test_an_event_rewritten_with_its_own_hash_is_named() -> None:
    """The next one does not follow it; the last one is not the one that the first line has."""
    for at, name in ((3, ("broken", 5)), (-2, ("rewritten", 13))):
        lines = exported(EVENTS, Wanted(ONE))
        event = json.loads(lines[at].rstrip(b",\n"))
        body = {key: event[key] for key in event if key not in ("hash", "who")} | {"data": {"cause": "deadline"}}
        new = {**body, "hash": receipts.digest(body), "who": event["who"]}
        lines[at] = receipts.canonical(new) + (b"\n" if at < 0 else b",\n")
        assert named(sealed(lines)) == [name]


def test_names_that_are_edited_taken_away_or_put_in_are_named() -> None:
    """A viewer under another name; one whose name is gone; an event that never had one."""
    opening = EVENTS[1]
    for who, name in (
        ({**opening["who"], "user": "somebody"}, "personal-edited"),
        (None, "personal-missing"),
        ("somebody", "personal-missing"),
    ):
        lines = exported(EVENTS, Wanted(ONE))
        lines[1] = receipts.canonical({**opening, "who": who}) + b",\n"
        assert name in {found for found, _ in named(sealed(lines))}
    lines = exported(EVENTS, Wanted(ONE))
    opened = json.loads(lines[2][:-2])
    assert (opened["event"], opened["personal"]) == ("opened", None)
    lines[2] = receipts.canonical({**opened, "who": {"user": "ann"}}) + b",\n"
    assert named(sealed(lines)) == [("personal-edited", 3)]


def test_expired_names_are_no_fault_wherever_that_is_said() -> None:
    """By an event after the part, which the file's first line knows of; but not for more than that."""
    grown = record().add("30T10:00:00", "expired", to=13)
    bare = [{**event, "who": None} if event["n"] <= 13 else event for event in grown.events]
    for wanted, excused in ((ALL, 0), (Wanted(ONE), 8)):
        report = check(exported(bare, wanted, made=OLD), LATER)[1]
        assert report.ok
        assert (report.gone, report.expired, report.excused) == (8, 8, excused)
    bare = [{**event, "who": None} for event in grown.events]
    assert {name for name, _ in named(exported(bare, Wanted(TWO), made=OLD))} == {"personal-missing"}
    # Who exports up to the end has every event that lets expire in the file: the first line's word is not needed.
    lines = exported([{**event, "who": None} for event in EVENTS], made=OLD)
    lines[0] = lines[0].replace(b'"expired_to":0', b'"expired_to":20')
    assert {name for name, _ in named(sealed(lines))} == {"personal-missing"}


OLD = "2027-12-01T00:00:00+00:00"
"""A year and a week after the first window."""


def bare(made: str, expired_to: int = 10**6) -> list[bytes]:
    """The first window's file without a name, by whoever makes a first line for it."""
    lines = exported([{**event, "who": None} for event in EVENTS], Wanted(ONE), made=made)
    return sealed([lines[0].replace(b'"expired_to":0', f'"expired_to":{expired_to}'.encode()), *lines[1:]])


@pytest.mark.parametrize(
    ("made", "now", "missing"),
    [
        (ABOUT["made"], LATER, 8),
        (OLD, datetime(2026, 12, 1, tzinfo=UTC), 8),
        # The window's first event is a year old to the second, and its name may be gone.
        (OLD, datetime(2027, 11, 23, 7, tzinfo=UTC), 7),
        ("2027-11-23T07:00:00+00:00", LATER, 7),
        ("0001-01-01T00:00:00+00:00", LATER, 8),
        ("9999-12-31T23:59:59+00:00", datetime(2026, 12, 1, tzinfo=UTC), 8),
    ],
    ids=str,
)
def test_names_that_only_the_first_line_lets_expire_are_missing_before_a_year(
    made: str, now: datetime, missing: int
) -> None:
    """A year after the events themselves, by the file's date and by the clock of who checks: neither alone."""
    assert named(bare(OLD)) == [], "the control: they are old enough"
    assert [name for name, _ in named(bare(made), now=now)] == ["personal-missing"] * missing
    assert check(bare(made), now)[1].gone == 8


def test_a_time_that_has_not_come_tells_no_age() -> None:
    """A clock that showed 2100 wrote it; its names have expired with the next event's."""
    made = Record().add("23T10:00:00", "opening", ONE, BEN)
    head = made.head
    event = receipts.event(head, "2100-01-01T00:00:00+00:00", "boot", ONE, "cause", {}, "ab" * 32)
    made.events.append({**event, "who": None})
    made.head = Head(event["n"], event["hash"])
    grown = made.add("23T10:01:00", "closed", ONE).add("30T10:00:00", "expired", to=3)
    lines = exported([{**event, "who": None} for event in grown.events], Wanted(ONE), made=OLD)
    assert named(lines) == []
    assert named(sealed([lines[0].replace(b'"expired_to":3', b'"expired_to":1'), *lines[1:]])) == [
        ("personal-missing", 3)
    ]


def test_a_file_that_ends_too_soon_or_goes_on_is_named() -> None:
    """A copy that broke off; something after the end."""
    lines = exported(EVENTS)
    for length in range(1, len(lines)):
        assert {"torn", "shortened"} & {name for name, _ in named(lines[:length])}
    assert [name for name, _ in named([*lines, b"more\n"])] == ["altered"]
    assert [name for name, _ in named([*lines, lines[-1]])] == ["altered"]


def test_a_first_line_that_was_changed_is_named_or_no_export() -> None:
    """Another site's name; another start."""
    lines = exported(EVENTS, Wanted(ONE))
    assert named([lines[0].replace(b"lab-gw1", b"lab-gw2"), *lines[1:]]) == [("altered", 14)]
    other = lines[0].replace(f'"hash":"{EVENTS[0]["hash"]}"'.encode(), b'"hash":"' + b"0" * 64 + b'"')
    assert other != lines[0]
    assert named(sealed([other, *lines[1:]])) == [("broken", 2)]


def test_the_agents_own_verdict_of_then_is_told() -> None:
    """What was wrong outside the part."""
    wrong = {"ok": False, "events": 20, "expired": 0, "problems": [{"name": "edited", "line": 3, "why": "event 3 …"}]}
    _, report = check(exported(EVENTS, Wanted(TWO), verify=wrong), LATER)
    assert [problem.name for problem in report.problems] == ["not-whole"]
    assert report.problems[0].why.endswith("the whole chain was not: edited: event 3 …")


def test_a_remembered_event_is_looked_for() -> None:
    """Within the part and at its start; one before it cannot be told of, which is said."""
    lines = exported(EVENTS, Wanted(ONE))
    hashes = {event["n"]: event["hash"] for event in EVENTS}
    for n in (1, 2, 13):
        assert named(lines, Head(n, hashes[n])) == []
        assert [name for name, _ in named(lines, Head(n, "ab" * 32))] == ["rewritten"]
    assert [name for name, _ in named(lines, Head(14, hashes[14]))] == ["shortened"]
    with pytest.raises(ValueError, match="begins after event 16, so that it cannot tell of event 3"):
        check(exported(EVENTS, Wanted(TWO)), LATER, [Head(3, hashes[3])])


def test_an_end_that_was_cut_off_is_seen_by_who_remembers() -> None:
    """The first line says where the part ends, and anybody can write it: of two files nobody can tell which is cut."""
    lines = exported(EVENTS, Wanted(ONE))
    end, newest = EVENTS[12], EVENTS[11]
    said, instead = (f'"last":{{"hash":"{one["hash"]}","n":{one["n"]}}}'.encode() for one in (end, newest))
    cut = sealed([lines[0].replace(said, instead), *lines[1:-3], lines[-3].removesuffix(b",\n") + b"\n", lines[-1]])
    assert (named(cut), len(cut)) == ([], len(lines) - 1)
    remembered = Head(end["n"], end["hash"])
    assert named(lines, remembered) == [], "the control: the file as it was exported"
    assert [name for name, _ in named(cut, remembered)] == ["shortened"]


@pytest.mark.parametrize(
    "first",
    [
        b"", b"\n", b"{}\n", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"events":[\n', b'{"format":1,"events":[\n',
        exported(EVENTS)[0].replace(b'"format":1', b'"format":2'),
        exported(EVENTS)[0].replace(b'"n":0', b'"n":"0"'),
        exported(EVENTS)[0].replace(b'"ok":true', b'"ok":7'),
        exported(EVENTS)[0].replace(b'"made":"2026', b'"made":"soon'),
        json.dumps(json.loads(b"".join(exported(EVENTS))), indent=1).encode(),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_no_export_is_one_sentence(first: bytes) -> None:
    """Also one that another program has written anew: each byte counts."""
    with pytest.raises(ValueError, match=r"^is no export of receipts, .*its first line is another$"):
        check(first.splitlines(keepends=True), LATER)


@pytest.mark.parametrize("line", [b"{}", b"[]", b"7", b'{"a":' * 5000, b"x" * MOST_LINE, b"\xff", b'{"who":null}'])
def test_a_line_that_is_no_event_is_unreadable(line: bytes) -> None:
    """Whatever stands there, a verdict comes out."""
    lines = exported(EVENTS)
    lines[3] = line[:MOST_LINE] + b",\n"
    assert ("unreadable", 4) in named(sealed(lines))


def test_no_event_at_all_is_a_whole_file() -> None:
    """A month without a window, and a gateway without any event."""
    assert check(exported(EVENTS, Wanted(since=day(29))), LATER)[1].ok
    _, report = check(exported([]), LATER)
    assert (report.ok, report.head) == (True, NO_HEAD)
    assert events_of(exported([])) == []


def test_a_long_record_needs_memory_for_one_event() -> None:
    """Twenty thousand events pass through both sides as they come."""

    def endless() -> Any:
        head = NO_HEAD
        for _ in range(20_000):
            event = receipts.event(head, "2026-11-23T07:00:00.000+00:00", "boot", ONE, "opened", {}, None)
            head = Head(event["n"], event["hash"])
            yield {**event, "who": None}

    found = span(endless(), ALL)
    tracemalloc.start()
    report = check((line for piece in document(ABOUT, found, endless()) for line in _lines(piece)), LATER)[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.ok, report.events) == (True, 20_000)
    assert peak < 8_000_000


_LEFT: list[bytes] = []


def _lines(piece: bytes) -> list[bytes]:
    """Whole lines as a file would give them."""
    text = b"".join([*_LEFT, piece])
    whole, end, rest = text.rpartition(b"\n")
    _LEFT[:] = [rest] if rest else []
    return (whole + end).splitlines(keepends=True)


@pytest.mark.parametrize("event", [1, 3])
def test_an_edit_that_changes_no_value_is_named(event: int) -> None:
    """People read the text: a space, a key that stands twice, another way to write a letter. The checksum is anew."""
    for old, new in ((b'{"at"', b'{ "at"'), (b'{"at"', b'{"n":7,"at"'), (b'"boot"', b'"\\u0062oot"')):
        lines = exported(EVENTS, Wanted(ONE))
        assert old in lines[event]
        lines[event] = lines[event].replace(old, new, 1)
        assert named(sealed(lines)) == [("edited", event + 1)]
