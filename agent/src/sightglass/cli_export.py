"""`sightglass receipts export`: a part of the record as a file, and what an exported file is worth."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sightglass.client import Ended, ask, pages, put

_WHEN = "a date, or a time (UTC where no zone stands)"


def add(of: Any, common: argparse.ArgumentParser, window_id: Callable[[str], str]) -> None:
    """The verb; `of` takes parsers, `window_id` reads a window's id."""
    exported = of.add_parser("export", parents=[common], help="a part of the record as one file, or all of it")
    exported.add_argument("--format", choices=("json", "html"), default="json", help="html: to be read by people")
    exported.add_argument("--window", type=window_id, metavar="ID", help="one window's, and nothing else")
    exported.add_argument("--since", type=_since, metavar="WHEN", help=f"from then on: {_WHEN}")
    exported.add_argument("--until", type=_until, metavar="WHEN", help=f"up to and with then: {_WHEN}")
    exported.add_argument(
        "--output", type=Path, metavar="FILE", help="instead of the screen; a new file, for you alone"
    )
    exported.set_defaults(verb=_export)


def _since(text: str) -> datetime:
    return _moment(text, timedelta(0))


def _until(text: str) -> datetime:
    # Who names a day means all of it.
    return _moment(text, timedelta(days=1, microseconds=-1))


def _moment(text: str, rest_of_day: timedelta) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found + rest_of_day if len(text) == len("2026-11-30") else found
    except (ValueError, OverflowError):
        why = f"must be a date or a time such as 2026-11-30 or 2026-11-30T08:00+01:00, not {text[:80]!r}"
        raise argparse.ArgumentTypeError(why) from None


def _export(arguments: argparse.Namespace) -> int:
    since, until = arguments.since, arguments.until
    if arguments.window is not None and (since or until):
        raise Ended(2, "--window: goes without --since and --until, a window is exported as a whole")
    if since and until and until < since:
        raise Ended(2, f"--until: must not be before --since ({since.isoformat()}), not {until.isoformat()}")
    # Nothing is asked before there is a place to write the answer.
    pieces = _pieces(arguments)
    return put(pieces) if arguments.output is None else _write(arguments.output, pieces)


def _pieces(arguments: argparse.Namespace) -> Iterator[str]:
    from dataclasses import asdict

    from sightglass.export import Wanted, document, span
    from sightglass.sheet.page import sheet

    part = span(_events(arguments, 0), Wanted(arguments.window, arguments.since, arguments.until))
    if arguments.window is not None and part.last == part.after:
        raise Ended(2, f"--window: {arguments.window} is not in the record")
    status, verdict = ask(arguments, "GET", "/v1/status"), ask(arguments, "GET", "/v1/receipts/verify")
    verdict.pop("chain")
    about = {name: status[name] for name in ("site", "timezone", "version")}
    about |= {"made": datetime.now(UTC).isoformat(timespec="seconds"), "verify": verdict}

    def events() -> Iterator[dict[str, Any]]:
        for event in _events(arguments, part.after.n):
            if event["n"] > part.last.n:
                return
            yield event

    if arguments.format == "html":
        yield from sheet({**about, **asdict(part)}, _words(arguments), events)
    else:
        yield from (piece.decode() for piece in document(about, part, events()))


def _events(arguments: argparse.Namespace, after: int) -> Iterator[dict[str, Any]]:
    for page in pages(arguments, after):
        yield from page["events"]


def _words(arguments: argparse.Namespace) -> str:
    if arguments.window is not None:
        return f"window {arguments.window}"
    bounds = (("since", arguments.since), ("until", arguments.until))
    said = [f"{name} {when:%Y-%m-%d %H:%M %Z}" for name, when in bounds if when]
    return ", ".join(said) or "everything"


def _write(path: Path, pieces: Iterable[str]) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Ended(2, f"--output: {path} is there already, and is not written over") from None
    except OSError as error:
        raise Ended(2, f"--output: {path}: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as out:
            for piece in pieces:
                try:
                    out.write(piece.encode(errors="backslashreplace"))
                except OSError as error:
                    raise Ended(1, f"--output: {path}: {error.strerror}") from error
            try:
                out.flush()
                os.fsync(fd)
            except OSError as error:
                raise Ended(1, f"--output: {path}: {error.strerror}") from error
    except BaseException:
        # Half a record would be taken for a whole one.
        with suppress(OSError):
            path.unlink()
        raise
    return 0


def verified(path: Path, known: str | None) -> dict[str, Any]:
    """What an exported file says of itself, with the verdict: as the agent's, and `site`, `after` and `made`; `unnamed`
    counts the events whose names are gone. `unproven` is what the file alone says: how many of those have expired, and
    whether its part of the record ends where the file ends.

    Raises Ended with a sentence for what cannot be read, or is no export.
    """
    from dataclasses import asdict

    from sightglass.export import MOST_LINE, check
    from sightglass.receipts import Head

    head = Head.parse(known) if known else None
    try:
        with path.open("rb") as file:
            lines = iter(lambda: file.readline(MOST_LINE + 1), b"")
            about, report = check(lines, datetime.now(UTC), [head] if head else [])
    except OSError as error:
        raise Ended(2, f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Ended(2, f"{path}: {error}") from error
    return {
        **{name: about[name] for name in ("site", "made", "after")},
        **report.answer(),
        "unnamed": report.gone,
        "unproven": {"expired": report.excused, "end": head != report.head},
        "chain": asdict(report.head),
    }
