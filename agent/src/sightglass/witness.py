"""What an agent remembers of its chain elsewhere: the number and hash of the event that it wrote last.

The witness is written after the event, so it may be behind, after a power cut or on a full disk, and never ahead. It
lies beside the receipts, not in them: who puts an older copy of them back leaves it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sightglass import durable, receipts
from sightglass.receipts import Head


class Witness:
    """One small file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Head | None:
        """The event; None when the file is gone or cannot be read."""
        try:
            found = json.loads(self._path.read_bytes())
            return receipts.NO_HEAD if found == {"head": None} else Head.parse(found["head"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self, head: Head) -> None:
        """Remember an event. Raises OSError, and then the one before it is remembered."""
        durable.replace(self._path, receipts.canonical({"head": str(head) if head.n else None}))


def judge(known: Head | None, found: Head, since: Iterable[Mapping[str, Any]], *, witnessed: bool) -> str | None:
    """What was done to a chain that ends at `found`: a name of `verify.ROLLED_BACK`, or None when it goes on from the
    `known` event. `since` are its events from that one's number on; `witnessed`: its agent had a witness."""
    if known is None:
        return "unwitnessed" if found.n and witnessed else None
    if known.n == 0 or known == found:
        return None
    if known.n > found.n:
        return "shortened"
    there = any(event["n"] == known.n and event["hash"] == known.hash for event in since)
    return None if there else "rewritten"
