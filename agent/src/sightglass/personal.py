"""The personal fields of receipts, each set in a document of its own that is named by its hash."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
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
        durable.replace(self._path(digest), receipts.canonical(document))
        return digest

    def get(self, digest: str) -> dict[str, Any] | None:
        """A document; None when it is gone, empty when it is none any more."""
        try:
            found = json.loads(self._path(digest).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def drop(self, digest: str) -> None:
        """Remove a document, as far as that is possible now."""
        with suppress(OSError):
            self._path(digest).unlink()

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest}.json"
