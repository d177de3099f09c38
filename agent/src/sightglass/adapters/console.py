"""The agent's side of the console's channel: it says who has a page open, and is told what the pages shall show."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from sightglass.adapters.channel import Channel
from sightglass.viewers import Address


@dataclass(frozen=True, slots=True)
class News:
    """What pages shall show: `open|suspended|ended` with cause (causes.SUSPENSIONS, CAUSES) and reason, and to whom.

    `gone`: why those who may not any more were cut (causes.DEPARTURES).
    """

    state: str
    cause: str | None
    why: str | None
    viewers: frozenset[Address]
    gone: Mapping[Address, str] = field(default_factory=dict)


class ConsoleChannel(Channel):
    """`watching` are the addresses that have a page open, by the console's word, None before its first: with that it
    says that it listens."""

    def __init__(self, uid: int, changed: Callable[[], None]) -> None:
        super().__init__("console", uid, changed)
        self._seq = 0
        self._said: News | None = None
        self._confirmed = asyncio.Event()
        self.watching: frozenset[Address] | None = None

    def offer(self, job: dict[str, Any]) -> None:
        """From now on a console that connects gets this job."""
        super().offer(job)
        self._said, self.watching = None, None

    def heard(self, message: Any) -> None:
        """What is open, or that every page has been told something."""
        if "told" in message:
            if int(message["told"]) == self._seq:
                self._confirmed.set()
        else:
            self.watching = frozenset(ip_address(text) for text in message["watching"])

    async def tell(self, news: News, remaining_s: float, wait_s: float) -> None:
        """Tell the pages what is new; returns when they have it, or after `wait_s`. Nothing new is not said again."""
        if news == self._said or not self.connected:
            return
        self._said = news
        self._seq += 1
        self._confirmed.clear()
        self.send(
            {
                "seq": self._seq,
                "state": news.state,
                "cause": news.cause,
                "why": None if news.why is None else news.why[:500],
                "remaining_s": remaining_s,
                "viewers": sorted(map(str, news.viewers)),
                "gone": {str(address): cause for address, cause in news.gone.items()},
            }
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._confirmed.wait(), wait_s)
