"""Where receipts and the disabled mark live: each event is on disk before `append` returns."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightglass import durable, receipts
from sightglass.adapters import clock
from sightglass.expiry import EARLIEST, Trust, due
from sightglass.personal import Personal
from sightglass.receipts import Head, time_of
from sightglass.segments import Segments, events
from sightglass.verify import Report
from sightglass.verify import verify as verdict
from sightglass.witness import Witness, judge

ROOM_BYTES = 1 << 20
"""Free space without which no window opens: a window's own receipts need a few kB."""
MOST_OWED = 256
"""Events that may wait for room. No window opens meanwhile: it is the last one's end, and what people ask for."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Owed:
    """An event that happened at `at` and is not on disk yet."""

    at: str
    event: str
    window: str | None
    data: Mapping[str, Any]
    personal: Mapping[str, Any] | None = None


class Store:
    """The state directory of one agent. Raises OSError when it cannot be written: no room, no window.

    `written` counts the events of this agent by name and by what stands beside it: the cause, or a refusal's rule.
    """

    def __init__(self, directory: Path, boot: str) -> None:
        self._directory, self._boot = directory, boot
        self.written: Counter[tuple[str, str]] = Counter()
        for made in (directory / "receipts", directory / "receipts" / "personal"):
            durable.make(made)
        self._segments = Segments(directory / "receipts")
        self._personal = Personal(directory / "receipts" / "personal")
        self._witness = Witness(directory / "head.json")
        self._mark = directory / "disabled.json"
        self._trust = Trust()
        self._open: set[str] = set()
        self._expired = self._swept = self._rollbacks = 0
        # Agents before this one kept none: the first start after them is no alarm.
        self._witnessed = False
        self._newest = EARLIEST
        torn = self._segments.mend()
        self._head = self._load()
        recent = self._segments.recent
        self._personal.recover(lambda digest: any(event["personal"] == digest for event in events(recent())))
        # What was done to the chain comes first: with the next event the witness forgets what it knew.
        self._due = self._judged()
        if torn is not None:
            # A power cut in the middle of a write: it never had an effect. An event in its place says so.
            self._due.append(_Owed(_now(), "torn", None, asdict(torn)))
        self._due.append(_Owed(_now(), "started", None, {"witnessed": True}))
        # A full disk opens no window; it must not keep people from asking an agent why.
        with contextlib.suppress(OSError):
            self._settle()

    @property
    def head(self) -> Head:
        """The newest event."""
        return self._head

    @property
    def rolled_back(self) -> int:
        """The `rolled-back` events in what a start reads, and since, those that wait for room included.

        No later start has them fewer before the record has grown by a segment or two: it is no count of this agent's.
        """
        return self._rollbacks + sum(owed.event == "rolled-back" for owed in self._due)

    def append(
        self, event: str, window: str | None, data: Mapping[str, Any], personal: Mapping[str, Any] | None
    ) -> Head:
        """Write an event and see it on disk. Raises OSError, and then nothing was appended."""
        self._settle()
        return self._append(_Owed(_now(), event, window, data, personal))

    def owe(self, event: str, window: str | None, data: Mapping[str, Any], personal: Mapping[str, Any] | None) -> None:
        """The same for what has happened already, and stands in the record whatever comes. Raises OSError as well; then
        it is written as soon as there is room, with the time of now, and before any later event."""
        owed = _Owed(_now(), event, window, data, personal)
        try:
            self._settle()
            self._append(owed)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                if len(self._due) >= MOST_OWED:
                    log.warning("receipts: %s of %s is lost: %d events wait for room", event, window, MOST_OWED)
                else:
                    self._due.append(owed)
            raise

    def catch_up(self) -> None:
        """Write what is owed, where there is room again."""
        if self._due:
            with contextlib.suppress(OSError):
                if self.room():
                    self._settle()

    def free(self) -> int:
        """Bytes that are left on the disk."""
        free = os.statvfs(self._directory)
        return free.f_bavail * free.f_frsize

    def room(self) -> bool:
        """Whether there is space for a window's receipts."""
        free = os.statvfs(self._directory)
        return free.f_bavail * free.f_frsize >= ROOM_BYTES and free.f_favail > 16

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """The events with a number greater than `after`, oldest first; `who` are the personal fields that are left."""
        return map(self._named, events(self._segments.lines(after), after))

    def recent(self) -> Iterator[dict[str, Any]]:
        """The newest events, a megabyte of them or two: those of windows that may not have ended are among them."""
        return map(self._named, events(self._segments.recent()))

    def verify(self, known: Sequence[Head] = ()) -> Report:
        """Check the whole chain, up to the event that this agent wrote last."""
        return self.verification(known)()

    def verification(self, known: Sequence[Head] = ()) -> Callable[[], Report]:
        """The check of the chain as it is now, to be run in a thread: what is appended later is left out."""
        read, last = self._segments.snapshot(), self._head
        return lambda: verdict(read(), self._personal.get, last=last, known=known)

    def sweep(self) -> None:
        """Let personal fields expire: once a day, not during a window, and by a clock that is to be believed."""
        if self._open:
            return
        believed = self._trust.ask(clock.wall().timestamp(), clock.boottime())
        if believed:
            with contextlib.suppress(OSError):
                self.expire(clock.wall())
        elif believed is False:
            log.warning("receipts: the clock has jumped; no personal fields expire before it has gone on for an hour")

    def expire(self, now: datetime) -> int:
        """Remove the personal documents that are past their time, as many as a sweep may; returns how many events'.

        An event says so first: `verify` needs no clock, and what is gone without one is named.
        """
        start = max(0, self._swept - 1)
        found = due(events(self._segments.lines(start), start), self._swept, now)
        fresh = [n for n in found.documents if n > self._expired]
        if fresh:
            self.append("expired", None, {"from": self._swept, "to": found.to}, None)
            log.info("receipts: personal fields of %d events expire, up to event %d", len(fresh), found.to)
            self._expired = found.to
        for digest in found.documents.values():
            self._personal.drop(digest)
        self._swept = max(found.to, self._swept)
        return len(fresh)

    def newest(self) -> datetime:
        """What the clock must not show less than: the newest time of the events before this start, since windows were
        enabled last. So a clock that was once years ahead does not keep the site closed for years."""
        return self._newest

    def disabled(self) -> dict[str, dict[str, Any]]:
        """Who disabled windows, when and why, by cause (`window.Disable`); empty when they are enabled. A file that
        cannot be read disables, too."""
        try:
            found = json.loads(self._mark.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            found = None
        whole = isinstance(found, dict) and all(isinstance(mark, dict) for mark in found.values())
        return found if whole and found else {"disabled": {}}

    def keep_disabled(self, cause: str, mark: Mapping[str, Any] | None) -> None:
        """Write the mark of one cause, or remove it (None)."""
        marks = {name: kept for name, kept in self.disabled().items() if name != cause}
        if mark is not None:
            marks[cause] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **mark}
        if marks:
            durable.replace(self._mark, receipts.canonical(marks))
        else:
            self._mark.unlink(missing_ok=True)
            durable.sync(self._directory)

    def _named(self, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "who": self._personal.get(event["personal"]) if event["personal"] else None}

    def _settle(self) -> None:
        if self._head.n == 0 and self._witness.read() is None:
            self._witness.write(self._head)
        while self._due:
            self._append(self._due[0])
            del self._due[0]

    def _append(self, what: _Owed) -> Head:
        if not self._open:
            # All events of a window stand in one segment, so that a start finds it in the last ones.
            self._segments.rotate(self._head)
        document = None if what.personal is None else self._personal.keep(what.personal)
        written = receipts.event(self._head, what.at, self._boot, what.window, what.event, what.data, document)
        try:
            self._segments.write(receipts.line(written))
        except OSError:
            if document is not None:
                self._personal.drop(document)
            raise
        if document is not None:
            self._personal.settle(document)
        self._head = Head(written["n"], written["hash"])
        self._note(written)
        self.written[what.event, _beside(what.data)] += 1
        self._remember(what.event)
        return self._head

    def _remember(self, event: str) -> None:
        try:
            self._witness.write(self._head)
        except OSError as error:
            # The event is on disk. A witness that is behind is caught up by the next event.
            log.warning("receipts: head.json stays behind event %d: %s", self._head.n, error)
        if event == "closed":
            # A second witness, in the journal: what `receipts verify --known` takes.
            log.info("receipts: the last event is %s", self._head)

    def _load(self) -> Head:
        for lines in (self._segments.recent, self._segments.lines):
            head = receipts.NO_HEAD
            for event in events(lines()):
                head = Head(event["n"], event["hash"])
                self._newest = max(self._newest, time_of(event) or EARLIEST)
                self._note(event)
            if head.n:
                return head
        return receipts.NO_HEAD

    def _note(self, event: Mapping[str, Any]) -> None:
        name, data = event["event"], event["data"]
        if name == "opening":
            self._open.add(event["window"])
        elif name == "closed":
            self._open.discard(event["window"])
        elif name == "enabled":
            self._newest = max(EARLIEST, time_of(event) or EARLIEST)
        elif name == "rolled-back":
            self._rollbacks += 1
        elif name == "started":
            self._witnessed = data.get("witnessed") is True
        elif name == "expired" and type(data.get("from")) is int and type(data.get("to")) is int:
            # From where the last sweep began: a power cut may have left documents that it was about to remove.
            self._swept, self._expired = min(data["from"], event["n"]), min(data["to"], event["n"])

    def _judged(self) -> list[_Owed]:
        known, found = self._witness.read(), self._head
        start = known.n - 1 if known and known.n else 0
        what = judge(known, found, events(self._segments.lines(start), start), witnessed=self._witnessed)
        if what is None:
            return []
        log.warning("receipts: %s: the chain ends at %s, and %s was written", what, found, known or "nobody knows what")
        data = {"what": what, "known": str(known) if known else None, "found": str(found)}
        return [_Owed(_now(), "rolled-back", None, data)]


def _beside(data: Mapping[str, Any]) -> str:
    # A refused viewer's reason is a sentence; that it was a viewer is what `what` says.
    return str(data.get("cause") or data.get("code") or data.get("what") or "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def verify(directory: Path, known: Sequence[Head] = ()) -> Report:
    """Check a chain where it lies (its segments and `personal/`), also far from its gateway. See `verify.verify`.

    Where no `personal/` came along, its documents are not asked for. Raises OSError; also when there is no chain.
    """
    segments, documents = Segments(directory), directory / "personal"
    if not segments.exist():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory / "chain.jsonl"))
    return verdict(segments.lines(), Personal(documents).get if documents.is_dir() else None, known=known)
