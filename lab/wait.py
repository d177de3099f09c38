"""Waiting with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_RESTS = 2.0
"""Pause after a probe, as a multiple of what it took: probes without one took a third of the machine in a test run."""
_LONGEST_REST_S = 0.5


def until(fn: Callable[[], T | None], deadline_s: float, what: str, *, every_s: float = 0.02) -> T:
    """Calls `fn` until it returns something truthy, and returns that.

    Pauses `every_s` seconds in between, or longer when `fn` takes long itself. An exception of `fn` counts as "not
    yet". Raises TimeoutError after `deadline_s` seconds, naming `what` and the last value or exception.
    """
    end = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        last: object
        cause: Exception | None = None
        try:
            value = fn()
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001  whatever a probe raises, the question is only whether it lasts
            last = cause = error
        now = time.monotonic()
        if now >= end:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s, last seen {last!r}") from cause
        time.sleep(max(every_s, min(_RESTS * (now - began), _LONGEST_REST_S)))
