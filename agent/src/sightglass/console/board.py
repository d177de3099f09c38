"""The newest news, and the pages that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from sightglass.console.news import Address, Job, News

MOST_PAGES = 4
"""Open pages of one viewer: a phone and a laptop, and each of them reloaded."""


@dataclass(slots=True)
class Page:
    """One page. `delivered` is the number of the newest news that has left for it; `gone` once it has closed."""

    id: str
    viewer: Address
    delivered: int = 0
    gone: bool = False


class Board:
    """Holds what the agent said last. `changed` is called when a page comes or goes."""

    def __init__(self, job: Job, changed: Callable[[], None]) -> None:
        self.job = job
        self.news: News | None = None
        self._ends = 0.0
        self.pages: dict[str, Page] = {}
        self._changed = changed
        self._moved = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def admits(self, viewer: Address) -> bool:
        """Whether the agent named this address in its last word, and the window lives."""
        return self.news is not None and self.news.state != "ended" and viewer in self.news.viewers

    async def publish(self, news: News) -> None:
        """Replace the news and wake the pages."""
        async with self._moved:
            self.news, self._ends = news, _boottime() + news.remaining_s
            self._moved.notify_all()

    def remaining_s(self) -> float:
        """Seconds to the deadline, from the agent's last word."""
        return max(0.0, self._ends - _boottime())

    async def newer(self, seq: int, seconds: float) -> News | None:
        """News with another number than `seq`, or None when there is none within `seconds`."""

        def there() -> bool:
            return self.news is not None and self.news.seq != seq

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(there)
                return self.news
        return None

    async def told(self, seq: int) -> None:
        """Wait until every open page has been sent the news `seq`; the agent bounds that."""
        async with self._moved:
            await self._moved.wait_for(lambda: all(page.delivered >= seq for page in self.pages.values()))

    async def delivered(self, page: Page, seq: int) -> None:
        """This news has left for this page."""
        async with self._moved:
            page.delivered = seq
            self._moved.notify_all()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside whoever asks, and keep it alive until it is done."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def enter(self, viewer: Address) -> Page | None:
        """A page opens; None when the viewer has too many."""
        if sum(page.viewer == viewer for page in self.pages.values()) >= MOST_PAGES:
            return None
        page = Page(secrets.token_urlsafe(16), viewer)
        self.pages[page.id] = page
        self._changed()
        return page

    async def leave(self, page: Page) -> None:
        """It has closed, or its connection has ended."""
        page.gone = True
        async with self._moved:
            self.pages.pop(page.id, None)
            self._moved.notify_all()
        self._changed()


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
