"""A record with everything in it that a sheet has to show, and the file that is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sightglass import receipts
from sightglass.export import Span, Wanted, document, span
from sightglass.receipts import NO_HEAD, Head
from sightglass.sheet.page import sheet

ABOUT = {
    "site": "lab-gw1", "timezone": "Europe/Berlin", "version": "0.1.0", "made": "2026-11-30T12:00:00+00:00",
    "verify": {"ok": True, "events": 20, "expired": 0, "problems": []},
}  # fmt: skip
ALL = Wanted()
ONE, TWO = "w-00000000000a", "w-00000000000b"
ADMIN = {
    "user": "admin", "uid": 1000, "group": "sightglass-operators", "shared": True, "claimed_name": "anna",
    "reason": "Plates unread since Monday", "viewers": [],
}  # fmt: skip
ROOT = {**ADMIN, "user": "root", "uid": 0, "group": "root", "claimed_name": None, "reason": "the camera is straight"}
BEN = {**ADMIN, "user": "ben", "uid": 1004, "shared": False, "claimed_name": None, "reason": "my turn"}
VIEWER = {"user": "anna@example.org", "user_id": 7, "node": "n1", "name": "laptop-anna"}
OTHER = {"user": "carl@example.org", "user_id": 8, "node": "n2", "name": "phone-carl"}


class Record:
    """A chain that is written event by event."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.head = NO_HEAD

    def add(
        self, at: str, name: str, window: str | None = None, who: dict[str, Any] | None = None, **data: Any
    ) -> Record:
        """One event; `at` is a time of November 2026 such as `23T10:00:00`."""
        document = None if who is None else {**who, "salt": f"{self.head.n:032x}"}
        key = None if document is None else receipts.digest(document)
        event = receipts.event(self.head, f"2026-11-{at}.000+00:00", "boot", window, name, data, key)
        self.head = Head(event["n"], event["hash"])
        self.events.append({**event, "who": document})
        return self


def record(reason: str = "Plates unread since Monday", name: str = "laptop-anna") -> Record:
    """Two windows, a refusal between them, and a day on which windows were switched off."""
    asked = {"cameras": ["cam1", "cam2"], "purpose": "alignment", "privacy": "redacted", "minutes": 15}
    viewer, held = {**VIEWER, "name": name}, "a window is open already"
    return (
        Record()
        .add("23T06:00:00", "started", witnessed=True)
        .add("23T07:00:00", "opening", ONE, {**ADMIN, "reason": reason}, request_id="request-1", **asked)
        .add("23T07:00:02", "opened", ONE)
        .add("23T07:00:20", "joined", ONE, viewer, by="page")
        .add("23T07:01:00", "joined", ONE, OTHER, by="player")
        .add("23T07:02:00", "refused", None, BEN, what="open", code="second-window", why=held, request_id="request-2")
        .add("23T07:03:00", "suspended", ONE, cause="lane", why="lane1 is 'moving'")
        .add("23T07:03:30", "resumed", ONE)
        .add("23T07:04:00", "left", ONE, OTHER, bytes=1_800_000, cut=True, cut_ms=1.7, why="capability-gone")
        .add("23T07:05:00", "refused", ONE, OTHER, what="join", why="no capability for this site")
        .add("23T07:09:00", "left", ONE, viewer, bytes=9_300_000, cut=True, cut_ms=2.4, why="closed")
        .add("23T07:09:00", "cause", ONE, ROOT, cause="closed", why="")
        .add("23T07:09:01", "closed", ONE, cause="closed", cut_ms=2.4)
        .add(
            "24T09:00:00", "refused", None, BEN, what="open", code="guard-lane", why="lane1 is 'moving'", request_id="3"
        )
        .add("25T09:00:00", "disabled", None, ROOT, cause="disabled")
        .add("26T09:00:00", "enabled", None, {**BEN, "reason": "the road is free"}, cause="disabled")
        .add("27T23:55:00", "opening", TWO, {**BEN, "viewers": ["carl@example.org"]}, request_id="request-4", **asked)
        .add("27T23:55:02", "opened", TWO)
        .add("28T00:05:02", "cause", TWO, cause="nobody-joined", why="nobody joined within 600 s")
        .add("28T00:05:03", "closed", TWO, cause="nobody-joined", cut_ms=1.9)
    )


def part(events: Iterable[dict[str, Any]], wanted: Wanted) -> tuple[Span, list[dict[str, Any]]]:
    """The span and its events."""
    every = list(events)
    found = span(every, wanted)
    return found, [event for event in every if found.after.n < event["n"] <= found.last.n]


def exported(events: Iterable[dict[str, Any]], wanted: Wanted = ALL, **about: Any) -> list[bytes]:
    """The file's lines."""
    return b"".join(document({**ABOUT, **about}, *part(events, wanted))).splitlines(keepends=True)


def page(events: Iterable[dict[str, Any]], wanted: Wanted = ALL, **about: Any) -> str:
    """The sheet."""
    found, own = part(events, wanted)
    return "".join(sheet({**ABOUT, **about, **asdict(found)}, "everything", lambda: own))


def sealed(lines: list[bytes]) -> list[bytes]:
    """The same with the checksum of somebody who knows how it is made."""
    import hashlib

    end = b'],"sha256":"'
    sha = hashlib.sha256(b"".join(lines[:-1]) + end).hexdigest().encode()
    return [*lines[:-1], end + sha + b'"}\n']


def events_of(lines: list[bytes]) -> list[dict[str, Any]]:
    """What any program reads in the file."""
    found: list[dict[str, Any]] = json.loads(b"".join(lines))["events"]
    return found
