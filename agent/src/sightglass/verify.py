"""The verdict on a chain of receipts: what was done to it, by name. Pure; needs no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sightglass.receipts import MOST_LINE, NO_HEAD, Head, as_written, digest, parse

MOST_PROBLEMS = 100
"""A report names the first so many, and counts the rest."""
ROLLED_BACK = ("shortened", "rewritten", "unwitnessed")
"""What an agent may find at its start: the chain ends before what was last written, or has another event there, or
nobody remembers what was there."""
Documents = Callable[[str], Mapping[str, Any] | None]
"""Finds a personal document by its hash; None when it is gone."""
Excuse = Callable[[Mapping[str, Any]], bool]
"""Whether an event's personal fields may have expired by an event that is not among the lines."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the chain: a stable name, the line (from 1, counted over all segments), and a sentence."""

    name: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a chain. `gone` counts the personal documents that are gone; of them `expired`, which is no
    problem; and of those `excused`, for which no event of the chain speaks."""

    events: int
    head: Head
    problems: tuple[Problem, ...]
    expired: int
    gone: int = 0
    excused: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def answer(self) -> dict[str, Any]:
        """As the API and the command say it, without the chain's head: `{"ok", "events", "expired", "problems"}`."""
        problems = [asdict(problem) for problem in self.problems]
        return {"ok": self.ok, "events": self.events, "expired": self.expired, "problems": problems}


def verify(
    lines: Iterable[bytes],
    personal: Documents | None,
    *,
    last: Head | None = None,
    known: Sequence[Head] = (),
    start: Head = NO_HEAD,
    excuse: Excuse = lambda _event: False,
) -> Report:
    """Check a chain from its first line. `personal` None: no personal documents came along, none are asked for.

    A part of a chain begins after the event `start`, and remembered events before it are not looked for. `excuse` is
    asked about personal fields that are gone, since the event that says so may stand after the part.

    `last` is the event that the chain must end with, `known` are events that somebody remembers: without them, events
    removed from the end leave no trace. Names what it finds: `torn` (the last line is not whole), `unreadable`,
    `edited` (an event is not written as its hash says), `missing`, `reordered` (also: repeated), `broken` (an event
    with the right number that does not follow the one before: replaced), `shortened` and `rewritten` (a remembered
    event is not there, or another one is), `added` (events after the last), `personal-edited`, `personal-missing`
    (gone, and no `expired` event says so). What an agent found at its start and wrote down (`rolled-back`) is named for
    ever: `shortened`, `rewritten` or `unwitnessed`.
    """
    remembered = [head for head in (*known, *([last] if last else [])) if head.n >= max(1, start.n)]
    check = _Check(personal, {head.n for head in remembered}, start, excuse)
    check.hashes[start.n] = {start.hash}
    for number, raw in enumerate(lines, start=1):
        check.line(number, raw)
    return check.report(remembered, last)


@dataclass(slots=True)
class _Check:
    """What has been read so far. What follows is judged by what stands there, so that one change is named once."""

    personal: Documents | None
    asked: set[int]
    head: Head
    excuse: Excuse
    number: int = 0
    expired_to: int = 0
    seen: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    gaps: list[tuple[int, range]] = field(default_factory=list)
    gone: list[tuple[int, int, bool]] = field(default_factory=list)
    hashes: dict[int, set[str]] = field(default_factory=dict)

    def line(self, number: int, raw: bytes) -> None:
        """Take the next line."""
        self.number = number
        found = parse(raw)
        if found is None:
            whole = raw.endswith(b"\n") or len(raw) > MOST_LINE
            name, why = ("unreadable", "is no event") if whole else ("torn", "is not whole")
            self._name(name, f"line {number} {why}")
            return
        n = found["n"]
        if not as_written(found, raw):
            self._name("edited", f"event {n} was changed after it was written")
        if n <= self.head.n:
            self._name("reordered", f"event {n} stands after event {self.head.n}")
        elif n > self.head.n + 1:
            self.gaps.append((len(self.problems), range(self.head.n + 1, n)))
            self._name("missing", f"event {n} stands where event {self.head.n + 1} belongs")
        elif found["prev"] != self.head.hash:
            self._name("broken", f"event {n} does not follow the event before it")
        self.head = Head(n, found["hash"])
        self.seen.append(n)
        if n in self.asked:
            self.hashes.setdefault(n, set()).add(found["hash"])
        self._meaning(n, found)

    def report(self, remembered: Sequence[Head], last: Head | None) -> Report:
        """After the last line."""
        later = [(n, number, excused) for n, number, excused in self.gone if n > self.expired_to]
        excused = sum(one for _, _, one in later)
        expired = len(self.gone) - len(later) + excused
        for n, number, one in later:
            if not one:
                why = f"the personal fields of event {n} are gone, and did not expire"
                self.problems.append(Problem("personal-missing", number, why))
        self.seen.sort()
        for at, gap in self.gaps:
            first = bisect_left(self.seen, gap.start)
            if first < len(self.seen) and self.seen[first] < gap.stop:
                self.problems[at] = replace(self.problems[at], name="reordered")
        newest = self.seen[-1] if self.seen else self.head.n
        for head in remembered:
            if newest < head.n:
                self._name("shortened", f"the last event is {newest}, event {head.n} was seen before")
            elif head.hash not in self.hashes.get(head.n, ()):
                self._name("rewritten", f"event {head.n} is not the one that was seen before")
        if last is not None and newest > last.n:
            self._name("added", f"event {newest} was not written by this agent, its last one is {last.n}")
        more = len(self.problems) - MOST_PROBLEMS
        if more > 0:
            self.problems[MOST_PROBLEMS:] = [Problem("more", self.number, f"and {more} more problems")]
        return Report(len(self.seen), self.head, tuple(self.problems), expired, len(self.gone), excused)

    def _meaning(self, n: int, found: Mapping[str, Any]) -> None:
        data, key = found["data"], found["personal"]
        if found["event"] == "rolled-back":
            what = data.get("what")
            self._name(what if what in ROLLED_BACK else "rolled-back", _rolled_back(n, data))
        elif found["event"] == "expired" and type(data.get("to")) is int:
            # An event cannot speak of what comes after it.
            self.expired_to = max(self.expired_to, min(data["to"], n))
        if key is None or self.personal is None:
            return
        document = self.personal(key)
        if document is None:
            self.gone.append((n, self.number, self.excuse(found)))
        elif digest(document) != key:
            self._name("personal-edited", f"the personal fields of event {n} were changed")

    def _name(self, name: str, why: str) -> None:
        self.problems.append(Problem(name, self.number, why))


def _rolled_back(n: int, data: Mapping[str, Any]) -> str:
    if data.get("what") == "unwitnessed":
        return f"event {n}: at a start nothing told what the last event was; the chain ended at {data.get('found')}"
    return f"event {n}: at a start the chain ended at {data.get('found')}, but {data.get('known')} had been written"
