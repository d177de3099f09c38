"""The chain in many files: rotation loses nothing, whenever the power goes, and a start reads the last ones only."""

from __future__ import annotations

import builtins
import io
import itertools
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sightglass import segments, store
from sightglass.receipts import Head
from sightglass.segments import Segments
from sightglass.store import Store
from sightglass.witness import Witness
from tests.unit.receipts_parts import (
    SMALL,
    PowerCut,
    chain_of,
    files_of,
    fill,
    mounted,
    names,
    power_cut,
    work,
    written,
)

pytestmark = pytest.mark.requirement("U5")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few events."""
    monkeypatch.setattr(segments, "FULL_BYTES", SMALL)


def test_the_chain_goes_on_across_segments(tmp_path: Path) -> None:
    """Nothing is lost, each event is read once and in order, each window stands in one file, and starts go on."""
    heads = []
    for boot in ("boot-1", "boot-2", "boot-3"):
        heads += work(Store(tmp_path, boot), 5)
    kept = Store(tmp_path, "boot-4")
    assert len(files_of(tmp_path)) > 4
    assert kept.verify().ok
    shown = list(kept.events())
    assert [event["n"] for event in shown] == [*range(1, kept.head.n + 1)]
    assert {head.hash for head in heads} <= {event["hash"] for event in shown}
    assert [event["who"]["user"] for event in shown if event["event"] == "opening"] == ["ann"] * 15
    for after in range(0, kept.head.n + 1, 7):
        assert [event["n"] for event in kept.events(after)] == [*range(after + 1, kept.head.n + 1)]
    for file in files_of(tmp_path):
        text = file.read_text()
        assert text.count('"opening"') == text.count('"closed"'), "a window stands in one file"
    assert store.verify(tmp_path / "receipts").ok, "a copy far away"


def test_a_full_segment_is_never_written_again(tmp_path: Path) -> None:
    """Not a byte, and its name says its last event."""
    kept = Store(tmp_path, "boot")
    work(kept, 4)
    full = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files_of(tmp_path)[:-1]}
    assert full
    work(Store(tmp_path, "boot-2"), 8)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in full} == full
    for file, (text, _) in full.items():
        assert f'"n":{int(file.stem.rpartition("-")[2])},' in text.splitlines()[-1].decode()


def test_a_rotation_writes_over_nothing(tmp_path: Path) -> None:
    """Somebody has put a file where the next segment would go: it stays, and the chain grows on."""
    kept = Store(tmp_path, "boot")
    while not kept.head.n or chain_of(tmp_path).stat().st_size < SMALL:
        kept.append("refused", None, {"why": "no"}, None)
    there = tmp_path / "receipts" / f"chain-{kept.head.n:012d}.jsonl"
    there.write_bytes(b"mine\n")
    kept.append("refused", None, {"why": "no"}, None)
    assert there.read_bytes() == b"mine\n"
    assert names(kept.verify()) == ["unreadable"]
    there.unlink()
    assert kept.verify().ok


@pytest.mark.parametrize("half", [False, True], ids=["before", "in the middle of"])
def test_a_power_cut_at_any_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    """At each change of the disk in turn, rotations and starts among them: what was acknowledged is there, the chain is
    whole, no false alarm, and no document without an event."""
    monkeypatch.setattr(segments, "FULL_BYTES", 700)
    seen: set[str] = set()
    for call in itertools.count(1):
        directory = tmp_path / str(call)
        directory.mkdir()
        heads: list[Head] = []
        with power_cut(monkeypatch, call, half=half) as calls:
            try:
                first = Store(directory, "boot-1")
                heads.append(first.head)
                for _ in range(2):
                    heads += work(first, 1)
                with chain_of(directory).open("ab") as chain:
                    chain.write(b'{"at":')
                heads += work(Store(directory, "boot-2"), 1)
                break
            except PowerCut:
                seen.add(calls[-1])
        kept = Store(directory, "boot-3")
        report = kept.verify()
        assert report.ok, (call, calls[-1], report.problems)
        found = {event["hash"]: event for event in kept.events()}
        assert all(head.hash in found for head in heads if head.n), (call, calls[-1])
        documents = {event["personal"] for event in found.values()} - {None}
        assert {file.name for file in (directory / "receipts" / "personal").iterdir()} == {
            f"{key}.json" for key in documents
        }
        work(kept, 1)
        assert Store(directory, "boot-4").verify().ok
        assert report.expired == 0
    assert seen >= {"open", "write", "fsync", "rename", "replace", "truncate"}, "the control: each kind of step was cut"
    assert call > 60
    assert len(files_of(directory)) > 2, "the control: there were rotations"


@pytest.mark.parametrize("disk", ["before", "after"])
def test_a_rotation_that_the_disk_refuses_appends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    """The name cannot be changed, or the new file cannot be made: the next event finds everything as it was."""
    kept = Store(tmp_path, "boot")
    while chain_of(tmp_path).stat().st_size < SMALL:
        kept.append("refused", None, {"why": "no"}, None)
    head, real = kept.head, os.open

    def full(*args: Any, **_: Any) -> Any:
        raise OSError(28, "No space left on device")

    def no_new(path: Any, flags: int, *args: Any) -> int:
        return full() if flags & os.O_CREAT else real(path, flags, *args)

    with monkeypatch.context() as patch:
        patch.setattr(os, *(("rename", full) if disk == "before" else ("open", no_new)))
        with pytest.raises(OSError, match="No space left"):
            kept.append("opening", "w-1", {}, {"user": "ann"})
        assert kept.head == head
        assert kept.verify().ok
    assert list((tmp_path / "receipts" / "personal").iterdir()) == []
    work(kept, 1)
    assert kept.verify().ok
    assert len(files_of(tmp_path)) == 2


def test_a_check_and_a_reader_beside_a_rotation_see_each_event_once(tmp_path: Path) -> None:
    """Both run in threads while the loop goes on writing."""
    kept = Store(tmp_path, "boot")
    work(kept, 2)
    check, reader, n = kept.verification(), kept.events(), kept.head.n
    first = next(reader)
    work(kept, 6)
    report = check()
    assert (report.ok, report.events) == (True, n)
    assert [event["n"] for event in (first, *reader)] == [*range(1, n + 1)]


def test_a_start_reads_the_last_segments_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so do the newest time, the last windows, and a page of events."""
    for boot in range(6):
        work(Store(tmp_path, f"boot-{boot}"), 10)
    old = files_of(tmp_path)
    assert len(old) > 8
    opened: list[str] = []
    real = io.open

    def spy(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(Path(file).name if isinstance(file, str | Path) else "")
        return real(file, *args, **options)

    monkeypatch.setattr(io, "open", spy)
    monkeypatch.setattr(builtins, "open", spy)
    kept = Store(tmp_path, "boot-x")
    kept.newest()
    assert list(kept.recent())
    assert list(kept.events(kept.head.n - 2))
    assert {name for name in opened if name.startswith("chain-")} <= {old[-2].name, files_of(tmp_path)[-2].name}
    opened.clear()
    assert len(list(kept.events())) == kept.head.n
    assert {file.name for file in old} <= set(opened), "the control: a full reading is seen"


@pytest.mark.requirement("O1")
def test_on_a_full_disk_chain_witness_and_rotation_stay_consistent(tmp_path: Path) -> None:
    """A real small disk, filled again and again at another byte; what was refused was not done, what was done stays."""
    with mounted(tmp_path / "disk", "160k") as state:
        kept = Store(state, "boot")
        done = [kept.head]
        refused = 0
        for size in (0, 1, 700, 3000, 4095, 4096, 6000, 12000):
            ballast = fill(state)
            os.truncate(ballast, ballast.stat().st_size - size)
            for n in range(12):
                try:
                    done.append(kept.append("refused", None, {"why": "x" * 90 * n}, {"user": "bob"}))
                except OSError:
                    refused += 1
            assert kept.verify().ok
            again = Store(state, "boot-again")
            assert names(again.verify()) == []
            ballast.unlink()
            kept = Store(state, "boot-next")
            assert kept.verify().ok
        assert refused > 10, "the control: the disk was full"
        assert len(files_of(state)) > 3
        found = {event["hash"]: event for event in kept.events()}
        assert all(head.hash in found for head in done)
        keys = {f"{event['personal']}.json" for event in found.values() if event["personal"]}
        assert {file.name for file in (state / "receipts" / "personal").iterdir()} == keys


def test_a_line_without_end_is_read_in_pieces(tmp_path: Path) -> None:
    """Somebody's 20 MB without a line's end at the end of the chain: a tear, cut off and named as one."""
    work(Store(tmp_path, "boot"), 1)
    with chain_of(tmp_path).open("ab") as chain:
        chain.write(b"\0" * (20 << 20))
    longest = max(len(line) for line in Segments(tmp_path / "receipts").lines())
    assert longest <= 16385
    kept = Store(tmp_path, "boot-2")
    assert [event["event"] for event in written(tmp_path)][-2:] == ["torn", "started"]
    assert kept.verify().ok


def test_a_hundred_thousand_events_do_not_slow_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the real size of a segment; the bound is generous, for a busy machine."""
    monkeypatch.setattr(segments, "FULL_BYTES", 1 << 20)
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", lambda _fd: None)
        kept = Store(tmp_path, "boot")
        disk.setattr(Witness, "write", lambda _self, _head: None)
        for n in range(20_000):
            work_once(kept, f"w-{n:012x}")
    kept._witness.write(kept.head)
    assert Store(tmp_path, "boot-2").verify().ok
    started = time.perf_counter()
    kept = Store(tmp_path, "boot-3")
    took = time.perf_counter() - started
    print(f"{kept.head.n} events in {len(files_of(tmp_path))} files: a start takes {took:.3f} s")  # noqa: T201
    assert kept.head.n > 100_000
    assert took < 2
    assert len(files_of(tmp_path)) > 20


def work_once(kept: Store, window: str) -> None:
    """A window without a person, as short as can be."""
    for name in ("opening", "opened", "joined", "left", "closed"):
        kept.append(name, window, {"cameras": ["cam1"], "cause": "closed", "minutes": 15}, None)
