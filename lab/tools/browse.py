"""A viewer with a browser: opens a window's page in Chromium, and says what it shows.

`browse.py URL [--frames N] [--picture FILE] [--size WxH] [--stay S]` prints one JSON line per event:
`{"event": "first", "at": …}` when the browser has decoded a frame, `{"event": "seen", "numbers": […],
"transport": "udp"}` when it has decoded N more (`numbers` are those of the source's burnt-in strip, read from the
screen, null where they cannot be read), and with --stay each change of the page: `{"event": "state", "state": "ended",
"text": …, "at": …}` until it has ended or S seconds are over; after an end, `{"event": "asked", "before": …,
"after": …}`: the requests that it made until then, and in the three seconds after. Exit code 0 when at least one frame
was decoded, 1 when none.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

from lab.tools.seen import number, say

FIRST_S = 15.0
AFTER_MS = 3000
"""Longer than the page waits for its first two tries."""
_DECODED = "() => [...document.querySelectorAll('video')].map(v => v.getVideoPlaybackQuality().totalVideoFrames)"
_STATE = "() => [document.body.dataset.state, document.getElementById('banner').textContent]"
# The page keeps its connections to itself, as it should: this notes them as they are made.
NOTE = """
window.connections = [];
const made = window.RTCPeerConnection;
window.RTCPeerConnection = class extends made {
  constructor(...given) { super(...given); window.connections.push(this); }
};
"""
_TRANSPORT = """async () => {
  for (const connection of window.connections) {
    const stats = [...(await connection.getStats()).values()];
    const pair = stats.find((s) => s.type === 'candidate-pair' && s.nominated && s.bytesReceived);
    const local = pair && stats.find((s) => s.id === pair.localCandidateId);
    if (local) return local.protocol;
  }
  return null;
}"""


def chromium(playwright: Playwright) -> Browser:
    """The host's browser."""
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    return playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)


def on_screen(page: Page) -> int | None:
    """The source's frame number, as the screen shows it."""
    shot = page.locator("video").first.screenshot()
    return number(cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR))


def decoded(page: Page) -> int:
    """Frames that the browser has decoded so far, of all cameras."""
    return sum(page.evaluate(_DECODED))


def follow(page: Page, until: float, requests: list[str]) -> None:
    """Say each change of the page's state, until it has ended; then whether it still asked for something."""
    last = None
    while time.time() < until:
        state, text = page.evaluate(_STATE)
        if (state, text) != last:
            last = (state, text)
            say(event="state", state=state, text=text, at=time.time())
        if state == "ended":
            before = len(requests)
            page.wait_for_timeout(AFTER_MS)
            say(event="asked", before=before, after=len(requests) - before)
            return
        page.wait_for_timeout(20)


def main() -> int:
    """Browse."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--size", default="800x620")
    parser.add_argument("--stay", type=float, default=0.0)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        width, height = map(int, arguments.size.split("x"))
        page = browser.new_page(viewport={"width": width, "height": height})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: say(event="fault", text=str(error)))
        page.add_init_script(NOTE)
        try:
            page.goto(arguments.url, timeout=FIRST_S * 1000)
            page.wait_for_function(f"() => ({_DECODED})().some(n => n > 0)", timeout=FIRST_S * 1000)
        except Error as error:
            say(event="end", frames=0, text=error.message.splitlines()[0])
            return 1
        say(event="first", at=time.time())
        enough, numbers, until = decoded(page) + arguments.frames, [], time.time() + FIRST_S
        while decoded(page) < enough and time.time() < until:
            numbers.append(on_screen(page))
        if arguments.picture:
            page.screenshot(path=arguments.picture)
        say(
            event="seen", frames=decoded(page), numbers=numbers, transport=page.evaluate(_TRANSPORT), title=page.title()
        )
        follow(page, time.time() + arguments.stay, requests)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
