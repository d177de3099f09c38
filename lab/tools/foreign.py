"""Another web page in a viewer's browser: it asks what only a window's own page may ask.

`foreign.py URL ADDRESS` opens the window's page at URL, then, in the same browser, a page that it serves itself at
ADDRESS. That one asks URL for its page and its events by every means that a web page has, and offers; then the window's
page asks for more events itself, until it is refused. One JSON line: `{"event": "asked", "foreign": {"/": [200],
"/events": [403, 403], "/whep/cam1": [405]}, "read": [], "own": [200, 200, 429]}`: the statuses that the browser saw for
the foreign page, also where it keeps the answer from it; what the foreign page could read; and the statuses of the
window's page.
"""

from __future__ import annotations

import argparse
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from lab.tools.browse import chromium
from lab.tools.seen import say

WAIT_MS = 15_000
_FOREIGN = """async (url) => {
  window.held = [];
  const read = [];
  const got = (path, options) => fetch(url + path, { credentials: 'include', ...options }).then(
    (answer) => { window.held.push(answer); if (answer.status) read.push(path); }, () => null);
  await got('', { mode: 'no-cors' });
  for (const mode of ['cors', 'no-cors']) await got('events', { mode });
  for (const withCredentials of [false, true]) await new Promise((resolve) => {
    const source = new EventSource(url + 'events', { withCredentials });
    source.onopen = () => { read.push('EventSource'); resolve(); };
    source.onerror = () => { source.close(); resolve(); };
  });
  await got('whep/cam1', { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: 'v=0' });
  await got('whep/cam1', { method: 'POST', mode: 'no-cors', body: 'v=0' });
  return read;
}"""
_OWN = """async () => {
  window.held = [];
  const statuses = [];
  while (statuses.length < 6 && (!statuses.length || statuses.at(-1) === 200)) {
    const answer = await fetch('/events');
    window.held.push(answer);
    statuses.push(answer.status);
  }
  return statuses;
}"""


class Blank(BaseHTTPRequestHandler):
    """A web page with nothing on it."""

    def do_GET(self) -> None:
        """Serve it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> int:
    """Ask."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("address")
    arguments = parser.parse_args()
    server = HTTPServer((arguments.address, 0), Blank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        context = chromium(playwright).new_context()
        own = context.new_page()
        own.goto(arguments.url, timeout=WAIT_MS)
        own.wait_for_function("() => document.body.dataset.state === 'open'", timeout=WAIT_MS)
        foreign = context.new_page()
        urls: dict[str, str] = {}
        seen: list[tuple[str, int]] = []
        wire = context.new_cdp_session(foreign)
        wire.on("Network.requestWillBeSent", lambda m: urls.update({m["requestId"]: m["request"]["url"]}))
        wire.on("Network.responseReceivedExtraInfo", lambda m: seen.append((m["requestId"], m["statusCode"])))
        foreign.goto(f"http://{arguments.address}:{server.server_port}/", timeout=WAIT_MS)
        wire.send("Network.enable")
        read = foreign.evaluate(_FOREIGN, arguments.url)
        statuses: dict[str, list[int]] = {}
        own_statuses = own.evaluate(_OWN)
        for request, status in seen:
            # What was asked before the wire was watched, its own icon for one, has a status and no address.
            if urls.get(request, "").startswith(arguments.url):
                statuses.setdefault(urlsplit(urls[request]).path, []).append(status)
        say(event="asked", foreign=statuses, read=read, own=own_statuses)
    return 0


if __name__ == "__main__":
    sys.exit(main())
