"""What a window's events tell together: who opened it, who watched and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sightglass.receipts import time_of

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit of one viewer. `who` None: the names have expired. `joined`, `left`: times as recorded, None: not seen.

    `by` is player or page. `bytes` were sent by the kernel's count, None while it lasts. `cut`: it was ended, for the
    cause `why`, within `cut_ms` milliseconds.
    """

    who: Mapping[str, Any] | None
    by: str | None
    joined: str | None
    left: str | None = None
    seconds: float | None = None
    bytes: int | None = None
    cut: bool = False
    cut_ms: float | None = None
    why: str | None = None


@dataclass(slots=True)
class Story:
    """One window. Each event is None where the part of the record has none; `suspensions` are pairs of events."""

    id: str
    opening: Event | None = None
    opened: Event | None = None
    cause: Event | None = None
    closed: Event | None = None
    suspensions: list[tuple[Event, Event | None]] = field(default_factory=list)
    refusals: list[Event] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """The next event of this window; what is not of it is left out."""
        name = event["event"]
        if name in ("opening", "opened", "cause", "closed"):
            setattr(self, name, event)
        elif name == "suspended":
            self.suspensions.append((event, None))
        elif name == "resumed" and self.suspensions:
            self.suspensions[-1] = (self.suspensions[-1][0], event)
        elif name == "refused":
            self.refusals.append(event)
        elif name == "joined":
            self.visits.append(Visit(event.get("who"), _word(event["data"].get("by")), event["at"]))
        elif name == "left":
            self._left(event)

    def _left(self, event: Event) -> None:
        data, who = event["data"], event.get("who")
        number, cut_ms = data.get("bytes"), data.get("cut_ms")
        over = {
            "left": event["at"],
            "bytes": number if type(number) is int else None,
            "cut": data.get("cut") is True,
            "cut_ms": cut_ms if isinstance(cut_ms, int | float) else None,
            "why": _word(data.get("why")),
        }
        here = [at for at, visit in enumerate(self.visits) if visit.left is None and _node(visit.who) == _node(who)]
        # Without names nobody can tell which of several it was.
        if data.get("joined") is False or not here or (who is None and len(here) > 1):
            self.visits.append(replace(Visit(who, None, None), **over))
            return
        visit = self.visits[here[0]]
        began, ended = time_of({"at": visit.joined}), time_of(event)
        lasted = (ended - began).total_seconds() if began and ended else None
        self.visits[here[0]] = replace(visit, seconds=lasted, **over)


def stories(events: Iterable[Event]) -> Iterator[Story]:
    """The windows among the events, each when it has closed; one at a time is kept."""
    story: Story | None = None
    for event in events:
        window = event["window"]
        if not window:
            continue
        if story is not None and story.id != window:
            yield story
            story = None
        story = story or Story(window)
        story.take(event)
        if event["event"] == "closed":
            yield story
            story = None
    if story is not None:
        yield story


def _node(who: Mapping[str, Any] | None) -> Any:
    return None if who is None else who.get("node")


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None
