"""Personal fields expire after a year by the chain's own times, the chain stays whole, and no clock takes them soon."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest

from sightglass import segments, store
from sightglass.adapters import clock
from sightglass.expiry import DAY_S, SETTLED_S, Trust
from sightglass.store import Store
from tests.unit.receipts_parts import SMALL, PowerCut, files_of, names, power_cut, put_back

pytestmark = pytest.mark.requirement("U5")

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Time:
    """The wall clock and the boot clock of a gateway."""

    wall, boot = START, 0.0

    def on(self, **passed: float) -> None:
        """Both go on."""
        self.wall += timedelta(**passed)
        self.boot += timedelta(**passed).total_seconds()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The agent's clocks, and small segments."""
    now = Time()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(now.wall.timestamp(), tz)

    monkeypatch.setattr(store, "datetime", Clock)
    monkeypatch.setattr(clock, "wall", lambda: now.wall)
    monkeypatch.setattr(clock, "boottime", lambda: now.boot)
    monkeypatch.setattr(segments, "FULL_BYTES", SMALL)
    return now


def year(directory: Path, time: Time, days: int = 400, step: int = 10) -> Store:
    """A gateway with a window every `step` days."""
    kept = Store(directory, "boot-1")
    for n in range(0, days, step):
        kept.append("opening", f"w-{n}", {}, {"user": f"ann-{n}"})
        kept.append("closed", f"w-{n}", {}, None)
        time.on(days=step)
    return kept


def left(kept: Store) -> list[str]:
    """Whose names are still there."""
    return [event["who"]["user"] for event in kept.events() if event["who"]]


def documents(directory: Path) -> int:
    """How many files with names there are."""
    return len(list((directory / "receipts" / "personal").iterdir()))


def day(kept: Store, time: Time) -> None:
    """An agent's day: it sweeps at every turn."""
    for _ in range(25):
        kept.sweep()
        time.on(hours=1)


def test_names_expire_after_a_year_and_the_chain_stays_whole(tmp_path: Path, time: Time) -> None:
    """Across segments: those of the first month go, later ones stay, an event says up to where, nothing alarms."""
    kept = year(tmp_path, time)
    assert len(left(kept)) == 40
    assert len(files_of(tmp_path)) > 5
    kept.sweep()
    assert len(left(kept)) == 40, "a new agent waits an hour"
    for _ in range(4):
        day(kept, time)
    gone = [n for n in range(0, 400, 10) if timedelta(days=n) + 365 * DAY < time.wall - START]
    assert left(kept) == [f"ann-{n}" for n in range(0, 400, 10) if n not in gone]
    assert documents(tmp_path) == 40 - len(gone)
    again = Store(tmp_path, "boot-2")
    report = again.verify()
    assert (report.ok, report.expired) == (True, len(gone))
    assert store.verify(tmp_path / "receipts").ok, "a check far away needs no clock"
    said = [event["data"]["to"] for event in again.events() if event["event"] == "expired"]
    assert said == sorted(set(said))
    day(again, time)
    assert [event["data"]["to"] for event in again.events() if event["event"] == "expired"] == said, "nothing new"


def test_names_that_are_taken_away_are_missing_and_others_expire_as_before(tmp_path: Path, time: Time) -> None:
    """Who removes a young document is named, whatever the file's own date is."""
    kept = year(tmp_path, time)
    for file in (tmp_path / "receipts" / "personal").iterdir():
        os.utime(file, (0, 0))
    day(kept, time)
    assert kept.verify().ok, "the control: a file's date is nobody's word"
    (event,) = (event for event in kept.events() if event["window"] == "w-390" and event["personal"])
    (tmp_path / "receipts" / "personal" / f"{event['personal']}.json").unlink()
    assert names(kept.verify()) == ["personal-missing"]


@pytest.mark.parametrize(
    "jump",
    [
        lambda _: datetime(1970, 1, 1, tzinfo=UTC),
        lambda wall: wall - DAY,
        lambda wall: wall + DAY,
        lambda _: datetime(2100, 1, 1, tzinfo=UTC),
    ],
    ids=["1970", "a day back", "a day on", "2100"],
)
def test_a_clock_that_jumps_takes_nothing(
    tmp_path: Path, time: Time, caplog: pytest.LogCaptureFixture, jump: Callable[[datetime], datetime]
) -> None:
    """For a while, as when somebody sets it or a battery fails; refused and logged. When it is right again, all is."""
    kept = year(tmp_path, time, days=350)
    time.on(days=14, hours=12)  # the oldest has half a day left
    kept.sweep()
    time.on(minutes=50)
    right = time.wall
    time.wall = jump(time.wall)
    time.on(minutes=20)
    kept.sweep()
    assert "receipts: the clock has jumped" in caplog.text
    time.on(minutes=50)
    kept.sweep()
    assert len(left(kept)) == 35
    time.wall = right + timedelta(minutes=70)
    for _ in range(3):
        kept.sweep()
        time.on(minutes=40)
    assert len(left(kept)) == 35
    assert kept.verify().ok
    time.on(days=30)
    for _ in range(3):
        day(kept, time)
    assert len(left(kept)) < 35, "the control: with the right clock, names expire"
    assert kept.verify().ok


def test_a_clock_that_stays_in_2100_takes_a_month_a_day_and_says_so(tmp_path: Path, time: Time) -> None:
    """From the start on: nobody can tell it from a gateway that was off so long. Bounded, and on record."""
    year(tmp_path, time, days=350)
    time.wall = datetime(2100, 1, 1, tzinfo=UTC)
    kept = Store(tmp_path, "boot-2")
    for sweeps in (1, 3):  # a day here has 25 hours
        day(kept, time)
        assert len(left(kept)) == 35 - 4 * sweeps
    said = [event for event in kept.events() if event["event"] == "expired"]
    assert [event["at"][:4] for event in said] == ["2100"] * 3
    assert kept.verify().ok


def test_restarts_take_nothing_faster(tmp_path: Path, time: Time) -> None:
    """An agent that is restarted again and again beside a wrong clock sweeps never; one restarted each night does."""
    year(tmp_path, time, days=350)
    time.wall = datetime(2100, 1, 1, tzinfo=UTC)
    for boot in range(50):
        kept = Store(tmp_path, f"boot-{boot}")
        for _ in range(5):
            kept.sweep()
            time.on(minutes=10)
    assert len(left(kept)) == 35
    for _ in range(8):
        kept.sweep()
        time.on(minutes=10)
    assert len(left(kept)) < 35


@pytest.mark.parametrize(
    "wrong",
    [datetime(1970, 1, 2, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), datetime(2100, 1, 2, tzinfo=UTC)],
    ids=["1970", "last year", "2100"],
)
def test_an_event_dated_by_a_wrong_clock_expires_with_the_next_one(tmp_path: Path, time: Time, wrong: datetime) -> None:
    """Not at once, though the one before it is old enough; and not never."""
    kept = Store(tmp_path, "boot-1")
    kept.append("refused", None, {}, {"user": "first"})
    time.on(days=300)
    right, time.wall = time.wall, wrong
    kept.append("refused", None, {}, {"user": "wrong"})
    time.wall = right
    kept.append("refused", None, {}, {"user": "last"})
    time.on(days=66)
    assert kept.expire(time.wall) == 1
    assert left(kept) == ["wrong", "last"]
    assert kept.expire(time.wall) == 0
    kept = Store(tmp_path, "boot-2")
    assert kept.expire(time.wall) == 0
    assert left(kept) == ["wrong", "last"], "nor at the next sweep, or after a restart"
    time.on(days=300)
    assert kept.expire(time.wall) == 2
    assert left(kept) == []
    assert kept.verify().ok


def test_a_first_event_of_1970_expires_not_at_once(tmp_path: Path, time: Time) -> None:
    """A gateway whose first boot had no time yet."""
    time.wall = datetime(1970, 1, 2, tzinfo=UTC)
    kept = Store(tmp_path, "boot-1")
    kept.append("refused", None, {}, {"user": "first"})
    time.wall = START
    assert kept.expire(time.wall) == 0
    assert left(kept) == ["first"]


def test_nothing_expires_during_a_window(tmp_path: Path, time: Time) -> None:
    """Reading a segment takes some ten milliseconds, which a cut must not wait for."""
    kept = year(tmp_path, time)
    kept.append("opening", "w-open", {}, {"user": "bob"})
    day(kept, time)
    assert len(left(kept)) == 41
    kept.append("closed", "w-open", {}, None)
    day(kept, time)
    assert len(left(kept)) < 41


def test_a_power_cut_during_a_sweep_leaves_no_name_for_ever(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step: the next agent finishes it, and nothing is missing without an event."""
    for call in itertools.count(1):
        directory = tmp_path / str(call)
        directory.mkdir()
        time.wall, time.boot = START, 0.0
        kept = year(directory, time, days=400, step=50)
        with power_cut(monkeypatch, call, half=False):
            try:
                kept.expire(time.wall)
                break
            except PowerCut:
                pass
        again = Store(directory, "boot-2")
        assert again.verify().ok
        day(again, time)
        assert documents(directory) == 7
        assert again.verify().ok
    assert call > 5
    assert documents(directory) == 7, "the control: a sweep without a power cut"


def test_a_full_disk_keeps_the_names_for_now(tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event, no expiry: nothing goes without being said."""
    kept = year(tmp_path, time)

    def full(_segments: segments.Segments, _line: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(segments.Segments, "write", full)
        day(kept, time)
        assert len(left(kept)) == 40
    day(kept, time)
    assert len(left(kept)) < 40
    assert kept.verify().ok


def test_names_that_a_backup_brought_back_are_no_fault(tmp_path: Path, time: Time) -> None:
    """They are what they were; the chain says that they should be gone."""
    kept = year(tmp_path, time)
    with put_back(tmp_path, "receipts/personal"):
        day(kept, time)
        assert len(left(kept)) < 40
    report = Store(tmp_path, "boot-2").verify()
    assert (report.ok, report.expired) == (True, 0)


def test_a_clock_is_believed_when_it_goes_on_like_the_kernels() -> None:
    """After an hour, then daily; a jump of more than a minute costs another hour."""
    trust, wall = Trust(), 1.8e9
    assert trust.ask(wall, 5) is None
    assert trust.ask(wall + SETTLED_S - 1, 5 + SETTLED_S - 1) is None
    assert trust.ask(wall + SETTLED_S + 30, 5 + SETTLED_S) is True, "a clock that is nudged into place is no jump"
    wall += SETTLED_S + 30
    boot = 5 + SETTLED_S
    assert trust.ask(wall + DAY_S - 1, boot + DAY_S - 1) is None
    assert trust.ask(wall + DAY_S + 61, boot + DAY_S) is False
    wall, boot = wall + DAY_S + 61, boot + DAY_S
    assert trust.ask(wall + SETTLED_S, boot + SETTLED_S) is True
