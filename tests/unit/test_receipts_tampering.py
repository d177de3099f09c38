"""What people do to the files of the record, beside a running agent or a stopped one: each is named, then and later."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightglass import receipts, segments, store
from sightglass.receipts import Head
from sightglass.store import Store
from tests.unit.receipts_parts import SMALL, chain_of, files_of, names, put_back, work, written

pytestmark = pytest.mark.requirement("U5")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few events."""
    monkeypatch.setattr(segments, "FULL_BYTES", SMALL)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A gateway's state directory with some segments; its agent has gone."""
    directory = tmp_path / "state"
    directory.mkdir()
    work(Store(directory, "boot-1"), 6)
    work(Store(directory, "boot-2"), 1)
    assert len(files_of(directory)) > 3
    return directory


def rolled_back(directory: Path) -> list[str]:
    """What agents have found at their starts."""
    return [event["data"]["what"] for event in written(directory) if event["event"] == "rolled-back"]


def keep_lines(directory: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Another content of the whole chain, in one file."""
    lines = [line for file in files_of(directory) for line in file.read_bytes().splitlines(keepends=True)]
    for file in files_of(directory):
        file.unlink()
    chain_of(directory).write_bytes(b"".join(change(lines)))


def test_an_untouched_chain_is_whole_at_every_start(state: Path) -> None:
    """The control of all that follows: starts, windows and power cuts between line and witness alarm nobody."""
    for boot in range(4):
        kept = Store(state, f"boot-{boot}")
        assert (kept.verify().ok, rolled_back(state)) == (True, [])
        with put_back(state, "head.json"):
            work(kept, boot)
    assert Store(state, "boot-x").verify().ok
    assert rolled_back(state) == []


def test_an_older_copy_is_named_at_the_next_start_and_for_ever(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The whole folder, names included, as a backup puts it back: in the log, by `verify`, and at every later start."""
    with put_back(state, "receipts"):
        kept = Store(state, "boot-3")
        last = work(kept, 2)[-1]
    old = written(state)[-1]
    again = Store(state, "boot-4")
    event = next(event for event in again.events() if event["event"] == "rolled-back")
    assert event["data"] == {"what": "shortened", "known": str(last), "found": f"{old['n']}:{old['hash']}"}
    assert f"receipts: shortened: the chain ends at {old['n']}:" in caplog.text
    assert names(again.verify()) == ["shortened"]
    work(again, 4)
    later = Store(state, "boot-5")
    assert names(later.verify()) == ["shortened"], "for ever, and once"
    assert rolled_back(state) == ["shortened"]
    assert names(store.verify(state / "receipts")) == ["shortened"], "also far from the gateway"
    assert names(later.verify([last])) == ["shortened", "rewritten"], "whoever remembers the lost event is told"


@pytest.mark.parametrize("lost", [1, 2, 5, 99], ids=["last event", "two events", "five events", "everything"])
def test_events_that_are_gone_from_the_end_are_named(state: Path, lost: int) -> None:
    """Cut off by hand, or by a file system that forgot what it had promised."""
    keep_lines(state, lambda lines: lines[: max(0, len(lines) - lost)])
    kept = Store(state, "boot-3")
    assert rolled_back(state) == ["shortened"]
    assert names(kept.verify()) == ["shortened"]


def test_a_chain_that_is_gone_is_named(state: Path) -> None:
    """The folder with all its files; the witness knows better."""
    shutil.rmtree(state / "receipts")
    kept = Store(state, "boot-3")
    assert rolled_back(state) == ["shortened"]
    assert names(kept.verify()) == ["shortened"]
    assert kept.head.n == 2


def test_another_chain_of_the_same_length_or_longer_is_named(tmp_path: Path, state: Path) -> None:
    """A copied card, of a gateway that has gone another way."""
    for windows in (7, 12):
        other = tmp_path / f"other-{windows}"
        other.mkdir()
        work(Store(other, "boot-1"), windows)
        assert Store(other, "boot-2").verify().ok, "the control: by itself it is whole"
        here = tmp_path / f"here-{windows}"
        shutil.copytree(state, here)
        shutil.rmtree(here / "receipts")
        shutil.copytree(other / "receipts", here / "receipts")
        assert names(Store(here, "boot-3").verify()) == ["rewritten"]


@pytest.mark.parametrize("witness", [None, b"", b"{}", b"\xff", b'{"head":5}', b'{"head":"1:xyz"}', b"[" * 9999])
def test_a_witness_that_is_gone_or_unreadable_is_named(state: Path, witness: bytes | None) -> None:
    """Else removing it would be the way to shorten the chain in silence. A new gateway has none: that is no fault."""
    (state / "head.json").unlink()
    if witness is not None:
        (state / "head.json").write_bytes(witness)
    kept = Store(state, "boot-3")
    assert names(kept.verify()) == ["unwitnessed"]
    work(kept, 1)
    assert names(Store(state, "boot-4").verify()) == ["unwitnessed"], "once"


def test_the_first_start_after_agents_without_a_witness_is_no_fault(tmp_path: Path) -> None:
    """An upgrade. From then on there is one, and its loss is named."""
    head, lines = receipts.NO_HEAD, []
    for name in ("started", "opening", "closed", "started", "refused"):
        event = receipts.event(head, "2026-11-23T10:00:00.000+00:00", "boot", None, name, {}, None)
        head = Head(event["n"], event["hash"])
        lines.append(receipts.line(event))
    (tmp_path / "receipts").mkdir()
    chain_of(tmp_path).write_bytes(b"".join(lines))
    assert Store(tmp_path, "boot-1").verify().ok
    assert Store(tmp_path, "boot-2").verify().ok
    (tmp_path / "head.json").unlink()
    assert names(Store(tmp_path, "boot-3").verify()) == ["unwitnessed"]


def test_an_older_witness_beside_the_true_chain_is_no_fault(state: Path) -> None:
    """It is behind, as after a power cut; the chain goes on from what it knows, segments away."""
    with put_back(state, "head.json"):
        work(Store(state, "boot-3"), 9)
    assert Store(state, "boot-4").verify().ok
    assert rolled_back(state) == []


def test_what_goes_back_together_is_seen_by_who_remembers(state: Path) -> None:
    """The whole card of last week: nothing on it can tell. The journal or the controller has the head, and does."""
    with put_back(state, "receipts", "head.json"):
        last = work(Store(state, "boot-3"), 1)[-1]
    kept = Store(state, "boot-4")
    assert kept.verify().ok, "the control: on the gateway it is whole"
    assert names(kept.verify([last])) == ["shortened"]
    work(kept, 2)
    assert names(kept.verify([last])) == ["rewritten"]


def test_the_end_of_a_window_is_in_the_journal(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its number and hash, in the form that `--known` takes; nothing else of a window's course."""
    caplog.set_level("INFO")
    kept = Store(state, "boot-3")
    heads = work(kept, 2)
    said = [message for message in caplog.messages if message.startswith("receipts:")]
    assert said == [f"receipts: the last event is {head}" for head in (heads[2], heads[5])]
    assert kept.verify([Head.parse(said[0].rpartition(" ")[2])]).ok


def test_older_personal_documents_are_named(state: Path) -> None:
    """Only the names go back to last week: those of this week are missing."""
    with put_back(state, "receipts/personal"):
        work(Store(state, "boot-3"), 2)
    assert names(Store(state, "boot-4").verify()) == ["personal-missing", "personal-missing"]


def test_a_rollback_is_recorded_before_the_witness_forgets(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full at that start: a later start still knows."""
    keep_lines(state, lambda lines: lines[:-3])

    def full(_segments: segments.Segments, _line: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(segments.Segments, "write", full)
        kept = Store(state, "boot-3")
        assert names(kept.verify()) == [], "the control: nothing is written yet"
    assert rolled_back(state) == []
    work(Store(state, "boot-4"), 1)
    assert rolled_back(state) == ["shortened"]


def test_a_torn_line_beside_lost_events_hides_nothing(state: Path) -> None:
    """Cutting in the middle of a line looks like a power cut; the witness tells them apart."""
    keep_lines(state, lambda lines: [*lines[:-2], lines[-2][:40]])
    kept = Store(state, "boot-3")
    assert [event["event"] for event in written(state)][-3:] == ["rolled-back", "torn", "started"]
    assert names(kept.verify()) == ["shortened"]


def swap(files: list[Path]) -> None:
    """Two segments change places."""
    first, second = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(second)
    files[1].write_bytes(first)


SEGMENTS: dict[str, tuple[Callable[[list[Path]], object], set[str]]] = {
    "first deleted": (lambda files: files[0].unlink(), {"missing"}),
    "middle deleted": (lambda files: files[1].unlink(), {"missing"}),
    "two swapped": (swap, {"reordered"}),
    "one twice": (lambda files: files[0].write_bytes(files[1].read_bytes()), {"missing", "reordered"}),
    "one edited": (lambda f: f[1].write_bytes(f[1].read_bytes().replace(b"cam1", b"cam2", 1)), {"edited"}),
    "one emptied": (lambda files: files[1].write_bytes(b""), {"missing"}),
    "one cut": (lambda files: files[1].write_bytes(files[1].read_bytes()[:-1]), {"torn", "missing"}),
    "renamed": (
        lambda files: files[0].rename(files[0].with_name("chain-000000999999.jsonl")),
        {"reordered", "missing"},
    ),
}


@pytest.mark.parametrize("running", [True, False], ids=["agent running", "agent stopped"])
@pytest.mark.parametrize("done", SEGMENTS)
def test_what_is_done_to_a_segment_is_named(state: Path, done: str, running: bool) -> None:
    """Each of them, with the agent there or not, and again after its next start."""
    change, expected = SEGMENTS[done]
    kept = Store(state, "boot-3")
    assert kept.verify().ok
    change(files_of(state))
    if not running:
        kept = Store(state, "boot-4")
    found = set(names(kept.verify()))
    assert found & expected, found
    assert found <= expected | {"shortened", "rewritten", "added", "reordered"}, found
    work(kept, 3)
    assert set(names(Store(state, "boot-5").verify())) & expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_byte_of_any_segment_counts(data: st.DataObject) -> None:
    """Changed, or taken away with all that follows in its file; named at once, and by an agent that starts then."""
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FULL_BYTES", SMALL)
        directory = Path(made)
        kept = Store(directory, "boot-1")
        work(kept, 5)
        file = data.draw(st.sampled_from(files_of(directory)))
        text = file.read_bytes()
        at = data.draw(st.integers(0, len(text) - 1))
        if data.draw(st.booleans()):
            byte = data.draw(st.integers(0, 255).filter(lambda value: value != text[at]))
            file.write_bytes(text[:at] + bytes([byte]) + text[at + 1 :])
        else:
            file.write_bytes(text[:at])
        assert not kept.verify().ok
        again = Store(directory, "boot-2")
        assert not again.verify().ok
        work(again, 2)
        assert not Store(directory, "boot-3").verify().ok
