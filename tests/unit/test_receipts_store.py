"""Receipts on a disk: written before anything happens, whole after a power cut, and nothing on a full disk."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sightglass import receipts, store
from sightglass.store import MOST_OWED, Store
from tests.unit.receipts_parts import chain_of, fill, full_disk, mounted

pytestmark = pytest.mark.requirement("U5")


def events(directory: Path) -> list[str]:
    """The names of the events on the disk."""
    return [json.loads(line)["event"] for line in chain_of(directory).read_bytes().splitlines()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kB."""
    with mounted(tmp_path / "disk", "64k") as state:
        yield state


def test_an_event_is_on_the_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced after its last byte was written, and so is the folder when the file is new."""
    calls: list[str] = []
    real_write, real_fsync = os.write, os.fsync

    def name(fd: int) -> str:
        return Path(f"/proc/self/fd/{fd}").readlink().name

    def write(fd: int, text: bytes) -> int:
        calls.append(f"write {name(fd)}")
        return real_write(fd, text)

    def fsync(fd: int) -> None:
        calls.append(f"sync {name(fd)}")
        real_fsync(fd)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fsync)
    Store(tmp_path, "boot")
    folder = tmp_path.name
    assert calls[-6:] == [
        "sync receipts", "write chain.jsonl", "sync chain.jsonl", "write head.new", "sync head.new", f"sync {folder}"
    ]  # fmt: skip


def test_what_is_written_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    """Folders 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        kept = Store(tmp_path, "boot")
        kept.append("opening", "w-1", {}, {"user": "ann"})
        kept.keep_disabled("disabled", {"reason": "works"})
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A second agent takes up the head of the first."""
    first = Store(tmp_path, "boot-1")
    head = first.append("opening", "w-1", {"cameras": ["cam1"]}, {"user": "ann"})
    second = Store(tmp_path, "boot-2")
    assert second.head.n == head.n + 1
    assert second.verify().ok
    assert [event["event"] for event in second.events(after=1)] == ["opening", "started"]


def test_personal_fields_lie_beside_the_chain(tmp_path: Path) -> None:
    """The chain holds no name, and the same fields never have the same hash twice."""
    kept = Store(tmp_path, "boot")
    for _ in range(2):
        kept.append("opening", "w-1", {}, {"user": "ann", "reason": "align the camera"})
    assert b"ann" not in chain_of(tmp_path).read_bytes()
    assert b"align" not in chain_of(tmp_path).read_bytes()
    opened = [event for event in kept.events() if event["event"] == "opening"]
    assert opened[0]["personal"] != opened[1]["personal"]
    assert [event["who"]["user"] for event in opened] == ["ann", "ann"]


@pytest.mark.parametrize("cut", [1, 40, -1], ids=["one byte", "in the middle", "only the line's end is missing"])
def test_a_torn_line_becomes_an_event_and_blocks_nothing(tmp_path: Path, cut: int) -> None:
    """A power cut in the middle of a write."""
    kept = Store(tmp_path, "boot-1")
    witness = (tmp_path / "head.json").read_bytes()
    kept.append("opening", "w-1", {}, None)
    whole = chain_of(tmp_path).read_bytes().splitlines(keepends=True)
    torn = whole[-1][:cut]
    chain_of(tmp_path).write_bytes(b"".join(whole[:-1]) + torn)
    # The agent was still writing it: nobody was told of that event, the witness neither.
    (tmp_path / "head.json").write_bytes(witness)
    assert {problem.name for problem in store.verify(tmp_path / "receipts").problems} == {"torn"}
    again = Store(tmp_path, "boot-2")
    assert events(tmp_path) == ["started", "torn", "started"]
    assert next(event for event in again.events() if event["event"] == "torn")["data"]["bytes"] == len(torn)
    assert again.verify().ok


@pytest.mark.parametrize("left", [b"\0" * 4096, b"{"], ids=["zeros", "first byte"])
def test_a_first_line_that_is_torn_blocks_nothing(tmp_path: Path, left: bytes) -> None:
    """The file was made, and the power went before its first event; some file systems leave zeros."""
    (tmp_path / "receipts").mkdir()
    chain_of(tmp_path).write_bytes(left)
    assert Store(tmp_path, "boot").verify().ok
    assert events(tmp_path) == ["torn", "started"]


@pytest.mark.parametrize(
    "line",
    [b"garbage\n", b"{}\n", b"\0\0\0\n", b'{"n":"x","hash":5}\n', b"[" * 5000 + b"\n"],
    ids=["garbage", "object", "zeros", "other shape", "deep"],
)
def test_a_last_line_that_is_no_event_is_named_and_blocks_nothing(tmp_path: Path, line: bytes) -> None:
    """An agent that cannot start would be a way to keep windows from being closed in order."""
    Store(tmp_path, "boot-1")
    with chain_of(tmp_path).open("ab") as chain:
        chain.write(line)
    again = Store(tmp_path, "boot-2")
    assert [event["event"] for event in again.events()] == ["started", "started"]
    assert [(problem.name, problem.line) for problem in again.verify().problems] == [("unreadable", 2)]
    assert again.newest() >= datetime(2026, 1, 1, tzinfo=UTC)


def test_an_edited_time_does_not_keep_an_agent_from_starting(tmp_path: Path) -> None:
    """A time without a zone, and one that is none."""
    kept = Store(tmp_path, "boot-1")
    kept.append("joined", "w-1", {}, None)
    lines = chain_of(tmp_path).read_text().splitlines()
    edited = [json.loads(line) for line in lines]
    edited[0]["at"], edited[1]["at"] = "yesterday", "2030-01-01T00:00:00"
    chain_of(tmp_path).write_bytes(b"".join(map(receipts.line, edited)))
    again = Store(tmp_path, "boot-2")
    assert again.newest() == datetime(2026, 1, 1, tzinfo=UTC)
    assert [problem.name for problem in again.verify().problems] == ["edited", "edited"]


def test_the_newest_time_is_that_of_an_earlier_start(tmp_path: Path) -> None:
    """A clock that shows less than an earlier agent wrote is not set."""
    before = datetime.now(UTC)
    Store(tmp_path, "boot-1").append("joined", "w-1", {}, None)
    after = datetime.now(UTC)
    again = Store(tmp_path, "boot-2")
    again.append("joined", "w-2", {}, None)
    milli = 1000
    assert int(before.timestamp() * milli) <= again.newest().timestamp() * milli <= after.timestamp() * milli


def test_who_enables_windows_says_that_the_clock_is_right(tmp_path: Path) -> None:
    """A battery that once gave 2100 would refuse windows for the rest of the gateway's life."""
    Store(tmp_path, "boot-1")
    lines = [json.loads(line) for line in chain_of(tmp_path).read_text().splitlines()]
    lines[0]["at"] = "2100-01-01T00:00:00.000+00:00"
    chain_of(tmp_path).write_bytes(b"".join(map(receipts.line, lines)))
    kept = Store(tmp_path, "boot-2")
    assert kept.newest() == datetime(2100, 1, 1, tzinfo=UTC)
    before = datetime.now(UTC) - timedelta(seconds=1)
    kept.append("enabled", None, {}, {"reason": "the clock is right now"})
    assert before <= kept.newest() <= datetime.now(UTC), "at once"
    assert before <= Store(tmp_path, "boot-3").newest() <= datetime.now(UTC), "and after a restart"


@pytest.mark.parametrize("remove", [1, 2, 99], ids=["last event", "two events", "the file"])
def test_a_chain_that_is_shortened_while_the_agent_runs_is_named(tmp_path: Path, remove: int) -> None:
    """The agent remembers what it wrote last."""
    kept = Store(tmp_path, "boot")
    kept.append("opening", "w-1", {}, None)
    kept.append("closed", "w-1", {}, None)
    assert kept.verify().ok
    lines = chain_of(tmp_path).read_bytes().splitlines(keepends=True)
    if remove < len(lines):
        chain_of(tmp_path).write_bytes(b"".join(lines[:-remove]))
    else:
        chain_of(tmp_path).unlink()
    assert [problem.name for problem in kept.verify().problems] == ["shortened"]


@pytest.mark.parametrize(
    "text", [b"not json", b"[]", b'"text"', None], ids=["no JSON", "list", "text", "of another person"]
)
def test_a_personal_document_that_was_changed_is_named(tmp_path: Path, text: bytes | None) -> None:
    """Whatever stands there now."""
    kept = Store(tmp_path, "boot")
    kept.append("opening", "w-1", {}, {"user": "ann"})
    document = next((tmp_path / "receipts" / "personal").iterdir())
    document.write_bytes(text if text is not None else document.read_bytes().replace(b"ann", b"bob"))
    assert [problem.name for problem in kept.verify().problems] == ["personal-edited"]


@pytest.mark.requirement("U5")
def test_a_personal_document_that_is_gone_before_its_time_is_named(tmp_path: Path) -> None:
    """Deleting who opened a window is not the same as letting it expire."""
    kept = Store(tmp_path, "boot")
    kept.append("opening", "w-1", {}, {"user": "ann"})
    place = tmp_path / "receipts" / "personal"
    next(place.iterdir()).unlink()
    assert [problem.name for problem in kept.verify().problems] == ["personal-missing"]
    assert [problem.name for problem in store.verify(tmp_path / "receipts").problems] == ["personal-missing"]
    place.rmdir()
    assert store.verify(tmp_path / "receipts").ok, "a copy of the chain alone is whole"


@pytest.mark.requirement("U5")
def test_what_is_appended_during_a_check_does_not_disturb_it(tmp_path: Path) -> None:
    """The check runs in a thread, beside the agent's loop that goes on writing."""
    kept = Store(tmp_path, "boot")
    kept.append("opening", "w-1", {}, None)
    check = kept.verification()
    kept.append("opened", "w-1", {}, None)
    report = check()
    assert (report.ok, report.events) == (True, 2)
    assert kept.verify().events == 3


def test_an_event_that_is_too_long_is_not_written(tmp_path: Path) -> None:
    """The line has a bound; the chain goes on without it."""
    kept = Store(tmp_path, "boot")
    with pytest.raises(OSError, match="too long"):
        kept.append("refused", None, {"why": "x" * receipts.MOST_LINE}, {"user": "ann"})
    assert list((tmp_path / "receipts" / "personal").iterdir()) == []
    kept.append("refused", None, {"why": "x"}, None)
    assert kept.verify().ok


@pytest.mark.requirement("O1")
def test_on_a_full_disk_nothing_is_appended_and_nothing_is_harmed(small_disk: Path) -> None:
    """No half line and no document is left, the head stays, and with room the chain goes on."""
    kept = Store(small_disk, "boot")
    kept.append("opening", "w-1", {}, {"user": "ann"})
    ballast, head = fill(small_disk), kept.head
    refused = 0
    for _ in range(20):
        try:
            kept.append("joined", "w-1", {"x": "y" * 3000}, {"user": "bob"})
        except OSError:
            refused += 1
    assert refused
    assert not kept.room()
    documents = len(list((small_disk / "receipts" / "personal").iterdir()))
    assert documents == 1 + 20 - refused
    assert kept.head.n == head.n + 20 - refused
    assert kept.verify().ok
    ballast.unlink()
    kept.append("closed", "w-1", {}, {"user": "ann"})
    assert kept.verify().ok


def test_a_disk_that_fills_in_the_middle_of_a_line_leaves_no_half_line(small_disk: Path) -> None:
    """A buffered file wrote the rest of its buffer again when it was closed: seen, and the chain was broken by it."""
    kept = Store(small_disk, "boot")
    with pytest.raises(OSError, match="No space left"):
        while True:
            kept.append("joined", "w-1", {"x": "y" * 700}, None)
    assert chain_of(small_disk).read_bytes().endswith(b"}\n")
    assert kept.verify().ok


def test_an_agent_starts_on_a_full_disk_and_says_later_that_it_started(tmp_path: Path) -> None:
    """Somebody must be able to ask it why no window opens; a torn line that it found is not forgotten."""

    Store(tmp_path, "boot-1")
    with chain_of(tmp_path).open("ab") as chain:
        chain.write(b"{")
    with full_disk():
        kept = Store(tmp_path, "boot-2")
        assert kept.head.n == 1
        with pytest.raises(OSError, match="No space left"):
            kept.append("opening", "w-1", {}, {"user": "ann"})
    assert events(tmp_path) == ["started"]
    kept.append("refused", None, {}, None)
    assert events(tmp_path) == ["started", "torn", "started", "refused"]
    assert kept.verify().ok


@pytest.mark.requirement("P2")
def test_what_has_happened_is_owed_to_the_record_until_there_is_room(tmp_path: Path) -> None:
    """In its order, with its time and its person, before anything newer; the unwritable waits for nothing."""

    kept = Store(tmp_path, "boot")
    kept.append("opening", "w-1", {}, {"user": "ann"})
    with full_disk():
        for event in ("left", "cause", "closed"):
            with pytest.raises(OSError, match="No space left"):
                kept.owe(event, "w-1", {}, {"user": "bob"} if event == "left" else None)
        with pytest.raises(OSError, match="No space left"):
            kept.append("opening", "w-2", {}, {"user": "ann"})
        kept.catch_up()
        assert events(tmp_path) == ["started", "opening"]
        full_until = datetime.now(UTC)
    with pytest.raises(OSError, match="too long"):
        kept.owe("refused", None, {"why": "x" * receipts.MOST_LINE}, None)
    kept.catch_up()
    assert events(tmp_path) == ["started", "opening", "left", "cause", "closed"], "the permission was never given"
    assert all(datetime.fromisoformat(event["at"]) <= full_until for event in kept.events())
    assert next(event["who"]["user"] for event in kept.events() if event["event"] == "left") == "bob"
    assert kept.verify().ok


def test_the_number_of_owed_events_is_bounded(tmp_path: Path) -> None:
    """A disk that stays full must not fill the memory."""

    kept = Store(tmp_path, "boot")
    with full_disk():
        for _ in range(MOST_OWED + 5):
            with pytest.raises(OSError, match="No space left"):
                kept.owe("disabled", None, {}, None)
    kept.catch_up()
    assert events(tmp_path) == ["started", *["disabled"] * MOST_OWED]


@pytest.mark.parametrize(
    ("text", "disabled"),
    [
        (None, {}),
        (b'{"fleet-off":{"reason":"works"}}', {"fleet-off": {"reason": "works"}}),
        *((text, {"disabled": {}}) for text in (b"", b"[]", b"{}", b"\xff", b'{"reason":"works"}')),
    ],
    ids=["no mark", "mark", "empty", "list", "no marks", "no text", "no mark of a cause"],
)
@pytest.mark.requirement("N3")
def test_a_mark_that_cannot_be_read_disables(tmp_path: Path, text: bytes | None, disabled: dict[str, Any]) -> None:
    """Unknown is no."""
    kept = Store(tmp_path, "boot")
    if text is not None:
        (tmp_path / "disabled.json").write_bytes(text)
    assert kept.disabled() == disabled


@pytest.mark.requirement("N3")
def test_the_mark_outlives_the_agent_until_it_is_taken_away(tmp_path: Path) -> None:
    """Disabled is a file, so that it holds over a reboot."""
    for cause in ("disabled", "fleet-off"):
        Store(tmp_path, "boot-1").keep_disabled(cause, {"reason": f"works, {cause}"})
    again = Store(tmp_path, "boot-2")
    marks = again.disabled()
    assert {cause: mark["reason"] for cause, mark in marks.items()} == {
        "disabled": "works, disabled",
        "fleet-off": "works, fleet-off",
    }
    for _ in range(2):
        again.keep_disabled("disabled", None)
        assert again.disabled() == {"fleet-off": marks["fleet-off"]}
    again.keep_disabled("fleet-off", None)
    assert Store(tmp_path, "boot-3").disabled() == {}
