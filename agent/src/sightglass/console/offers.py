"""Passes a page's WebRTC offer to the stream server, and ends its sessions when the page goes.

The stream server's own HTTP is on loopback routes only and asks the agent's hook: it gets the console's secret, and the
viewer's address as the kernel gave it to us.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import httpx

from sightglass.console.board import Page
from sightglass.console.news import Job

log = logging.getLogger("sightglass.console")

ANSWER_S = 4.0


class OfferError(Exception):
    """The stream server took no offer. `status` is what the page is told; the text is one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Offers:
    """The WebRTC sessions of this window: one a page and camera."""

    def __init__(self, job: Job) -> None:
        self._cameras = job.cameras
        self._http = httpx.AsyncClient(
            base_url=f"http://{job.address}:{job.server}",
            auth=("console", job.secret),
            timeout=ANSWER_S,
            trust_env=False,
            limits=httpx.Limits(max_connections=16),
        )
        self._sessions: dict[tuple[str, str], str] = {}
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def offer(self, page: Page, camera: str, sdp: bytes) -> bytes:
        """The stream server's answer to an offer; an older session of this page and camera ends. Raises OfferError."""
        if camera not in self._cameras:
            raise OfferError(404, f"there is no camera {camera!r} in this window" if camera.isalnum() else "no camera")
        try:
            answer = await self._http.post(
                f"/{camera}/whep",
                params={"viewer": str(page.viewer)},
                content=sdp,
                headers={"Content-Type": "application/sdp"},
            )
        except httpx.HTTPError as error:
            raise OfferError(502, f"the stream server does not answer: {type(error).__name__}") from error
        if answer.status_code != httpx.codes.CREATED:
            status = {400: 400, 401: 403, 403: 403, 404: 404}.get(answer.status_code, 502)
            raise OfferError(status, f"the stream server refuses the offer ({answer.status_code})")
        async with self._lock:
            old = self._sessions.pop((page.id, camera), None)
            self._sessions[page.id, camera] = answer.headers.get("Location", "")
        if old:
            await self._end(old)
        return answer.content

    async def drop(self, page: Page) -> None:
        """The page is gone: a session that nobody sees any more would hold a reader's place for half a minute."""
        async with self._lock:
            gone = [key for key in self._sessions if key[0] == page.id]
            places = [self._sessions.pop(key) for key in gone]
        for place in places:
            await self._end(place)

    async def _end(self, place: str) -> None:
        # Only ever a path of the stream server's own, whatever it answered.
        if place.startswith("/") and not place.startswith("//"):
            with contextlib.suppress(httpx.HTTPError):
                await self._http.delete(place)
