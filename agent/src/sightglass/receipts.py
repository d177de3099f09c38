"""The receipt chain: what happened to windows, in events of which each carries the hash of the one before it. Pure.

A line of the chain is one JSON object. Personal fields (who, why) lie beside the chain, each set in a document of its
own with a random salt; the chain carries only that document's hash. So a document can expire without breaking the
chain, and the hash alone tells nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

ZERO = "0" * 64
EVENTS = frozenset(
    [
        "started",
        "opening",
        "opened",
        "joined",
        "left",
        "suspended",
        "resumed",
        "cause",
        "closed",
        "refused",
        "disabled",
        "enabled",
        "torn",
    ]
)
MOST_LINE = 16384
"""Bytes of the longest line, its end included."""
_HASH = re.compile("[0-9a-f]{64}")
_FIELDS = {"n", "at", "boot", "window", "event", "data", "personal", "prev", "hash"}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event: its number (0 = none yet) and hash."""

    n: int
    hash: str


NO_HEAD = Head(0, ZERO)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the chain: a stable name, the line (from 1), and a sentence."""

    name: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a chain. `expired` counts personal documents that are gone, which is no problem."""

    events: int
    head: Head
    problems: tuple[Problem, ...]
    expired: int

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def canonical(value: Mapping[str, Any]) -> bytes:
    """The one way in which a document is written for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def event(
    head: Head, at: str, boot: str, window: str | None, name: str, data: Mapping[str, Any], personal: str | None
) -> dict[str, Any]:
    """The next event after `head`. `at` is UTC in ISO 8601, `personal` the hash of its document or None."""
    if name not in EVENTS:
        raise ValueError(f"event: must be one of {', '.join(sorted(EVENTS))}, not {name!r}")
    body = {
        "n": head.n + 1,
        "at": at,
        "boot": boot,
        "window": window,
        "event": name,
        "data": dict(data),
        "personal": personal,
        "prev": head.hash,
    }
    return {**body, "hash": digest(body)}


def line(written: Mapping[str, Any]) -> bytes:
    """An event as its line in the chain."""
    return canonical(written) + b"\n"


def verify(
    lines: Iterable[bytes],
    personal: Callable[[str], Mapping[str, Any] | None],
    known: Head | None = None,
    young: str | None = None,
) -> Report:
    """Check a chain from its first line; `personal` finds a personal document by its hash, None when it is gone.

    `known` is the newest event that somebody remembers to have been there last: without it, events removed from the
    end leave no trace. The personal document of an event at or after `young` (UTC, ISO 8601) has not expired: it must
    be there. Names what it finds: `torn` (the last line is not whole), `unreadable`, `edited` (an event is not written
    as its hash says), `missing`, `reordered` (also: repeated), `broken` (an event with the right number that does not
    follow the one before: replaced), `shortened`, `personal-edited`, `personal-missing`.
    """
    head, problems, expired, number = NO_HEAD, [], 0, 0
    seen: list[int] = []
    gaps: list[tuple[int, range]] = []
    for number, raw in enumerate(lines, start=1):
        found = parse(raw)
        if found is None:
            name, why = ("unreadable", "is no event") if raw.endswith(b"\n") else ("torn", "is not whole")
            problems.append(Problem(name, number, f"line {number} {why}"))
            continue
        n, own = found["n"], found["hash"]
        if not _as_written(found, raw):
            problems.append(Problem("edited", number, f"event {n} was changed after it was written"))
        if n <= head.n:
            problems.append(Problem("reordered", number, f"event {n} stands after event {head.n}"))
        elif n > head.n + 1:
            gaps.append((len(problems), range(head.n + 1, n)))
            problems.append(Problem("missing", number, f"event {n} stands where event {head.n + 1} belongs"))
        elif found["prev"] != head.hash:
            problems.append(Problem("broken", number, f"event {n} does not follow the event before it"))
        # What follows is judged by what stands here, so that one change is named once and not at every line after it.
        head = Head(n, own)
        seen.append(n)
        if found["personal"] is not None:
            document = personal(found["personal"])
            if document is None and young is not None and found["at"] >= young:
                why = f"the personal fields of event {n} are gone before their time"
                problems.append(Problem("personal-missing", number, why))
            elif document is None:
                expired += 1
            elif digest(document) != found["personal"]:
                problems.append(Problem("personal-edited", number, f"the personal fields of event {n} were changed"))
    seen.sort()
    for at, gap in gaps:
        first = bisect_left(seen, gap.start)
        if first < len(seen) and seen[first] < gap.stop:
            problems[at] = replace(problems[at], name="reordered")
    if known is not None and known != head:
        problems.append(Problem("shortened", number, f"the last event is {head.n}, event {known.n} was seen before"))
    return Report(len(seen), head, tuple(problems), expired)


def parse(raw: bytes) -> dict[str, Any] | None:
    """A line's event, or None when it has not an event's shape. Says nothing about its hash."""
    if not raw.endswith(b"\n") or len(raw) > MOST_LINE:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != _FIELDS:
        return None
    shaped = (
        type(found["n"]) is int
        and found["n"] > 0
        and all(isinstance(found[key], str) for key in ("at", "boot", "event"))
        and (found["window"] is None or isinstance(found["window"], str))
        and isinstance(found["data"], dict)
        and all(_HASH.fullmatch(str(found[key])) for key in ("prev", "hash"))
        and (found["personal"] is None or _HASH.fullmatch(str(found["personal"])))
    )
    return found if shaped else None


def _as_written(found: dict[str, Any], raw: bytes) -> bool:
    body = {key: value for key, value in found.items() if key != "hash"}
    try:
        # As bytes too: a space, or a key that stands twice, changes what people read and no parsed value.
        return line(found) == raw and digest(body) == found["hash"]
    except RecursionError:  # nested just so deep that it could be read and cannot be written
        return False
