"""A window's page in Chromium whose offers get no picture: how often does it ask?

`refused.py URL` refuses the first two offers in the browser's own network stack, lets the third through, waits until
the picture has held for as long as the page wants, breaks it, and from then on refuses every offer. One JSON line:
`{"event": "gave up", "asked": {"before": 3, "after": 6}, "text": "…"}`: the page's requests for events before and after
the break, and what it says when it asks no more.
"""

from __future__ import annotations

import argparse
import sys

from playwright.sync_api import Request, Route, sync_playwright

from lab.tools.browse import NOTE, chromium, decoded
from lab.tools.seen import say

PICTURE_MS = 20_000
HELD_MS = 11_000
"""A second more than the page's STEADY_MS."""
MOST_MS = 60_000
QUIET_MS = 4_000
_BREAK = """() => {
  const connection = window.connections.at(-1);
  Object.defineProperty(connection, 'connectionState', { value: 'failed' });
  connection.onconnectionstatechange();
}"""
_GAVE_UP = "() => !document.getElementById('again').hidden"


def main() -> int:
    """Refuse."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    arguments = parser.parse_args()
    asked = {"before": 0, "after": 0}
    offers, broken = 0, False

    def note(request: Request) -> None:
        if request.url.endswith("/events"):
            asked["after" if broken else "before"] += 1

    def offer(route: Route) -> None:
        nonlocal offers
        offers += 1
        if broken or offers <= 2:
            route.fulfill(status=502, body="refused by the test\n")
        else:
            route.continue_()

    with sync_playwright() as playwright:
        page = chromium(playwright).new_page()
        page.add_init_script(NOTE)
        page.on("request", note)
        page.route("**/whep/*", offer)
        page.goto(arguments.url)
        page.wait_for_function(
            "() => document.querySelector('figcaption :last-child')?.textContent === 'live'", timeout=PICTURE_MS
        )
        page.wait_for_timeout(HELD_MS)
        say(event="held", frames=decoded(page))
        broken = True
        page.evaluate(_BREAK)
        page.wait_for_function(_GAVE_UP, timeout=MOST_MS)
        page.wait_for_timeout(QUIET_MS)
        say(event="gave up", asked=asked, text=page.locator("#banner").text_content())
    return 0


if __name__ == "__main__":
    sys.exit(main())
