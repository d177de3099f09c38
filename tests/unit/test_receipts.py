"""The chain of receipts: whatever is done to it is named, and what time does to it is no fault."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass import receipts
from sightglass.receipts import NO_HEAD, Head, time_of
from sightglass.verify import MOST_PROBLEMS, ROLLED_BACK, Report, verify

pytestmark = pytest.mark.requirement("U5")

Documents = dict[str, dict[str, Any]]


def chain(length: int) -> tuple[list[bytes], Documents, Head]:
    """A whole chain; every second event carries personal fields."""
    lines, documents, head = [], {}, NO_HEAD
    for n in range(1, length + 1):
        document = {"user": f"operator-{n}", "salt": f"{n:032x}"}
        key = receipts.digest(document) if n % 2 else None
        if key is not None:
            documents[key] = document
        written = receipts.event(
            head, f"2026-11-23T10:{n // 60:02d}:{n % 60:02d}.000+00:00", "boot", "w-1", "joined", {"i": n}, key
        )
        lines.append(receipts.line(written))
        head = Head(written["n"], written["hash"])
    return lines, documents, head


def names(report: Report) -> set[str]:
    """What a report names."""
    return {problem.name for problem in report.problems}


def found(lines: list[bytes], documents: Documents, last: Head | None = None, known: Sequence[Head] = ()) -> Report:
    """The verdict on a chain."""
    return verify(lines, documents.get, last=last, known=known)


@given(st.integers(0, 12))
def test_a_whole_chain_is_whole(length: int) -> None:
    """The positive control of every test below."""
    lines, documents, head = chain(length)
    report = found(lines, documents, head)
    assert report.ok
    assert (report.events, report.head, report.expired) == (length, head, 0)


@given(st.data())
def test_any_changed_byte_is_named_at_its_line(data: st.DataObject) -> None:
    """One byte of one line becomes another one, its end excepted."""
    lines, documents, head = chain(data.draw(st.integers(1, 8)))
    at = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[at]) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (lines[at][place], 0x0A)))
    lines[at] = lines[at][:place] + bytes([byte]) + lines[at][place + 1 :]
    report = found(lines, documents, head)
    assert names(report) & {"edited", "unreadable"}
    assert at + 1 in {problem.line for problem in report.problems}


@given(st.data())
def test_a_removed_event_is_missing(data: st.DataObject) -> None:
    """Any run of events is taken out, at the end too: there only a remembered head can tell."""
    lines, documents, head = chain(data.draw(st.integers(2, 8)))
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first + 1, len(lines)))
    report = found(lines[:first] + lines[last:], documents, head)
    assert names(report) == ({"shortened"} if last == len(lines) else {"missing"})


@given(st.data())
def test_another_order_is_named(data: st.DataObject) -> None:
    """The same events in another order."""
    lines, documents, head = chain(data.draw(st.integers(2, 7)))
    mixed = data.draw(st.permutations(lines).filter(lambda order: order != lines))
    report = found(mixed, documents, head)
    assert names(report) == {"reordered"}


@given(st.integers(2, 8), st.data())
def test_an_event_that_stands_twice_is_named(length: int, data: st.DataObject) -> None:
    """A repeated line."""
    lines, documents, head = chain(length)
    at = data.draw(st.integers(0, length - 1))
    assert "reordered" in names(found([*lines[: at + 1], lines[at], *lines[at + 1 :]], documents, head))


@given(st.integers(2, 8), st.data())
def test_an_event_rewritten_with_its_own_hash_is_named(length: int, data: st.DataObject) -> None:
    """Who can compute a hash still has to rewrite all that follows, and then the remembered head."""
    lines, documents, head = chain(length)
    at = data.draw(st.integers(0, length - 1))
    event = json.loads(lines[at])
    body = {**{key: value for key, value in event.items() if key != "hash"}, "data": {"i": "else"}}
    lines[at] = receipts.line({**body, "hash": receipts.digest(body)})
    assert names(found(lines, documents, head)) == ({"rewritten"} if at == length - 1 else {"broken"})


@given(st.integers(1, 8), st.data())
def test_a_torn_last_line_is_torn_and_nothing_else(length: int, data: st.DataObject) -> None:
    """A power cut in the middle of a write, at any byte, also just before the line's end."""
    lines, documents, _ = chain(length)
    cut = data.draw(st.integers(1, len(lines[-1]) - 1))
    report = found([*lines[:-1], lines[-1][:cut]], documents)
    assert [(problem.name, problem.line) for problem in report.problems] == [("torn", length)]


def say(head: Head, name: str, data: dict[str, Any]) -> tuple[bytes, Head]:
    """One more event at the end of a chain."""
    written = receipts.event(head, "2026-11-23T11:00:00.000+00:00", "boot", None, name, data, None)
    return receipts.line(written), Head(written["n"], written["hash"])


@given(st.integers(1, 8), st.data())
def test_expired_personal_fields_are_no_fault_and_others_are(length: int, data: st.DataObject) -> None:
    """Any documents are gone: those that an event says have expired are counted, the rest is named, one by one."""
    lines, documents, head = chain(length)
    to = data.draw(st.integers(0, length))
    line, last = say(head, "expired", {"from": 0, "to": to})
    left = data.draw(st.sets(st.sampled_from(sorted(documents))))
    gone = [n for n in range(1, length + 1, 2) if [*documents][n // 2] not in left]
    report = found([*lines, line], {key: documents[key] for key in left}, last)
    assert report.expired == sum(n <= to for n in gone)
    early = [problem.line for problem in report.problems]
    assert early == [n for n in gone if n > to]
    assert names(report) <= {"personal-missing"}


@pytest.mark.parametrize("to", [99, "2", None, True, 10**30])
def test_an_event_cannot_let_expire_what_comes_after_it(to: Any) -> None:
    """Nor does one whose words make no sense."""
    line, head = say(NO_HEAD, "expired", {"from": 0, "to": to})
    key = receipts.digest({"user": "ann"})
    written = receipts.event(head, "2026-11-23T11:00:01.000+00:00", "boot", "w-1", "opening", {}, key)
    assert names(found([line, receipts.line(written)], {})) == {"personal-missing"}


@given(st.integers(1, 12), st.data())
def test_a_remembered_event_is_looked_for(length: int, data: st.DataObject) -> None:
    """Whoever kept a head can tell: it is there, it is gone, or another one stands there."""
    lines, documents, _ = chain(length)
    n = data.draw(st.integers(1, length))
    kept = Head(n, json.loads(lines[n - 1])["hash"])
    assert found(lines, documents, known=[kept]).ok
    assert names(found(lines[: n - 1], documents, known=[kept])) == {"shortened"}
    assert names(found(lines, documents, known=[Head(n, "ab" * 32)])) == {"rewritten"}


def test_a_chain_written_anew_with_right_hashes_is_rewritten() -> None:
    """As long as it was, longer, or shorter: only a remembered event can tell, and does."""
    lines, documents, head = chain(4)
    for length in (4, 5, 9):
        anew, last = [], NO_HEAD
        for _ in range(length):
            line, last = say(last, "joined", {})
            anew.append(line)
        assert found(anew, {}, last).ok, "the control: by itself it is whole"
        assert names(found(anew, {}, last, [head])) == {"rewritten"}
    assert found(lines, documents, head, [head]).ok


def test_events_after_the_agents_last_one_are_added() -> None:
    """Somebody else has written on."""
    lines, documents, head = chain(3)
    line, _ = say(head, "joined", {})
    assert names(found([*lines, line], documents, head)) == {"added"}


@pytest.mark.parametrize("what", [*ROLLED_BACK, "else", None, ["x"]], ids=str)
def test_what_an_agent_found_at_its_start_is_named_for_ever(what: Any) -> None:
    """However the chain goes on."""
    lines, documents, head = chain(3)
    line, head = say(head, "rolled-back", {"what": what, "known": f"9:{'0' * 64}", "found": f"3:{'0' * 64}"})
    after, head = say(head, "started", {})
    report = found([*lines, line, after], documents, head)
    assert [(p.name, p.line) for p in report.problems] == [(what if what in ROLLED_BACK else "rolled-back", 4)]
    assert report.events == 5


def test_a_report_of_many_problems_has_a_bound() -> None:
    """A folder of names that is gone is not ten thousand lines."""
    lines, _, head = chain(300)
    report = found(lines, {}, head)
    assert len(report.problems) == MOST_PROBLEMS + 1
    assert (report.problems[-1].name, report.problems[-1].why) == ("more", "and 50 more problems")
    assert verify(lines, None, last=head).ok, "a chain that came without its names is not asked for them"


@pytest.mark.parametrize("text", ["", "7", "0:" + "0" * 64, "7:xyz", "-1:" + "0" * 64, "7:" + "0" * 64 + "\n"])
def test_a_remembered_head_has_one_form(text: str) -> None:
    """N:HASH."""
    with pytest.raises(ValueError, match="must be N:HASH"):
        Head.parse(text)
    assert str(Head.parse("7:" + "0a" * 32)) == "7:" + "0a" * 32


@given(st.integers(1, 8), st.data())
def test_edited_personal_fields_are_named(length: int, data: st.DataObject) -> None:
    """Another name in a personal document."""
    lines, documents, head = chain(length)
    key = data.draw(st.sampled_from(sorted(documents)))
    documents[key] = {**documents[key], "user": "somebody"}
    assert names(found(lines, documents, head)) == {"personal-edited"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda line: line.replace(b'{"at"', b'{ "at"'),
        lambda line: line.replace(b'{"at"', b'{"n":7,"at"'),
        lambda line: line.replace(b'"boot"', b'"\\u0062oot"', 1),
        lambda line: line.replace(b'"i":2', b'"i":2.0'),
        lambda line: line[:-1] + b" \n",
        lambda line: line[:-1] + b"\r\n",
    ],
    ids=["space", "key twice", "escape", "number's form", "space at the end", "carriage return"],
)
def test_an_edit_that_changes_no_value_is_named(edit: Any) -> None:
    """People read the text, so the text counts, not only what a parser makes of it."""
    lines, documents, head = chain(3)
    changed = edit(lines[1])
    assert changed != lines[1]
    report = found([lines[0], changed, lines[2]], documents, head)
    assert [(problem.name, problem.line) for problem in report.problems] == [("edited", 2)]


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"[" * 10000 + b"\n",
        b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"\n",
        b'"' + b"x" * receipts.MOST_LINE + b'"\n',
    ],
    ids=["empty", "null", "list", "object", "no text", "deep list", "deep object", "long"],
)
def test_a_line_that_is_no_event_is_unreadable(raw: bytes) -> None:
    """Whatever stands there, a verdict comes out, and what follows is still checked."""
    lines, documents, head = chain(3)
    report = found([*lines, raw], documents, head)
    assert [(problem.name, problem.line) for problem in report.problems] == [("unreadable", 4)]
    assert report.head == head


@pytest.mark.parametrize("depth", [100, 400, 900, 2000, 6000])
def test_deep_data_gets_a_verdict(depth: int) -> None:
    """An event whose data nest deeper than JSON can be written again."""
    lines, _, _ = chain(1)
    deep = lines[0].replace(b'{"i":1}', b'{"i":' + b"[" * depth + b"]" * depth + b"}")
    assert names(verify([deep], None)) <= {"edited", "unreadable"}
    assert not verify([deep], None).ok


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0),
        ("n", True),
        ("n", "1"),
        ("n", 1.0),
        ("at", 5),
        ("boot", None),
        ("window", 5),
        ("data", []),
        ("prev", "00"),
        ("hash", "../../../etc/passwd"),
        ("personal", "../../../../etc/passwd"),
        ("personal", "A" * 64),
    ],
)
def test_an_event_of_another_shape_is_unreadable(field: str, value: Any) -> None:
    """In particular no personal document is looked up by a name that is no hash."""
    asked: list[str] = []

    def personal(key: str) -> None:
        asked.append(key)

    event = receipts.event(NO_HEAD, "2026-11-23T10:00:00.000+00:00", "boot", None, "started", {}, "0" * 64)
    report = verify([receipts.line({**event, field: value})], personal)
    assert names(report) == {"unreadable"}
    assert asked == []


def test_an_unknown_event_is_not_written() -> None:
    """The names of events are a closed list."""
    with pytest.raises(ValueError, match=r"event: must be one of .* not 'watched'"):
        receipts.event(NO_HEAD, "", "", None, "watched", {}, None)


def test_one_edit_in_a_long_chain_is_named_once() -> None:
    """A report of a thousand lines would hide the one that matters."""
    lines, documents, head = chain(50)
    lines[20] = lines[20].replace(b'"i":21', b'"i":12')
    report = found(lines, documents, head)
    assert [(problem.name, problem.line) for problem in report.problems] == [("edited", 21)]


@pytest.mark.parametrize(
    ("at", "time"),
    [
        ("2026-11-23T10:00:00.000+00:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T11:00:00+01:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T10:00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_an_events_time_is_one_with_a_zone_or_none(at: str, time: datetime | None) -> None:
    """Whoever edits it must not keep the agent from reading the rest."""
    assert time_of({"at": at}) == time
