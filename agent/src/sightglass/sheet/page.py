"""The record for a privacy officer: one HTML file, without script and without anything from elsewhere. Pure.

It comes in pieces, one window at a time. All that the record says passes through markup.text: reasons, names and the
names of nodes are whatever somebody has chosen.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sightglass.sheet.markup import Html, join, somebodys, tag
from sightglass.sheet.story import Event, Story, Visit, stories
from sightglass.sheet.style import STYLE
from sightglass.sheet.words import (
    CANNOT,
    EXPIRED,
    RECORD,
    REFUSED,
    SWITCHED,
    Clock,
    caption,
    count,
    ended,
    lasting,
    many,
    other,
    purpose,
    size,
    visit_end,
    who,
)

Events = Callable[[], Iterable[Event]]
"""Reads the events once more, oldest first."""

_KINDS = dict.fromkeys(("With", "Joined, left", "When", "How much"), "short")


def sheet(about: Mapping[str, Any], wanted: str, events: Events) -> Iterator[str]:
    """The file, in pieces. `about` is export.document's with its span, `wanted` says in words what was asked for."""
    clock = Clock(about["timezone"])
    # By its hash and nothing else: were a text to become markup after all, no script would run and nothing be fetched.
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield tag("title", f"Camera windows of {about['site']}")
    yield f"<style>{STYLE}</style></head><body><main>\n"
    yield _head(about, wanted, clock)
    yield tag("h2", "Windows")
    windows = visits = 0
    for story in stories(events()):
        windows, visits = windows + 1, visits + len(story.visits)
        yield _window(story, clock) + "\n"
    none = "No window stands in this part of the record."
    yield tag("p", f"{count(windows, 'window')}, {count(visits, 'visit')}." if windows else none, class_="dim")
    yield from _others(events, clock)
    yield tag("h2", "What this record cannot show")
    yield tag("ul", *(tag("li", sentence) for sentence in CANNOT), class_="small")
    yield "</main></body></html>\n"


def _head(about: Mapping[str, Any], wanted: str, clock: Clock) -> Html:
    after, last, chain = about["after"]["n"], about["last"], about["chain"]
    part = f"events {after + 1} to {last['n']}" if last["n"] > after else "no events"
    verdict = about["verify"]
    if verdict["ok"]:
        whole = (
            f" All {verdict['events']} events of this gateway follow one another; none was changed, taken out or moved."
        )
        state = [tag("p", tag("strong", "The record is whole."), whole)]
    else:
        wrong = [tag("li", tag("strong", one["name"]), ": ", one["why"]) for one in verdict["problems"]]
        state = [tag("p", tag("strong", "The record is NOT whole."), " The gateway names:"), tag("ul", *wrong)]
    if verdict["expired"]:
        state.append(tag("p", f"Names and reasons of {count(verdict['expired'], 'event')} have expired, as they must",
                         " after 12 months."))  # fmt: skip
    head = f"{last['n']}:{last['hash']}"
    return join(
        tag("h1", "Who opened the cameras, and who watched"),
        tag("p", "Maintenance windows of the site ", tag("strong", somebodys(about["site"])), class_="lead"),
        tag(
            "div",
            tag(
                "dl",
                *_pair("Shown", wanted, f" ({part} of {chain['n']})"),
                *_pair("Made", clock(about["made"]), f", by Sightglass {about['version']}"),
                *_pair("Times", f"in UTC, then in the site's own time ({about['timezone']})"),
                *_pair("Last event", tag("code", head)),
            ),
            class_="box",
        ),
        tag("div", *state, class_=f"box {'good' if verdict['ok'] else 'bad'}"),
    )


def _window(story: Story, clock: Clock) -> Html:
    opening = story.opening or {"at": None, "data": {}, "who": None, "personal": None}
    asked, person = opening["data"], opening.get("who")
    if story.opening is None:
        reason: object = tag("span", "the part of the record shown here begins later", class_="dim")
    else:
        reason = somebodys(person.get("reason") or "none given") if person else tag("span", EXPIRED)
    closed = clock(story.closed["at"]) if story.closed else tag("strong", "still open when this was made")
    named = [somebodys(name) for name in many((person or {}).get("viewers"))]
    allowed = join(*(join(", " if at else "", name) for at, name in enumerate(named))) or "every entitled maintainer"
    blanks = [tag("li", clock(began["at"]), " to ", clock(over["at"]) if over else "the end", ": ", caption(began))
              for began, over in story.suspensions]  # fmt: skip
    cut = story.closed and story.closed["data"].get("cut_ms")
    return tag(
        "article",
        tag("div", tag("h3", "Window ", tag("code", story.id)), tag("span", clock(opening["at"])), class_="head"),
        tag(
            "dl",
            *_pair("Cameras", ", ".join(map(str, many(asked.get("cameras")))) or "unknown"),
            *_pair("Purpose", purpose(asked)),
            *_pair("Reason", reason),
            *_pair("Asked for by", who(opening)),
            *_pair("Asked for at", clock(opening["at"])),
            *_pair("Picture from", clock(story.opened["at"]) if story.opened else "it never had a picture"),
            *_pair("Deadline", clock.later(opening["at"], asked.get("minutes"))),
            *_pair("Closed at", closed),
            *_pair("Why it ended", ended(story.cause)),
            *(_pair("Cut within", f"{cut} ms") if cut is not None else ()),
            *(_pair("May watch", allowed) if person else ()),
            *(_pair("No picture", tag("ul", *blanks)) if blanks else ()),
        ),
        tag("h4", "Who watched"),
        _visits(story.visits, clock) if story.visits else tag("p", "Nobody.", class_="dim"),
        *_refused(story.refusals, clock),
        class_="box",
    )


def _visits(visits: Iterable[Visit], clock: Clock) -> Html:
    rows = []
    for visit in visits:
        person = visit.who or {}
        viewer = somebodys(person.get("user", "?")) if visit.who else EXPIRED
        node = somebodys(person.get("name", "?")) if visit.who else "expired"
        joined = clock(visit.joined) if visit.joined else "without a join"
        left = clock(visit.left) if visit.left else "no end recorded"
        sizes = (tag("div", lasting(visit.seconds)), tag("div", size(visit.bytes)))
        cells = [join(tag("div", viewer), tag("div", "device ", node, class_="dim")), visit.by or "unknown",
                 join(tag("div", joined), tag("div", left)), join(*sizes), visit_end(visit)]  # fmt: skip
        rows.append(cells)
    return _table(("Viewer", "With", "Joined, left", "How much", "Why it ended"), rows)


def _refused(refusals: Iterable[Event], clock: Clock) -> tuple[Html, ...]:
    rows = [
        [somebodys((event.get("who") or {}).get("user", EXPIRED)),
         somebodys((event.get("who") or {}).get("name", "expired")), clock(event["at"]), event["data"].get("why", "?")]
        for event in refusals
    ]  # fmt: skip
    return (
        (tag("h4", "Who wanted to watch and was refused"), _table(("Viewer", "Device", "When", "Why"), rows))
        if rows
        else ()
    )


def _others(events: Events, clock: Clock) -> Iterator[str]:
    """What stands in the record beside windows: refused requests, windows switched off, and what the agent found."""
    for title in (REFUSED, SWITCHED, RECORD):
        yield tag("h2", title)
        shown = 0
        for event in events():
            found = other(event)
            if found is not None and found[0] == title:
                shown += 1
                fields = [tag("dl", *_pair("When", clock(event["at"])), *_pairs(found[1]))]
                # An agent starts often, and its starts say little: a line each.
                line = tag("p", clock(event["at"]), ": ", *(value for _, value in found[1]))
                yield (line if title == RECORD else tag("div", *fields, class_="box keep")) + "\n"
        if not shown:
            yield tag("p", "None in this part of the record.", class_="dim")


def _pairs(fields: Iterable[tuple[str, object]]) -> Iterator[Html]:
    for name, value in fields:
        yield from _pair(name, value)


def _pair(name: str, *value: object) -> tuple[Html, Html]:
    return tag("dt", name), tag("dd", *value)


def _table(names: tuple[str, ...], rows: Iterable[Iterable[object]]) -> Html:
    shown = (
        (
            tag("td", cell, data_label=name, class_=_KINDS.get(name, "long"))
            for name, cell in zip(names, row, strict=True)
        )
        for row in rows
    )
    head = tag("tr", *(tag("th", name) for name in names))
    return tag("table", tag("thead", head), tag("tbody", *(tag("tr", *cells) for cells in shown)))
