"""Whether a request comes from the window's own page.

Any web page that a viewer's browser has open asks from the viewer's network position. It can read nothing of ours, but
each /events that it holds takes one of the viewer's few places.
"""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request

from sightglass.console.news import Job

NAME = "sightglass"


class OwnPage:
    """Knows its own page by a cookie, new for each window, that browsers do not send for another site's page.

    Not `Secure`: the page is plain HTTP at a VPN address, and the VPN encrypts it.
    """

    def __init__(self, job: Job) -> None:
        self._origin = f"http://{job.address}:{job.port}"
        self._secret = secrets.token_urlsafe(24)

    @property
    def cookie(self) -> str:
        """The value of the header Set-Cookie that comes with the page."""
        return f"{NAME}={self._secret}; Path=/; HttpOnly; SameSite=Strict"

    def asks(self, request: Request) -> bool:
        """Whether this is the page's request."""
        # To a site, a port is nothing: what else this gateway serves gets our cookie sent, but has another origin.
        # Browsers say Sec-Fetch-Site over HTTPS only, as of now.
        return (
            hmac.compare_digest(request.cookies.get(NAME, "").encode(), self._secret.encode())
            and request.headers.get("Origin", self._origin) == self._origin
            and request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        )
