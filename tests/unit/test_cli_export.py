"""`sightglass receipts export`: a file for its owner, never over another one, verified without an agent."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from sightglass import cli_export
from sightglass.client import PAGE
from tests.unit.export_parts import ONE, TWO, Record, record
from tests.unit.terminal import Terminal

pytestmark = pytest.mark.requirement("U5")
EXPORT = ["receipts", "export"]


@pytest.fixture
def terminal(terminal: Terminal) -> Terminal:
    """A terminal beside an agent with the record of export_parts."""
    terminal.agent.events = record().events
    return terminal


def test_an_export_is_verified_far_from_its_agent(terminal: Terminal, tmp_path: Path) -> None:
    """All of it and a window's; nothing is asked then; a changed word is named, and ends with 1."""
    for words, events, after in ([], 20, 0), (["--window", TWO], 4, 16), (["--since", "2026-11-24"], 7, 13):
        file = tmp_path / f"{events}.json"
        assert terminal.run(*EXPORT, *words, "--output", str(file)) == (0, "", "")
        assert file.stat().st_mode & 0o777 == 0o600
        terminal.agent.asked.clear()
        code, said, _ = terminal.run("receipts", "verify", str(file))
        since = f" after event {after}" if after else ""
        assert (code, said.startswith(f"the chain of lab-gw1 is whole{since}: {events} events, ")) == (
            0,
            True,
        )
        assert terminal.agent.asked == []
        file.write_bytes(file.read_bytes().replace(b"nobody-joined", b"deadline"))
        code, said, _ = terminal.run("receipts", "verify", "--json", str(file))
        assert (code, {problem["name"] for problem in json.loads(said)["problems"]}) == (1, {"edited"})


def at(monkeypatch: pytest.MonkeyPatch, now: str) -> None:
    """The clock of whoever exports or checks shows a day."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromisoformat(now).replace(tzinfo=tz)

    monkeypatch.setattr(cli_export, "datetime", Clock)


def checked(terminal: Terminal, file: Path, known: dict[str, Any] | None = None) -> tuple[int, list[str]]:
    """The exit code of `verify FILE`, and its lines; `known` is an event that somebody remembers."""
    words = ["--known", f"{known['n']}:{known['hash']}"] if known else []
    code, said, _ = terminal.run("receipts", "verify", str(file), *words)
    return code, said.splitlines()


def test_what_a_file_cannot_prove_is_said(terminal: Terminal, tmp_path: Path) -> None:
    """Beside how many names are gone: that the record ends there, unless its last event is remembered."""
    file, (*_, before, end) = tmp_path / "x.json", terminal.agent.events
    terminal.run(*EXPORT, "--window", TWO, "--output", str(file))
    whole = [
        f"the chain of lab-gw1 is whole after event 16: 4 events, the last is 20:{end['hash']}",
        "events whose names are gone: 0",
    ]
    ends = "the file itself says that this part of the record ends there; --known proves it"
    assert checked(terminal, file) == (0, [*whole, ends])
    assert checked(terminal, file, before) == (0, [*whole, ends])
    assert checked(terminal, file, end) == (0, whole)


def test_names_that_are_gone_are_counted_and_whose_word_it_is_that_they_expired(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event's in the file, or its first line's alone, which is worth nothing before a year has passed."""
    grown = record().add("30T10:00:00", "expired", to=13).events
    terminal.agent.events = [{**event, "who": None} if event["n"] <= 13 else event for event in grown]
    every, window = tmp_path / "every.json", tmp_path / "window.json"
    at(monkeypatch, "2027-12-01")
    terminal.run(*EXPORT, "--output", str(every))
    terminal.run(*EXPORT, "--window", ONE, "--output", str(window))
    gone, alone = (
        "events whose names are gone: 8",
        "that the names of 8 of them expired is said by the file's first line alone",
    )
    assert checked(terminal, every, grown[20])[1][1:] == [gone]
    code, said = checked(terminal, window, grown[12])
    assert (code, said[1:]) == (0, [gone, alone])
    at(monkeypatch, "2026-12-01")
    assert checked(terminal, every, grown[20])[1][1:] == [gone], "the control: the chain's own word needs no clock"
    code, said = checked(terminal, window, grown[12])
    assert (code, {line.partition(":")[0] for line in said[:-1]}, said[-1]) == (1, {"personal-missing"}, gone)


def test_the_sheet_is_one_file(terminal: Terminal, tmp_path: Path) -> None:
    """Of everything, or of one window and no other."""
    file = tmp_path / "sheet.html"
    assert terminal.run(*EXPORT, "--format", "html", "--window", ONE, "--output", str(file))[0] == 0
    text = file.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert ONE in text
    assert TWO not in text
    assert TWO in terminal.run(*EXPORT, "--format", "html")[1]


def test_nothing_is_written_over_and_no_half_file_is_left(terminal: Terminal, tmp_path: Path) -> None:
    """A file, a link to nowhere, a folder that is not there; an agent that fails in the middle."""
    file, link = tmp_path / "kept.json", tmp_path / "link.json"
    file.write_text("kept")
    link.symlink_to(tmp_path / "nowhere")
    for path in (file, link):
        assert terminal.run(*EXPORT, "--output", str(path)) == (
            2, "", f"--output: {path} is there already, and is not written over\n")  # fmt: skip
    assert (file.read_text(), (tmp_path / "nowhere").exists()) == ("kept", False)
    gone = tmp_path / "gone" / "x"
    assert terminal.run(*EXPORT, "--output", str(gone)) == (2, "", f"--output: {gone}: No such file or directory\n")
    made = Record()
    for _ in range(2 * PAGE):
        made.add("23T07:00:00", "opened", ONE)
    terminal.agent.events = made.events
    asked, real = [0], terminal.agent.receipts

    async def broken(after: int, limit: int) -> list[dict[str, Any]]:
        asked[0] += 1
        if asked[0] == 5:
            raise RuntimeError
        return await real(after, limit)

    terminal.agent.receipts = broken  # type: ignore[method-assign]
    try:
        half = tmp_path / "half.json"
        assert terminal.run(*EXPORT, "--output", str(half))[0] == 4
        assert asked[0] == 5
        assert not half.exists()
    finally:
        del terminal.agent.receipts


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--format", "pdf"], 2, "argument --format: invalid choice: 'pdf'"),
        (["--window", "../x"], 2, "argument --window: must be an id such as w-0123456789ab, not '../x'"),
        (["--window", "w-ffffffffffff"], 2, "--window: w-ffffffffffff is not in the record"),
        (["--window", ONE, "--since", "2026-11-01"], 2, "--window: goes without --since and --until"),
        (["--since", "soon"], 2, "argument --since: must be a date or a time such as 2026-11-30 or "),
        (["--until", "9999-12-31T23:59:59.9+99:00"], 2, "argument --until: must be a date or a time"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], 2, "--until: must not be before --since (2026-11-02"),
    ],
    ids=str,
)
def test_bad_words_are_one_sentence(terminal: Terminal, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    """The option, the rule, the value; and no file."""
    file = tmp_path / "out"
    found, out, err = terminal.run(*EXPORT, *words, "--output", str(file))
    assert (found, out) == (code, "")
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not file.exists()


def test_a_day_means_all_of_it(terminal: Terminal) -> None:
    """`--until` a date has that day's events; a time is a time, with or without a zone."""
    for until, last in ("2026-11-25", 15), ("2026-11-25T08:59", 14), ("2026-11-25T10:00+01:00", 15):
        assert json.loads(terminal.run(*EXPORT, "--until", until)[1])["last"]["n"] == last, until


def test_what_is_to_be_verified_must_be_an_export(terminal: Terminal, tmp_path: Path) -> None:
    """One sentence for a file that is gone, is another one, or begins after a known event."""
    file = tmp_path / "x.json"
    assert terminal.run("receipts", "verify", str(file)) == (2, "", f"{file}: No such file or directory\n")
    assert terminal.run("receipts", "verify", str(tmp_path)) == (2, "", f"{tmp_path}: Is a directory\n")
    file.write_text('{"events": []}')
    code, _, said = terminal.run("receipts", "verify", str(file))
    assert (code, said.startswith(f"{file}: is no export of receipts")) == (2, True)
    file.unlink()
    terminal.run(*EXPORT, "--window", TWO, "--output", str(file))
    code, _, said = terminal.run("receipts", "verify", str(file), "--known", f"3:{'ab' * 32}")
    assert (code, said) == (2, f"{file}: begins after event 16, so that it cannot tell of event 3\n")
    assert terminal.run("receipts", "verify", str(file), "--known", f"20:{'ab' * 32}")[0] == 1
    assert terminal.run("receipts", "verify", str(file), "--dir", str(tmp_path))[0] == 2


def test_a_windows_events_and_viewers_are_shown(terminal: Terminal) -> None:
    """`show --window`, and with `--viewers` a line for each visit; shared accounts are flagged in both."""
    code, said, _ = terminal.run("receipts", "show", "--window", ONE)
    assert (code, said.count("\n")) == (0, 11)
    assert "the shared account admin (claimed name: anna)" in said
    assert "the shared account root (nobody named)" in said
    code, said, _ = terminal.run("receipts", "show", "--window", ONE, "--viewers")
    assert (code, said.splitlines()) == (0, [
        "anna@example.org on laptop-anna (page): 2026-11-23T07:00:20.000+00:00 to 2026-11-23T07:09:00.000+00:00, "
        "8 min 40 s, 9.3 MB, cut: closed within 2.4 ms",
        "carl@example.org on phone-carl (player): 2026-11-23T07:01:00.000+00:00 to 2026-11-23T07:04:00.000+00:00, "
        "3 min 0 s, 1.8 MB, cut: capability-gone within 1.7 ms",
    ])  # fmt: skip
    visits = json.loads(terminal.run("receipts", "show", "--window", ONE, "--viewers", "--json")[1])["visits"]
    assert [visit["bytes"] for visit in visits] == [9_300_000, 1_800_000]
    assert terminal.run("receipts", "show", "--window", TWO, "--viewers")[1] == "nobody watched\n"
    for words, why in (
        (["--viewers"], "--viewers: needs --window ID, whose viewers are meant\n"),
        (["--window", "w-ffffffffffff"], "--window: w-ffffffffffff is not in the record\n"),
    ):
        assert terminal.run("receipts", "show", *words) == (2, "", why)
