"""The receipt chain: what happened to windows, in events of which each carries the hash of the one before it. Pure.

A line of the chain is one JSON object. Personal fields (who, why) lie beside the chain, each set in a document of its
own with a random salt; the chain carries only that document's hash. So a document can expire without breaking the
chain, and the hash alone tells nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ZERO = "0" * 64
EVENTS = frozenset(
    [
        "started",
        "opening",
        "opened",
        "joined",
        "left",
        "suspended",
        "resumed",
        "cause",
        "closed",
        "refused",
        "disabled",
        "enabled",
        "torn",
        "expired",
        "rolled-back",
    ]
)
MOST_LINE = 16384
"""Bytes of the longest line, its end included."""
_HASH = re.compile("[0-9a-f]{64}")
HEAD = re.compile("[1-9][0-9]{0,11}:[0-9a-f]{64}")
_FIELDS = {"n", "at", "boot", "window", "event", "data", "personal", "prev", "hash"}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event: its number (0 = none yet) and hash."""

    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.n}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """From `N:HASH`, as people and the controller keep it. Raises ValueError."""
        if not HEAD.fullmatch(text):
            raise ValueError(f"must be N:HASH, a number and 64 hexadecimal digits, not {text!r}")
        n, _, own = text.partition(":")
        return cls(int(n), own)


NO_HEAD = Head(0, ZERO)


def canonical(value: Mapping[str, Any]) -> bytes:
    """The one way in which a document is written for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def event(
    head: Head, at: str, boot: str, window: str | None, name: str, data: Mapping[str, Any], personal: str | None
) -> dict[str, Any]:
    """The next event after `head`. `at` is UTC in ISO 8601, `personal` the hash of its document or None."""
    if name not in EVENTS:
        raise ValueError(f"event: must be one of {', '.join(sorted(EVENTS))}, not {name!r}")
    body = {
        "n": head.n + 1,
        "at": at,
        "boot": boot,
        "window": window,
        "event": name,
        "data": dict(data),
        "personal": personal,
        "prev": head.hash,
    }
    return {**body, "hash": digest(body)}


def line(written: Mapping[str, Any]) -> bytes:
    """An event as its line in the chain."""
    return canonical(written) + b"\n"


def parse(raw: bytes) -> dict[str, Any] | None:
    """A line's event, or None when it has not an event's shape. Says nothing about its hash."""
    if not raw.endswith(b"\n") or len(raw) > MOST_LINE:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != _FIELDS:
        return None
    shaped = (
        type(found["n"]) is int
        and found["n"] > 0
        and all(isinstance(found[key], str) for key in ("at", "boot", "event"))
        and (found["window"] is None or isinstance(found["window"], str))
        and isinstance(found["data"], dict)
        and all(_HASH.fullmatch(str(found[key])) for key in ("prev", "hash"))
        and (found["personal"] is None or _HASH.fullmatch(str(found["personal"])))
    )
    return found if shaped else None


def time_of(written: Mapping[str, Any]) -> datetime | None:
    """When an event was written; None when somebody edited its time into none, or into one without a zone."""
    try:
        found = datetime.fromisoformat(written["at"])
    except ValueError:
        return None
    return found if found.tzinfo else None


def as_written(found: dict[str, Any], raw: bytes) -> bool:
    """Whether a line is, byte for byte, the event that its own hash speaks of."""
    body = {key: value for key, value in found.items() if key != "hash"}
    try:
        # As bytes too: a space, or a key that stands twice, changes what people read and no parsed value.
        return line(found) == raw and digest(body) == found["hash"]
    except RecursionError:  # nested just so deep that it could be read and cannot be written
        return False
