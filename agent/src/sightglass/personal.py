"""The personal fields of receipts, each set in a document of its own that is named by its hash.

A document is `HASH.new` until its event is on disk: what a power cut left without an event has nobody who lets it
expire, and is removed at the next start.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sightglass import durable, receipts


class Personal:
    """The documents in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, fields: Mapping[str, Any]) -> str:
        """Write a document; its hash. Raises OSError, and then there is none."""
        document = {**fields, "salt": secrets.token_hex(16)}
        digest = receipts.digest(document)
        fresh = self._fresh(digest)
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                durable.write_all(fd, receipts.canonical(document))
            finally:
                os.close(fd)
            durable.sync(self._directory)
        except OSError:
            self.drop(digest)
            raise
        return digest

    def settle(self, digest: str) -> None:
        """Its event is on disk."""
        with suppress(OSError):  # it is found under its first name, too
            self._fresh(digest).rename(self._path(digest))

    def recover(self, written: Callable[[str], bool]) -> None:
        """At a start: settle the documents whose events are `written`, and remove those that have none."""
        for fresh in self._directory.glob("*.new"):
            if written(fresh.stem):
                self.settle(fresh.stem)
            else:
                self.drop(fresh.stem)

    def get(self, digest: str) -> dict[str, Any] | None:
        """A document; None when it is gone, empty when it is none any more."""
        for path in (self._path(digest), self._fresh(digest)):
            try:
                found = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError):
                return {}
            return found if isinstance(found, dict) else {}
        return None

    def drop(self, digest: str) -> None:
        """Remove a document, as far as that is possible now."""
        for path in (self._path(digest), self._fresh(digest)):
            with suppress(OSError):
                path.unlink()

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest}.json"

    def _fresh(self, digest: str) -> Path:
        return self._directory / f"{digest}.new"
