"""Waiting times between attempts. No I/O."""

from __future__ import annotations

import random


class Backoff:
    """Doubling waits from `first` to `most` seconds, each 50 to 100 % of its step so that many do not march in step."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._step = first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        step, self._step = self._step, min(self._step * 2, self._most)
        return step * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """The last attempt worked: begin again with the first step."""
        self._step = self._first
