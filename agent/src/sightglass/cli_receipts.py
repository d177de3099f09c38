"""`sightglass receipts`: the record, as a person on the gateway or with a copy of it looks at it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS
from sightglass.client import Ended, ask, put, show
from sightglass.printable import plain

PAGE = 500
LAST = 50
"""How many events `show` shows when nobody asks for more."""


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """The verbs of the record."""
    of = parser.add_subparsers(required=True, metavar="show|verify|export")
    shown = of.add_parser("show", parents=[common], help=f"the last {LAST} events")
    which = shown.add_mutually_exclusive_group()
    which.add_argument("--after", type=int, metavar="N", help="those after event N instead")
    which.add_argument("--all", action="store_const", const=0, dest="after", help="every event instead")
    shown.set_defaults(verb=_show)
    exported = of.add_parser("export", parents=[common], help="every event as JSON")
    # Not by a default of `json`: the verbs share that option, and its default with it.
    exported.set_defaults(verb=_export, after=0)
    verified = of.add_parser("verify", parents=[common], help="whether the chain is whole")
    verified.add_argument("--dir", type=Path, metavar="DIR", help="check a copy instead: chain*.jsonl and personal/")
    verified.add_argument("--known", type=_head, metavar="N:HASH", help="an event that somebody remembers")
    verified.set_defaults(verb=_verify)


def _head(text: str) -> str:
    from sightglass.receipts import Head

    try:
        return str(Head.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _show(arguments: argparse.Namespace) -> int:
    if arguments.after is None:
        newest = ask(arguments, "GET", f"/v1/receipts?after={10**12}&limit=1")["chain"]["n"]
        arguments.after = max(0, newest - LAST)
    return put(_document(arguments) if arguments.json else _lines(arguments))


def _export(arguments: argparse.Namespace) -> int:
    return put(_document(arguments))


def _pages(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    after = arguments.after
    while True:
        answer = ask(arguments, "GET", f"/v1/receipts?after={after}&limit={PAGE}")
        yield answer
        if len(answer["events"]) < PAGE:
            return
        after = answer["events"][-1]["n"]


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
    person = who.get("user", "")
    said = {**event["data"], **({"reason": who["reason"]} if who.get("reason") else {})}
    words = {**CAUSES, **DEPARTURES, **(SUSPENSIONS if event["event"] == "suspended" else {})}
    fields = " ".join(
        # Who left has the cause under `why`.
        f"{name}={value}" + (f" ({words[str(value)]})" if name in ("cause", "why") and str(value) in words else "")
        for name, value in said.items()
        if value not in (None, "")
    )
    return (
        f"{event['n']:>5}  {event['at'][:23]}Z  {event['window'] or '-':<14}  {event['event']:<9}  {person}  {fields}"
    )


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.dir is not None:
        answer = _copy(arguments.dir, arguments.known)
    else:
        answer = ask(arguments, "GET", "/v1/receipts/verify" + (f"?known={arguments.known}" if arguments.known else ""))
    if answer["ok"]:
        last = answer["chain"]
        lines = [f"the chain is whole: {answer['events']} events, the last is {last['n']}:{last['hash']}"]
    else:
        lines = [f"{problem['name']}: {problem['why']}" for problem in answer["problems"]]
    show(arguments, answer, lines)
    return 0 if answer["ok"] else 1


def _copy(directory: Path, known: str | None) -> dict[str, Any]:
    from sightglass.receipts import Head
    from sightglass.store import verify

    try:
        report = verify(directory, [Head.parse(known)] if known else [])
    except OSError as error:
        raise Ended(2, f"--dir: {error.filename or directory}: {error.strerror}") from error
    return report.answer() | {"chain": {"n": report.head.n, "hash": report.head.hash}}
