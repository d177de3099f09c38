"""The lane's state in what its publisher sent: plain text, or one value of a JSON document. Pure."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_BYTES = 1024
"""Of a payload: a state is short, also inside a document."""
MOST_DEEP = 16
"""Objects and lists around one another. More than any path leads through, far less than the interpreter's stack."""
MOST_CHARACTERS = 64
"""Of a state."""


class Unreadable(Exception):  # noqa: N818 - no fault of this program: the publisher said nothing that is a state
    """What was sent is no state. The text is one sentence that holds nothing of it."""


def state(sent: bytes, path: str | None) -> str:
    """The state in `sent`. `path` are the names that lead to it in a JSON object, joined by dots; None: plain text.

    true and false count as their JSON text, a number as it was written. Raises Unreadable and nothing else, whatever
    was sent.
    """
    if len(sent) > MOST_BYTES:
        raise Unreadable(f"its published state is longer than {MOST_BYTES} bytes")
    try:
        text = sent.decode()
    except UnicodeDecodeError:
        raise Unreadable("its published state is no UTF-8 text") from None
    return _short(text.strip() if path is None else _value(text, path))


def number(sent: bytes, path: str) -> float | None:
    """The number at `path` in a JSON object, or None, whatever was sent."""
    try:
        found = float(state(sent, path))
    except (Unreadable, ValueError):
        return None
    return found if math.isfinite(found) else None


def _value(text: str, path: str) -> str:
    value = _document(text)
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise Unreadable(f"its published state has no text, number or truth value at {path}")
    return value


def _document(text: str) -> Any:
    # Numbers stay text: 1e999 becomes no infinity, and a thousand digits cost nothing.
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_never, parse_int=str, parse_float=str)
        too_deep = _too_deep(found)
    except ValueError:
        raise Unreadable("its published state is no JSON") from None
    except RecursionError:
        too_deep = True
    if too_deep:
        raise Unreadable(f"its published state is nested more than {MOST_DEEP} deep")
    return found


def _too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(MOST_DEEP):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, dict | list) for inner in level)


def _short(value: str) -> str:
    if not value or len(value) > MOST_CHARACTERS or not value.isprintable():
        raise Unreadable(f"its published state is not 1 to {MOST_CHARACTERS} printable characters")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two values under one name another reader may believe the other one.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("its published state has a name twice")
    return found


def _never(_text: str) -> Any:
    raise Unreadable("its published state has NaN or Infinity, which JSON has not")
