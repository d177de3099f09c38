"""The privacy officer's words for what the record says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS
from sightglass.receipts import time_of
from sightglass.sheet.markup import Html, join, somebodys, tag
from sightglass.sheet.story import Event, Visit

REFUSED = "Requests for a window that were refused"
SWITCHED = "Windows switched off and on"
RECORD = "The record itself"
EXPIRED = "expired (12 months)"
CANNOT = (
    "What was on the pictures. None is kept anywhere; the picture is a coarse mosaic that hides plates and faces.",
    "Who sat before the screen. A viewer is the account of a device in the VPN; the account that asked is the "
    "gateway's. Where an account is flagged as shared, the claimed name is all there is, and nobody has checked it.",
    "A photograph or a recording that a viewer made of their own screen.",
    "Anything that somebody with full control of the gateway (root) left out before it was written, or after the last "
    "event that is known elsewhere. Such a person can write the whole record anew. Compare the last event above with "
    "the one that the controller keeps: `sightglass receipts verify --known N:HASH`.",
    "A viewer whom a stream server that was taken over did not tell of. If more went to a device than a page's text, a "
    "row without a join stands here, by the kernel's own count of bytes.",
    "The exact time. It is that of the gateway's clock, which no window opens with when it is known to be wrong.",
    "Names and reasons older than 12 months. They are deleted; that there was an event, when, and of which kind stays.",
)


class Clock:
    """Writes times as recorded (ISO 8601) in UTC and in the site's own zone."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)

    def __call__(self, at: str | None) -> Html:
        """One time."""
        found = None if at is None else time_of({"at": at})
        return self._said(found) if found else somebodys("unknown" if at is None else f"not a time: {at}")

    def later(self, at: str | None, minutes: object) -> Html:
        """So many minutes after it, if both are known."""
        found = None if at is None else time_of({"at": at})
        if found is None or type(minutes) is not int or not 0 <= minutes <= 1440:
            return somebodys("unknown")
        return join(self._said(found + timedelta(minutes=minutes)), f" ({count(minutes, 'minute')})")

    def _said(self, at: datetime) -> Html:
        try:
            own = at.astimezone(self._zone)
            utc = at.astimezone(UTC)
        except (OverflowError, ValueError):
            return somebodys(at.isoformat())
        site = f"{own:%H:%M:%S %Z}" if own.date() == utc.date() else f"{own:%Y-%m-%d %H:%M:%S %Z}"
        return join(
            tag("span", f"{utc:%Y-%m-%d %H:%M:%S} UTC", class_="utc"), " ", tag("span", f"({site})", class_="site")
        )


def who(event: Mapping[str, Any]) -> Html:
    """Who asked for something: account, right, flag, and the claimed name as such."""
    fields = event.get("who")
    if not fields:
        return tag("span", EXPIRED if event.get("personal") else "not recorded", class_="dim")
    said = [somebodys(fields.get("user", "?")), f" (account number {fields.get('uid', '?')}"]
    said.append(f", by right of {fields['group']})" if fields.get("group") else ")")
    if fields.get("shared"):
        said += [" ", tag("span", "SHARED ACCOUNT", class_="flag")]
    if fields.get("claimed_name"):
        said.append(tag("div", "claimed name, not checked: ", tag("strong", somebodys(fields["claimed_name"]))))
    elif fields.get("shared"):
        said.append(tag("div", "nobody named"))
    return join(*said)


def caption(event: Event) -> Html:
    """Why a picture was suspended."""
    data = event["data"]
    return join(SUSPENSIONS.get(str(data.get("cause")), f"cause {data.get('cause')}"), _detail(data))


def ended(event: Event | None) -> Html:
    """Why a window ended, and who did it where a person did."""
    if event is None:
        return tag("span", "no end stands in this part of the record", class_="dim")
    data = event["data"]
    said = join(CAUSES.get(str(data.get("cause")), f"cause {data.get('cause')}"), _detail(data))
    if event.get("personal"):
        said = join(said, tag("div", "by ", who(event)))
        reason = (event.get("who") or {}).get("reason")
        said = join(said, tag("div", "reason: ", somebodys(reason))) if reason else said
    return said


def visit_end(visit: Visit) -> Html:
    """Why a visit ended."""
    if visit.left is None:
        return join("")
    if visit.joined is None and visit.by is None and not visit.cut:
        return join("pictures went there, and nobody told of a viewer")
    if not visit.cut:
        return join("went away by themselves")
    sentence = DEPARTURES.get(visit.why or "") or CAUSES.get(visit.why or "") or f"cause {visit.why}"
    return join("cut: ", sentence, f" (within {visit.cut_ms} ms)" if visit.cut_ms is not None else "")


def in_line(visit: Visit) -> str:
    """A visit on one line of a screen."""
    person = visit.who or {"user": EXPIRED, "name": "?"}
    joined, left = visit.joined or "without a join", visit.left or "still there"
    why = {True: f", cut: {visit.why}", False: ""}[visit.cut] + (f" within {visit.cut_ms} ms" if visit.cut_ms else "")
    sent = f"{lasting(visit.seconds)}, {size(visit.bytes)}{why}" if visit.left else "watching, or no end recorded"
    return f"{person.get('user')} on {person.get('name')} ({visit.by or '?'}): {joined} to {left}, {sent}"


def other(event: Event) -> tuple[str, list[tuple[str, object]]] | None:
    """Under which title an event beside windows stands, and its fields; None for what a window's own part shows."""
    name, data = event["event"], event["data"]
    reason = somebodys((event.get("who") or {}).get("reason") or (EXPIRED if event.get("personal") else "none given"))
    if name == "refused" and not event["window"]:
        fields = [("Asked for by", who(event)), ("Reason given", reason), ("Refused because", data.get("why", "?"))]
        return REFUSED, [*fields, ("Rule", data.get("code", "?"))]
    if name in ("disabled", "enabled"):
        whole = " for the whole fleet" if data.get("cause") == "fleet-off" else ""
        words = f"windows {'disabled' if name == 'disabled' else 'enabled again'}{whole}"
        return SWITCHED, [("What", words), ("By", who(event)), ("Reason", reason)]
    if event["window"] or name == "refused":
        return None
    return RECORD, [("What", _RECORD.get(name, f"{name}: {data}"))]


_RECORD = {
    "started": "the agent was started",
    "expired": "names and reasons older than 12 months were deleted",
    "torn": "a power cut ended a line while it was written; it never had an effect",
    "rolled-back": "the record was found shortened or changed; the box at the top names it",
}


def purpose(asked: Mapping[str, Any]) -> str:
    """A window's purpose, and its privacy level."""
    kinds = {"alignment": "framing and focus", "debug": "finding the cause of bad readings"}
    levels = {"redacted": "redacted (a coarse mosaic)"}
    kind, level = str(asked.get("purpose", "?")), str(asked.get("privacy", "?"))
    return f"{kinds.get(kind, kind)}; picture: {levels.get(level, level)}"


def many(value: object) -> list[Any]:
    """A list as recorded; one that somebody has edited into something else is empty."""
    return value if isinstance(value, list) else []


def count(number: int, thing: str) -> str:
    """`1 window`, `2 windows`."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def lasting(seconds: float | None) -> str:
    """A duration."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(number: int | None) -> str:
    """Bytes for people."""
    if number is None:
        return "unknown"
    return (
        f"{number} bytes" if number < 1000 else f"{number / 1e3:.0f} kB" if number < 1e6 else f"{number / 1e6:.1f} MB"
    )


def _detail(data: Mapping[str, Any]) -> str:
    why = data.get("why")
    return f" ({why})" if isinstance(why, str) and why.strip() else ""
