"""When personal fields expire: by the chain's own times, and only by a clock that has gone like the kernel's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sightglass.receipts import time_of

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""No event is older: a clock that shows less is not set."""
KEEP = timedelta(days=365)
MOST_AT_ONCE = timedelta(days=31)
"""Of the chain's time in one sweep, so that a clock that shows 2100 for a day takes a month, not everything."""
MOST_EVENTS = 5000
"""Of a sweep: some 50 ms on a small processor, while no window is open."""
SETTLED_S = 3600.0
"""How long the wall clock must have gone like the boot clock before it is believed, in seconds."""
DAY_S = 86400.0
_JUMP_S = 60.0


@dataclass(slots=True)
class Trust:
    """Whether the wall clock has gone like the boot clock since it was asked last. Times in seconds."""

    wall: float | None = None
    boot: float = 0.0
    due: float = 0.0

    def ask(self, wall: float, boot: float) -> bool | None:
        """True: sweep now. False: the clock has jumped, and is believed again when it has gone on for an hour. None: it
        is not time yet."""
        if self.wall is None:
            self.wall, self.boot, self.due = wall, boot, boot + SETTLED_S
        if boot < self.due:
            return None
        jumped = abs((wall - self.wall) - (boot - self.boot)) > _JUMP_S
        self.wall, self.boot = wall, boot
        self.due = boot + (SETTLED_S if jumped else DAY_S)
        return not jumped


@dataclass(frozen=True, slots=True)
class Due:
    """Events up to `to` are past their time; `documents` are the hashes of their personal documents by event number."""

    to: int
    documents: Mapping[int, str]


def due(events: Iterable[Mapping[str, Any]], since: int, now: datetime) -> Due:
    """What has expired of a chain's events from number `since` on, that one excepted; as much as one sweep may take.

    An event whose time is before that of an earlier one, or after now, was dated by a wrong clock. Nobody knows its
    age: it expires with the next event that has one. So a clock without battery that shows 1970 takes nothing at once,
    and one that shows 2100 keeps nothing for ever.
    """
    to, count, documents = 0, 0, dict[int, str]()
    first: datetime | None = None
    age = EARLIEST
    for event in events:
        at = time_of(event)
        dated = at is not None and age <= at <= now
        age = at if at is not None and dated else age
        if event["n"] <= since:
            continue
        if event["personal"]:
            documents[event["n"]] = event["personal"]
        if not dated:
            continue
        first, count = first or age, count + 1
        if age > now - KEEP or age > first + MOST_AT_ONCE or count > MOST_EVENTS:
            break
        to = event["n"]
    return Due(to, {n: key for n, key in documents.items() if n <= to})
