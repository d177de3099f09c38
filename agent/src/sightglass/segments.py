"""The chain's files: `chain.jsonl` grows, and when it is full it becomes `chain-LAST.jsonl` by one rename.

LAST is the number of its last event, so the names give the order, and who asks for the events after a number need not
open what lies before. A full segment is never written again, and none is ever deleted by us.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sightglass import durable, receipts
from sightglass.receipts import Head

FULL_BYTES = 1 << 20
_NAME = re.compile(r"chain-([0-9]{12})\.jsonl")


@dataclass(frozen=True, slots=True)
class Torn:
    """What is left of a line that a power cut ended."""

    bytes: int
    sha256: str


class Segments:
    """The files in one directory. One process writes them; any may read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._active = directory / "chain.jsonl"

    def full(self) -> list[Path]:
        """The full segments, oldest first."""
        return sorted(file for file in self._directory.iterdir() if _NAME.fullmatch(file.name))

    def exist(self) -> bool:
        """Whether there is any chain."""
        return self._active.exists() or bool(self.full())

    def lines(self, after: int = 0) -> Iterator[bytes]:
        """The lines of all segments that may hold events after a number, as they are when the first is asked for."""
        yield from self.snapshot(after)()

    def snapshot(self, after: int = 0) -> Callable[[], Iterator[bytes]]:
        """The chain as it is now, to be read once, also in a thread beside the one that writes and rotates."""
        active = self._open()
        files = self.full()
        own = active and os.fstat(active.fileno())
        # A rotation between the two lines above must not let one file be read twice.
        files = [file for file in files if _last(file) > after and not (own and os.path.samestat(own, file.stat()))]
        size = own.st_size if own else 0

        def read() -> Iterator[bytes]:
            with active or nullcontext():
                for file in files:
                    with file.open("rb") as segment:
                        yield from _lines(segment)
                if active:
                    yield from _lines(active, size)

        return read

    def recent(self) -> Iterator[bytes]:
        """The lines of the last full segment and of the one that grows: all that a start has to read."""
        files = self.full()
        yield from self.lines(_last(files[-2]) if len(files) > 1 else 0)

    def mend(self) -> Torn | None:
        """Cut off what is no whole line at the end; what it was, or None."""
        with suppress(FileNotFoundError), self._active.open("rb") as active:
            end, sha = active.seek(0, os.SEEK_END), hashlib.sha256()
            whole = _after_last_newline(active, end)
            if whole == end:
                return None
            active.seek(whole)
            for piece in iter(lambda: active.read(1 << 16), b""):
                sha.update(piece)
            os.truncate(self._active, whole)
            return Torn(end - whole, sha.hexdigest())
        return None

    def rotate(self, head: Head) -> None:
        """Begin a new segment when this one is full. A crash at any point leaves every line in one file, in order."""
        with suppress(FileNotFoundError):
            full = self._directory / f"chain-{head.n:012d}.jsonl"
            # A file of that name is somebody's doing: writing over it would finish what they began.
            if self._active.stat().st_size >= FULL_BYTES and not full.exists():
                self._active.rename(full)
                durable.sync(self._directory)

    def write(self, line: bytes) -> None:
        """Append a line and see it on disk. Raises OSError, and then nothing was appended."""
        if len(line) > receipts.MOST_LINE:
            raise OSError(errno.EMSGSIZE, f"an event of {len(line)} bytes is too long")
        created = not self._active.exists()
        # Without a buffer: on a full disk a buffered file writes the rest of the line once more when it is closed.
        fd = os.open(self._active, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if created:
                durable.sync(self._directory)
            before = os.fstat(fd).st_size
            try:
                durable.write_all(fd, line)
            except OSError:
                # Half a line would be read as a tear by the next start, and hide that nothing was promised yet.
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)

    def _open(self) -> BinaryIO | None:
        try:
            return self._active.open("rb")
        except FileNotFoundError:
            return None


def events(lines: Iterator[bytes], after: int = 0) -> Iterator[dict[str, Any]]:
    """The events after a number. What is none is left out: `verify` names it, and it must not stop an agent."""
    return (event for event in filter(None, map(receipts.parse, lines)) if event["n"] > after)


def _last(segment: Path) -> int:
    found = _NAME.fullmatch(segment.name)
    return int(found[1]) if found else 0


def _lines(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """A file's lines; one that is too long comes in pieces, so that none fills the memory."""
    left = size
    while left is None or left > 0:
        most = receipts.MOST_LINE + 1
        line = file.readline(most if left is None else min(most, left))
        if not line:
            return
        left = None if left is None else left - len(line)
        yield line


def _after_last_newline(file: BinaryIO, end: int) -> int:
    while end > 0:
        start = max(0, end - (1 << 16))
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
