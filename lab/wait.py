"""Waiting with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(fn: Callable[[], T | None], deadline_s: float, what: str, *, every_s: float = 0.02) -> T:
    """Calls `fn` until it returns something truthy, and returns that.

    An exception of `fn` counts as "not yet". Raises TimeoutError after `deadline_s` seconds, naming
    `what` and the last value or exception.
    """
    end = time.monotonic() + deadline_s
    while True:
        last: object
        cause: Exception | None = None
        try:
            value = fn()
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001  whatever a probe raises, the question is only whether it lasts
            last = cause = error
        if time.monotonic() >= end:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s, last seen {last!r}") from cause
        time.sleep(every_s)
