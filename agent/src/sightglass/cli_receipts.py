"""`sightglass receipts`: the record, as a person on the gateway or with a copy of it looks at it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightglass import cli_export
from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS
from sightglass.client import Ended, ask, pages, put, show
from sightglass.printable import plain
from sightglass.who import said

LAST = 50
"""How many events `show` shows when nobody asks for more."""


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """The verbs of the record."""
    of = parser.add_subparsers(required=True, metavar="show|verify|export")
    shown = of.add_parser("show", parents=[common], help=f"the last {LAST} events")
    which = shown.add_mutually_exclusive_group()
    which.add_argument("--after", type=int, metavar="N", help="those after event N instead")
    which.add_argument("--all", action="store_const", const=0, dest="after", help="every event instead")
    which.add_argument("--window", type=window_id, metavar="ID", help="those of one window instead")
    shown.add_argument("--viewers", action="store_true", help="of that window: who watched, a line for each visit")
    shown.set_defaults(verb=_show)
    cli_export.add(of, common, window_id)
    verified = of.add_parser("verify", parents=[common], help="whether the chain is whole")
    verified.add_argument("file", nargs="?", type=Path, metavar="FILE", help="check an exported file (JSON) instead")
    verified.add_argument("--dir", type=Path, metavar="DIR", help="check a copy instead: chain*.jsonl and personal/")
    verified.add_argument("--known", type=_head, metavar="N:HASH", help="an event that somebody remembers")
    verified.set_defaults(verb=_verify)


def _head(text: str) -> str:
    from sightglass.receipts import Head

    try:
        return str(Head.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def window_id(text: str) -> str:
    """A window's id, as an argument. Raises ArgumentTypeError."""
    if not re.fullmatch("w-[0-9a-f]{12}", text):
        raise argparse.ArgumentTypeError(f"must be an id such as w-0123456789ab, not {text[:80]!r}")
    return text


def _show(arguments: argparse.Namespace) -> int:
    if arguments.viewers:
        return _viewers(arguments)
    if arguments.window is not None:
        arguments.after = 0
    if arguments.after is None:
        newest = ask(arguments, "GET", f"/v1/receipts?after={10**12}&limit=1")["chain"]["n"]
        arguments.after = max(0, newest - LAST)
    return put(_document(arguments) if arguments.json else _lines(arguments))


def _viewers(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from sightglass.sheet.story import Story
    from sightglass.sheet.words import in_line

    if arguments.window is None:
        raise Ended(2, "--viewers: needs --window ID, whose viewers are meant")
    story, chain = Story(arguments.window), None
    for page in _pages(arguments):
        chain = page["chain"]
        for event in page["events"]:
            story.take(event)
    answer = {"window": story.id, "visits": [asdict(visit) for visit in story.visits], "chain": chain}
    return show(arguments, answer, [in_line(visit) for visit in story.visits] or ["nobody watched"])


def _pages(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    window, found = arguments.window, False
    for page in pages(arguments, arguments.after or 0):
        events = [event for event in page["events"] if window in (None, event["window"])]
        found = found or bool(events)
        yield {**page, "events": events}
    if window is not None and not found:
        raise Ended(2, f"--window: {window} is not in the record")


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    for page in _pages(arguments):
        yield "".join(f"{plain(_event(event))}\n" for event in page["events"])


def _document(arguments: argparse.Namespace) -> Iterator[str]:
    """One JSON object, in pieces: ten years of events need not fit into the memory."""
    before, chain = '{"events": [', None
    for page in _pages(arguments):
        chain = page["chain"]
        for event in page["events"]:
            yield f"{before}\n{json.dumps(event)}"
            before = ","
    start = "" if before == "," else before
    yield f'{start}], "chain": {json.dumps(chain)}}}\n'


def _event(event: dict[str, Any]) -> str:
    who = event.get("who") or {}
    # Who watched has a device beside the name; who asked is flagged where the account names no person.
    person = said(who) if who.get("user") else ""
    fields_said = {**event["data"], **({"reason": who["reason"]} if who.get("reason") else {})}
    words = {**CAUSES, **DEPARTURES, **(SUSPENSIONS if event["event"] == "suspended" else {})}
    fields = " ".join(
        # Who left has the cause under `why`.
        f"{name}={value}" + (f" ({words[str(value)]})" if name in ("cause", "why") and str(value) in words else "")
        for name, value in fields_said.items()
        if value not in (None, "")
    )
    return (
        f"{event['n']:>5}  {event['at'][:23]}Z  {event['window'] or '-':<14}  {event['event']:<9}  {person}  {fields}"
    )


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.file is not None and arguments.dir is not None:
        raise Ended(2, "--dir: goes without FILE, there is one thing to verify")
    if arguments.file is not None:
        answer = cli_export.verified(arguments.file, arguments.known)
    elif arguments.dir is not None:
        answer = _copy(arguments.dir, arguments.known)
    else:
        answer = ask(arguments, "GET", "/v1/receipts/verify" + (f"?known={arguments.known}" if arguments.known else ""))
    if answer["ok"]:
        last = answer["chain"]
        of = f" of {answer['site']}" if arguments.file else ""
        since = f" after event {answer['after']['n']}" if arguments.file and answer["after"]["n"] else ""
        whole = f"the chain{of} is whole{since}: {answer['events']} events, the last is {last['n']}:{last['hash']}"
        lines = [whole]
    else:
        lines = [f"{problem['name']}: {problem['why']}" for problem in answer["problems"]]
    show(arguments, answer, lines + (_unproven(answer) if arguments.file else []))
    return 0 if answer["ok"] else 1


def _unproven(answer: dict[str, Any]) -> list[str]:
    """What a reader of an exported file must know beside the verdict."""
    unnamed, claimed, end = answer["unnamed"], answer["unproven"]["expired"], answer["unproven"]["end"]
    lines = [f"events whose names are gone: {unnamed}"]
    if claimed:
        lines.append(f"that the names of {claimed} of them expired is said by the file's first line alone")
    if end and answer["ok"]:
        lines.append("the file itself says that this part of the record ends there; --known proves it")
    return lines


def _copy(directory: Path, known: str | None) -> dict[str, Any]:
    from sightglass.receipts import Head
    from sightglass.store import verify

    try:
        report = verify(directory, [Head.parse(known)] if known else [])
    except OSError as error:
        raise Ended(2, f"--dir: {error.filename or directory}: {error.strerror}") from error
    return report.answer() | {"chain": {"n": report.head.n, "hash": report.head.hash}}
