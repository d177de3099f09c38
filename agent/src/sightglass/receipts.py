"""The receipt chain: what happened to windows, in events of which each carries the hash of the one before it. Pure.

A line of the chain is one JSON object. Personal fields (who, why) lie beside the chain, each set in a document of its
own with a random salt; the chain carries only that document's hash. So a document can expire without breaking the chain,
and the hash alone tells nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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


def verify(lines: Iterable[bytes], personal: Callable[[str], Mapping[str, Any] | None]) -> Report:
    """Check a chain from its first line; `personal` finds a personal document by its hash, None when it is gone.

    Names what it finds: `torn` (the last line is not whole), `unreadable`, `edited` (an event does not match its own
    hash), `broken` (an event does not follow the one before: reordered, replaced or removed), `personal-edited`.
    """
    head, problems, expired, count = NO_HEAD, [], 0, 0
    numbered = list(enumerate(lines, start=1))
    for number, raw in numbered:
        found = _parse(raw)
        if found is None:
            torn = number == len(numbered) and not raw.endswith(b"\n")
            name, why = ("torn", "is not whole") if torn else ("unreadable", "is no event")
            problems.append(Problem(name, number, f"line {number} {why}"))
            continue
        count += 1
        own = found.pop("hash")
        if digest(found) != own:
            problems.append(Problem("edited", number, f"event {found['n']} was changed after it was written"))
        if found["prev"] != head.hash or found["n"] != head.n + 1:
            gap = f"event {found['n']} stands where event {head.n + 1} belongs"
            why = gap if found["n"] != head.n + 1 else f"event {found['n']} does not follow the event before it"
            problems.append(Problem("broken", number, why))
        # What follows is judged by what stands here, so that one change is named once and not at every line after it.
        head = Head(found["n"], own)
        if found["personal"] is not None:
            document = personal(found["personal"])
            if document is None:
                expired += 1
            elif digest(document) != found["personal"]:
                problems.append(
                    Problem("personal-edited", number, f"the personal fields of event {head.n} were changed")
                )
    return Report(count, head, tuple(problems), expired)


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    if not raw.endswith(b"\n") or not isinstance(found, dict) or set(found) != _FIELDS:
        return None
    shaped = isinstance(found["n"], int) and isinstance(found["prev"], str) and isinstance(found["hash"], str)
    return found if shaped and (found["personal"] is None or isinstance(found["personal"], str)) else None
