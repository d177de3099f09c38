"""The page's routes. Whoever is not a viewer by the agent's last word gets nothing, not even the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sightglass.console.board import Board, Page
from sightglass.console.news import Address, shown
from sightglass.console.offers import OfferError, Offers
from sightglass.console.own import OwnPage

BEAT_S = 2.0
"""How often a page hears something at least: a browser does not notice that packets are dropped."""
MOST_SDP = 32_768
_NOT_OURS = "only this window's own page may ask that: load it anew"
_STATIC = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/causes.js": ("causes.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make(board: Board, offers: Offers) -> ASGIApp:
    """The application."""
    texts = {path: (files("sightglass.console") / "static" / name).read_bytes() for path, (name, _) in _STATIC.items()}

    own = OwnPage(board.job)

    async def static(request: Request) -> Response:
        cookie = {"Set-Cookie": own.cookie} if request.url.path == "/" else {}
        return Response(texts[request.url.path], media_type=_STATIC[request.url.path][1], headers=_HEADERS | cookie)

    async def events(request: Request) -> Response:
        if not own.asks(request):
            return _refuse(403, _NOT_OURS)
        page = board.enter(viewer_of(request.scope))
        if page is None:
            return _refuse(429, "too many pages are open: close one of them")
        return StreamingResponse(_events(board, offers, page), media_type="text/event-stream", headers=_HEADERS)

    async def whep(request: Request) -> Response:
        if not own.asks(request):
            return _refuse(403, _NOT_OURS)
        page = board.pages.get(request.headers.get("X-Sightglass-Page", ""))
        # A page's id is a secret of its own viewer: somebody else's is none.
        if page is None or page.viewer != viewer_of(request.scope):
            return _refuse(403, "this page is not open")
        if request.headers.get("Content-Type") != "application/sdp":
            return _refuse(415, "an offer must be application/sdp")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_SDP:
                return _refuse(413, f"an offer must not exceed {MOST_SDP} bytes")
        try:
            answer = await offers.offer(page, request.path_params["camera"], body)
        except OfferError as error:
            return _refuse(error.status, str(error))
        return Response(answer, 201, media_type="application/sdp", headers=_HEADERS)

    routes = [Route(path, static) for path in _STATIC]
    routes += [Route("/events", events), Route("/whep/{camera}", whep, methods=["POST"])]
    return _Viewers(Starlette(routes=routes), board)


def viewer_of(scope: Scope) -> Address:
    """The peer's address, from its connection."""
    return ip_address(scope["client"][0])


class _Viewers:
    """Lets viewers through, under the address that the agent gave out and under no other name.

    A page of somebody else's, opened in a viewer's browser, can have its own name point here (DNS rebinding); the
    browser then sends that name as Host.
    """

    def __init__(self, app: ASGIApp, board: Board) -> None:
        self._app, self._board = app, board
        self._host = f"{board.job.address}:{board.job.port}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if hosts != [self._host]:
            await _refuse(421, "ask by the address that you were given")(scope, receive, send)
        elif not self._board.admits(viewer_of(scope)):
            await _refuse(403, "you may not watch here now")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refuse(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status, headers=_HEADERS)


async def _events(board: Board, offers: Offers, page: Page) -> AsyncIterator[str]:
    seq = 0
    try:
        yield f"event: page\ndata: {page.id}\n\n"
        while True:
            news = await board.newer(seq, BEAT_S)
            if news is None:
                yield "event: beat\ndata:\n\n"
                continue
            seq = news.seq
            yield f"data: {shown(board.job, news, page.viewer, board.remaining_s())}\n\n"
            await board.delivered(page, seq)
            if news.state == "ended" or page.viewer not in news.viewers:
                return
    finally:
        # In a task of its own: when the browser goes away this generator is cancelled, and so is whatever it awaits.
        board.later(_leave(board, offers, page))


async def _leave(board: Board, offers: Offers, page: Page) -> None:
    await board.leave(page)
    await offers.drop(page)
