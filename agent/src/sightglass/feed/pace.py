"""Which frame is due when, and what it shows. No I/O; times are monotonic seconds."""

from __future__ import annotations

import math

from sightglass.feed.job import State

STALE_S = 2.0


class Pacer:
    """Slots on a fixed grid of `fps` a second; a late slot is dropped, never caught up."""

    def __init__(self, fps: int, start: float) -> None:
        self._fps = fps
        self._start = start
        self._taken = -1

    def wait(self, now: float) -> float:
        """Seconds until the next slot; 0 when it is due."""
        return max(0.0, self._start + (self._taken + 1) / self._fps - now)

    def take(self, now: float) -> None:
        """A frame is made now: this slot and all earlier ones are used up."""
        # The small addend keeps a slot that is due by a rounding error from being taken twice.
        self._taken = max(self._taken + 1, math.floor((now - self._start) * self._fps + 1e-6))


def state_of(show: bool, age_s: float | None) -> State:
    """What a camera's next frame shows; `age_s` is the age of its newest source frame, None before the first."""
    if not show:
        return "blank"
    if age_s is None:
        return "connecting"
    return "live" if age_s <= STALE_S else "stale"
