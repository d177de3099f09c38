"""Passes a page's WebRTC offer to the stream server, and ends its sessions when the page goes.

The stream server's own HTTP is on loopback routes only and asks the agent's hook: it gets the console's secret, and the
viewer's address as the kernel gave it to us.
"""

from __future__ import annotations

import asyncio
import logging
import re

import httpx

from sightglass.console.board import Page
from sightglass.console.news import Job

log = logging.getLogger("sightglass.console")

ANSWER_S = 4.0
_MOST_PLACE = 256


_LINE = re.compile(rb"[\r\n]+")


def without_candidates(sdp: bytes) -> bytes:
    """An offer without the addresses that it names: the stream server would dial them.

    The kernel stops all of them but one: the server's own way to the agent's hook. A viewer who named 127.0.0.1 and the
    hook's port was seen to send it bytes. A browser loses nothing, for the server finds it by its first packet.
    """
    return b"\r\n".join(line for line in _LINE.split(sdp) if not line.startswith(b"a=candidate"))


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
            raise OfferError(404, "there is no such camera in this window")
        try:
            answer = await self._http.post(
                f"/{camera}/whep",
                params={"viewer": str(page.viewer)},
                content=without_candidates(sdp),
                headers={"Content-Type": "application/sdp"},
            )
        except httpx.HTTPError as error:
            raise OfferError(502, f"the stream server does not answer: {type(error).__name__}") from error
        if answer.status_code != httpx.codes.CREATED:
            status = {400: 400, 401: 403, 403: 403, 404: 404}.get(answer.status_code, 502)
            raise OfferError(status, f"the stream server refuses the offer ({answer.status_code})")
        place = _place(answer.headers.get("Location", ""))
        async with self._lock:
            # Nobody would end the session of a page that went away meanwhile: `drop` may have been here already.
            old = place if page.gone else self._sessions.get((page.id, camera))
            if not page.gone:
                self._sessions[page.id, camera] = place
        if old:
            await self._end(old)
        if page.gone:
            raise OfferError(403, "this page is not open")
        return answer.content

    async def drop(self, page: Page) -> None:
        """The page is gone: a session that nobody sees any more would hold a reader's place for half a minute."""
        async with self._lock:
            gone = [key for key in self._sessions if key[0] == page.id]
            places = [self._sessions.pop(key) for key in gone]
        for place in places:
            await self._end(place)

    async def _end(self, place: str) -> None:
        try:
            await self._http.delete(place)
        except httpx.HTTPError as error:
            log.warning("a session of the stream server was not ended: %s", type(error).__name__)


def _place(location: str) -> str:
    """A session's path. Raises OfferError when it is none of the stream server's own: it could never be ended."""
    try:
        if location.startswith("/") and not location.startswith("//") and len(location) <= _MOST_PLACE:
            return httpx.URL(location).raw_path.decode("ascii")
    except httpx.InvalidURL:
        pass
    raise OfferError(502, "the stream server's answer names no session")
