"""Where receipts and the disabled mark live: each event is on disk before `append` returns."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sightglass import receipts
from sightglass.receipts import Head

ROOM_BYTES = 1 << 20
"""Free space without which no window opens: a window's own receipts need a few kB."""
KEEP_DAYS = 365


class Store:
    """The state directory of one agent. Raises OSError when it cannot be written: no room, no window."""

    def __init__(self, directory: Path, boot: str) -> None:
        self._directory, self._boot = directory, boot
        self._chain = directory / "receipts" / "chain.jsonl"
        self._personal = directory / "receipts" / "personal"
        self._mark = directory / "disabled.json"
        for made in (self._chain.parent, self._personal):
            _make(made)
        self._due: list[tuple[str, dict[str, Any]]] = []
        self._swept: datetime | None = None
        self._head = self._found = self._load()
        self._due.append(("started", {}))
        # A full disk opens no window; it must not keep people from asking an agent why.
        with contextlib.suppress(OSError):
            self._settle()

    @property
    def head(self) -> Head:
        """The newest event."""
        return self._head

    def append(
        self, event: str, window: str | None, data: Mapping[str, Any], personal: Mapping[str, Any] | None
    ) -> Head:
        """Write an event and see it on disk. Raises OSError, and then nothing was appended."""
        self._settle()
        return self._append(event, window, data, personal)

    def _settle(self) -> None:
        while self._due:
            event, data = self._due[0]
            self._append(event, None, data, None)
            del self._due[0]

    def _append(
        self, event: str, window: str | None, data: Mapping[str, Any], personal: Mapping[str, Any] | None
    ) -> Head:
        document = None if personal is None else self._keep(personal)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        written = receipts.event(self._head, at, self._boot, window, event, data, document)
        try:
            self._write(receipts.line(written))
        except OSError:
            if document is not None:
                with contextlib.suppress(OSError):
                    (self._personal / f"{document}.json").unlink()
            raise
        self._head = Head(written["n"], written["hash"])
        return self._head

    def room(self) -> bool:
        """Whether there is space for a window's receipts."""
        free = os.statvfs(self._directory)
        return free.f_bavail * free.f_frsize >= ROOM_BYTES and free.f_favail > 16

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """The events with a number greater than `after`, oldest first; `who` are the personal fields that are left.

        A line that is no event is left out: `verify` names it, and it must not keep an agent from starting.
        """
        if not self._chain.exists():
            return
        with self._chain.open("rb") as chain:
            for event in filter(None, map(receipts.parse, chain)):
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
        """Check the whole chain, up to the event that this agent wrote last."""
        return self.verification()()

    def verification(self) -> Callable[[], receipts.Report]:
        """The check of the chain as it is now, to be run in a thread: what is appended later is left out."""
        directory, head = self._directory / "receipts", self._head
        size = self._chain.stat().st_size if self._chain.exists() else 0
        return lambda: verify(directory, head, size)

    def sweep(self) -> None:
        """Let personal documents expire, once a day at most."""
        now = datetime.now(UTC)
        if self._swept is None or abs(now - self._swept) > timedelta(days=1):
            self._swept = now
            with contextlib.suppress(OSError):
                self.expire()

    def expire(self, days: int = KEEP_DAYS) -> int:
        """Remove personal documents that are older; returns how many."""
        limit = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        old = [file for file in self._personal.iterdir() if file.stat().st_mtime < limit]
        for file in old:
            file.unlink()
        return len(old)

    def newest(self) -> datetime:
        """The time of the newest event of an earlier start: the clock must not show less."""
        newest = datetime(2026, 1, 1, tzinfo=UTC)
        for event in self.events():
            if event["n"] <= self._found.n:
                # Somebody edited a time that cannot be read, or has no zone: `verify` names it.
                with contextlib.suppress(ValueError, TypeError):
                    newest = max(newest, datetime.fromisoformat(event["at"]))
        return newest

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
        head, torn, size = receipts.NO_HEAD, b"", 0
        with contextlib.suppress(FileNotFoundError), self._chain.open("rb") as chain:
            for raw in chain:
                found = receipts.parse(raw)
                if found is not None:
                    head = Head(found["n"], found["hash"])
                if not raw.endswith(b"\n"):
                    torn = raw
                    break
                size += len(raw)
        if not torn:
            return head
        # A power cut in the middle of a write: it never had an effect. An event in its place says so.
        os.truncate(self._chain, size)
        self._due.append(("torn", {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}))
        return head

    def _write(self, line: bytes) -> None:
        if len(line) > receipts.MOST_LINE:
            raise OSError(errno.EMSGSIZE, f"an event of {len(line)} bytes is too long")
        created = not self._chain.exists()
        # Without a buffer: on a full disk a buffered file writes the rest of the line once more when it is closed.
        fd = os.open(self._chain, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if created:
                _sync(self._chain.parent)
            before = os.fstat(fd).st_size
            try:
                _write_all(fd, line)
            except OSError:
                # Half a line would be read as a tear by the next start, and hide that nothing was promised yet.
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)

    def _keep(self, personal: Mapping[str, Any]) -> str:
        document = {**personal, "salt": secrets.token_hex(16)}
        digest = receipts.digest(document)
        _replace(self._personal / f"{digest}.json", receipts.canonical(document))
        return digest


def verify(directory: Path, known: Head | None = None, size: int | None = None) -> receipts.Report:
    """Check a chain where it lies (`chain.jsonl` and `personal/`), also far from its gateway. See `receipts.verify`.

    `size`: only the first so many bytes. Where no `personal/` came along, its documents are not asked for.
    """
    documents = directory / "personal"
    young = (datetime.now(UTC) - timedelta(days=KEEP_DAYS - 1)).isoformat(timespec="milliseconds")

    def personal(digest: str) -> dict[str, Any] | None:
        try:
            found = json.loads((documents / f"{digest}.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    try:
        chain = (directory / "chain.jsonl").open("rb")
    except FileNotFoundError:
        if known is None:
            raise
        return receipts.verify((), personal, known)
    with chain:
        asked = young if known is not None or documents.is_dir() else None
        return receipts.verify(_first(chain, size), personal, known, asked)


def _first(lines: Iterable[bytes], size: int | None) -> Iterator[bytes]:
    for line in lines:
        if size is not None:
            if size <= 0:
                return
            size -= len(line)
        yield line


def _make(directory: Path) -> None:
    if not directory.exists():
        directory.mkdir(mode=0o700)
        _sync(directory.parent)
    directory.chmod(0o700)


def _replace(path: Path, text: bytes) -> None:
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, text)
        fresh.replace(path)
    except OSError:
        fresh.unlink()
        raise
    finally:
        os.close(fd)
    _sync(path.parent)


def _write_all(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]
    os.fsync(fd)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
