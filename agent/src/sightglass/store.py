"""Where receipts and the disabled mark live: each event is on disk before `append` returns."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sightglass import receipts
from sightglass.receipts import Head

ROOM_BYTES = 1 << 20
"""Free space without which no window opens: a window's own receipts need a few kB."""
KEEP_DAYS = 365
_MOST_LINE = 16384


class Store:
    """The state directory of one agent. Raises OSError when it cannot be written: no room, no window."""

    def __init__(self, directory: Path, boot: str) -> None:
        self._directory, self._boot = directory, boot
        self._chain = directory / "receipts" / "chain.jsonl"
        self._personal = directory / "receipts" / "personal"
        self._mark = directory / "disabled.json"
        self._personal.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._head = self._load()
        self.append("started", None, {}, None)

    @property
    def head(self) -> Head:
        """The newest event."""
        return self._head

    def append(
        self, event: str, window: str | None, data: Mapping[str, Any], personal: Mapping[str, Any] | None
    ) -> Head:
        """Write an event and see it on disk. Raises OSError, and then nothing was appended."""
        document = None if personal is None else self._keep(personal)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        written = receipts.event(self._head, at, self._boot, window, event, data, document)
        self._write(receipts.line(written))
        self._head = Head(written["n"], written["hash"])
        return self._head

    def room(self) -> bool:
        """Whether there is space for a window's receipts."""
        free = os.statvfs(self._directory)
        return free.f_bavail * free.f_frsize >= ROOM_BYTES and free.f_favail > 16

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """The events with a number greater than `after`, oldest first; `who` are the personal fields that are left."""
        with self._chain.open("rb") as chain:
            for raw in chain:
                event = json.loads(raw)
                if event["n"] > after:
                    personal = self.personal(event["personal"]) if event["personal"] else None
                    yield {**event, "who": personal}

    def personal(self, digest: str) -> dict[str, Any] | None:
        """A personal document, or None when it has expired."""
        try:
            found = json.loads((self._personal / f"{digest}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else {}

    def verify(self) -> receipts.Report:
        """Check the whole chain."""
        return verify(self._directory / "receipts")

    def expire(self, days: int = KEEP_DAYS) -> int:
        """Remove personal documents that are older; returns how many."""
        limit = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        old = [file for file in self._personal.iterdir() if file.stat().st_mtime < limit]
        for file in old:
            file.unlink()
        return len(old)

    def newest(self) -> datetime:
        """The time of the newest event of an earlier start: the clock must not show less."""
        times = [event["at"] for event in self.events() if event["n"] < self._head.n]
        return max(map(datetime.fromisoformat, times), default=datetime(2026, 1, 1, tzinfo=UTC))

    def disabled(self) -> dict[str, Any] | None:
        """Who disabled windows, when and why; an unreadable mark disables too. None when they are enabled."""
        try:
            found = json.loads(self._mark.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = {}
        return found if isinstance(found, dict) else {}

    def keep_disabled(self, mark: Mapping[str, Any] | None) -> None:
        """Write the mark, or remove it (None)."""
        if mark is None:
            self._mark.unlink(missing_ok=True)
            _sync(self._directory)
        else:
            _replace(self._mark, receipts.canonical({"at": datetime.now(UTC).isoformat(timespec="seconds"), **mark}))

    def _load(self) -> Head:
        try:
            raw = self._chain.read_bytes()
        except FileNotFoundError:
            return receipts.NO_HEAD
        whole, _, torn = raw.rpartition(b"\n")
        head = receipts.NO_HEAD
        if whole:
            last = json.loads(whole.rpartition(b"\n")[2])
            head = Head(int(last["n"]), str(last["hash"]))
        if torn:
            # A power cut in the middle of a write. The fragment is replaced by an event that says so.
            with self._chain.open("r+b") as chain:
                chain.truncate(len(whole) + 1 if whole else 0)
                os.fsync(chain.fileno())
            self._head = head
            data = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
            return self.append("torn", None, data, None)
        return head

    def _write(self, line: bytes) -> None:
        if len(line) > _MOST_LINE:
            raise OSError(f"an event of {len(line)} bytes is too long")
        created = not self._chain.exists()
        with self._chain.open("ab") as chain:
            if created:
                self._chain.chmod(0o600)
            before = chain.tell()
            try:
                chain.write(line)
                chain.flush()
                os.fsync(chain.fileno())
            except OSError:
                # Half a line would be read as a tear by the next start, and hide that nothing was promised yet.
                os.truncate(self._chain, before)
                raise
        if created:
            _sync(self._chain.parent)

    def _keep(self, personal: Mapping[str, Any]) -> str:
        document = {**personal, "salt": secrets.token_hex(16)}
        digest = receipts.digest(document)
        _replace(self._personal / f"{digest}.json", receipts.canonical(document))
        return digest


def verify(directory: Path) -> receipts.Report:
    """Check a chain where it lies (`chain.jsonl` and `personal/`), also far from its gateway."""

    def personal(digest: str) -> dict[str, Any] | None:
        try:
            found = json.loads((directory / "personal" / f"{digest}.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    with (directory / "chain.jsonl").open("rb") as chain:
        return receipts.verify(chain, personal)


def _replace(path: Path, text: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as out:
        os.fchmod(out.fileno(), 0o600)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
