"""The lane's state in what its publisher sent: plain text, or one value of a JSON document. Pure."""

from __future__ import annotations

import json
from typing import Any

MOST_CHARACTERS = 64
"""Of a state."""


class Unreadable(Exception):  # noqa: N818 - no fault of this program: the publisher said nothing that is a state
    """What was sent is no state. The text is one sentence that holds nothing of it."""


def state(text: str, path: str | None) -> str:
    """The state in `text`. `path` are the names that lead to it in a JSON object, joined by dots; None: plain text.

    true, false and whole numbers count as their JSON text. Raises Unreadable and nothing else, whatever was sent.
    """
    if path is None:
        return _short(text.strip())
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError):
        raise Unreadable("its state is no JSON of the expected kind") from None
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise Unreadable(f"its state has no value at {path}")
        value = value[name]
    if isinstance(value, bool | int):
        return _short(json.dumps(value))
    if not isinstance(value, str):
        raise Unreadable(f"its state has no text, number or truth value at {path}")
    return _short(value)


def _short(value: str) -> str:
    if not value or len(value) > MOST_CHARACTERS or not value.isprintable():
        raise Unreadable(f"its state is not 1 to {MOST_CHARACTERS} printable characters")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two values under one name another reader may believe the other one.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _never(_text: str) -> Any:
    raise ValueError("no JSON has NaN or Infinity")
