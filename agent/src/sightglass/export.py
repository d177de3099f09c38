"""A part of the record as one file that can be verified far from its gateway, without an agent. Pure.

One line that says what it is, one line an event, one line with the checksum of all before it; together they are one
JSON object. Lines are written in one form only (receipts.canonical), so that both sides need memory for one, and each
byte counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sightglass import receipts
from sightglass.expiry import KEEP
from sightglass.receipts import NO_HEAD, Head, time_of
from sightglass.verify import Problem, Report, verify

FORMAT = 1
MOST_LINE = 1 << 17
"""Bytes of the longest line: an event's and its personal fields' are far shorter."""
_EVENTS, _SEAL = b',"events":[\n', b'],"sha256":"'
_HEADS = ("after", "last", "chain")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part: a window's, or the events from `since` to `until`, both included, with the whole of the windows among
    them. All None: everything."""

    window: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def has(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is asked for; one whose time cannot be read is in no span of time."""
        if self.window is not None:
            return bool(event["window"] == self.window)
        at = time_of(event)
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


@dataclass(frozen=True, slots=True)
class Span:
    """Events after `after` up to `last`, without a gap; the same twice: none. Up to event `expired_to` personal fields
    have expired. `chain` is the newest event of the whole chain."""

    after: Head
    last: Head
    chain: Head
    expired_to: int


def span(events: Iterable[Mapping[str, Any]], wanted: Wanted) -> Span:
    """Where the wanted part stands in the whole chain's events, with all that stands between its events."""
    before, first, last, expired_to = NO_HEAD, NO_HEAD, NO_HEAD, 0
    window: tuple[str, Head] | None = None
    """The newest window and the head before it."""
    found, ongoing = False, None
    for event in events:
        if event["event"] == "opening" and event["window"]:
            window = (event["window"], before)
        head = Head(event["n"], event["hash"])
        if event["event"] == "expired" and type(event["data"].get("to")) is int:
            expired_to = max(expired_to, min(event["data"]["to"], event["n"]))
        if wanted.has(event):
            if not found:
                first = window[1] if window and window[0] == event["window"] else before
            found, last, ongoing = True, head, event["window"]
        elif found and event["window"] and event["window"] == ongoing:
            last = head
        elif not found:
            first = last = head
        before = head
    return Span(first, last, before, expired_to)


def document(about: Mapping[str, Any], part: Span, events: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The file, in pieces. `about` has site, timezone, made, version and verify (the agent's verdict on its whole
    chain); `events` are those of the part, with their personal fields as `who`."""
    sha = hashlib.sha256()

    def counted(piece: bytes) -> bytes:
        sha.update(piece)
        return piece

    yield counted(receipts.canonical({**about, "format": FORMAT, **asdict(part)})[:-1] + _EVENTS)
    before = b""
    for event in events:
        yield counted(before + receipts.canonical(event))
        before = b",\n"
    yield counted((b"\n" if before else b"") + _SEAL)
    yield sha.hexdigest().encode() + b'"}\n'


def check(lines: Iterable[bytes], now: datetime, known: Sequence[Head] = ()) -> tuple[dict[str, Any], Report]:
    """What an exported file says of itself, and the verdict on it; `known` are events that somebody remembers.

    Names that are gone without an `expired` event in the file have only its first line to speak for them, which is
    believed of events that are old enough at `now`, by the clock of whoever checks.

    Beyond what `verify` names: `edited` and `personal-edited` for what does not change an event's hash, `torn` for a
    file that ends too soon, `altered` for any other byte, `not-whole` where the agent's own verdict of then was
    no good one. Raises ValueError with a sentence for what is no export, or does not reach back to a known event.
    """
    source = iter(lines)
    first = next(source, b"")
    about = _about(first)
    after, last, chain = (Head(about[name]["n"], about[name]["hash"]) for name in _HEADS)
    early = [head for head in known if head.n < after.n]
    if early:
        raise ValueError(f"begins after event {after.n}, so that it cannot tell of event {early[0].n}")
    reader = _Reader(source, hashlib.sha256(first))
    # Who exports up to the chain's end has every event that lets expire in the file.
    excuse = _excuse(about["expired_to"] if last.n < chain.n else 0, _made(about), now)
    report = verify(reader.chain(), lambda _key: reader.who, last=last, known=known, start=after, excuse=excuse)
    problems = [replace(problem, line=problem.line + 1) for problem in report.problems]
    named = {problem.line for problem in problems}
    problems += [problem for problem in reader.problems if problem.line not in named]
    if not problems and not reader.sealed:
        problems.append(
            Problem("altered", reader.number, "the file is not as it was exported: its checksum is another")
        )
    if not problems and not about["verify"]["ok"]:
        why = "; ".join(f"{one['name']}: {one['why']}" for one in about["verify"]["problems"][:3])
        problems.append(Problem("not-whole", 1, f"when this was exported, the whole chain was not: {why}"))
    return about, replace(report, problems=tuple(problems))


def _excuse(expired_to: int, made: datetime | None, now: datetime) -> Callable[[Mapping[str, Any]], bool]:
    """What the first line's `expired_to` is worth. Anybody can write it and `made` anew; an event's time stands in the
    chain."""
    latest = min(made or now, now)

    def excuse(event: Mapping[str, Any]) -> bool:
        at = time_of(event)
        # After now: a wrong clock's, which tells no age.
        return event["n"] <= expired_to and at is not None and (at > now or at + KEEP <= latest)

    return excuse


def _made(about: Mapping[str, Any]) -> datetime | None:
    return time_of({"at": about["made"]})


def _about(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line.removesuffix(_EVENTS) + b"}")
        shaped = (
            line.endswith(_EVENTS)
            and found["format"] == FORMAT
            and all(isinstance(found[name], str) for name in ("site", "timezone", "made", "version"))
            and _made(found) is not None
            and all(found[name] == asdict(Head(**found[name])) for name in _HEADS)
            and all(type(found[name]["n"]) is int and len(found[name]["hash"]) == len(receipts.ZERO) for name in _HEADS)
            and type(found["expired_to"]) is int
            and isinstance(found["verify"]["ok"], bool)
            and all(isinstance(one["name"] + one["why"], str) for one in found["verify"]["problems"])
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        shaped = False
    if not shaped:
        raise ValueError(
            "is no export of receipts, as `sightglass receipts export` writes it: its first line is another"
        )
    about: dict[str, Any] = found
    return about


@dataclass(slots=True)
class _Reader:
    """Takes the lines after the first one; `who` are the personal fields of the event that was read last."""

    lines: Iterator[bytes]
    sha: Any
    who: Mapping[str, Any] | None = None
    sealed: bool = False
    number: int = 1
    problems: list[Problem] = field(default_factory=list)

    def chain(self) -> Iterator[bytes]:
        """The events as the chain has them."""
        for raw in self.lines:
            self.number += 1
            if raw.startswith(_SEAL):
                self.sha.update(_SEAL)
                whole = raw == _SEAL + self.sha.hexdigest().encode() + b'"}\n'
                self.sealed = whole and next(self.lines, None) is None
                return
            self.sha.update(raw)
            yield self._event(raw.removesuffix(b"\n").removesuffix(b","))
        self._name("torn", "the file ends before its last line")

    def _event(self, text: bytes) -> bytes:
        self.who = None
        try:
            found = json.loads(text)
            written = receipts.canonical(found)
            line = receipts.line({name: value for name, value in found.items() if name != "who"})
        except (ValueError, RecursionError, AttributeError):
            return b"\n"
        who = found.get("who")
        if written != text:
            self._name("edited", f"line {self.number} is not as it was exported")
        if who is not None and (not isinstance(who, dict) or found.get("personal") is None):
            self._name("personal-edited", f"line {self.number} has personal fields that nobody recorded")
        self.who = who if isinstance(who, dict) else None
        return line

    def _name(self, name: str, why: str) -> None:
        if len(self.problems) < 100:
            self.problems.append(Problem(name, self.number, why))
