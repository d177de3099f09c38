"""The page: what a viewer's browser sees, what it is told at the end, and what nobody else gets from it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.host import Host
from lab.media import browser, next_event
from tests.lab.window.site_under_test import Site

# Asks as a plain HTTP client; prints status and text of each answer, or what kept it from one.
_ASK = """
import json, sys, httpx
for method, url, headers, body in json.loads(sys.argv[1]):
    try:
        answer = httpx.request(method, url, headers=headers, content=body.encode() or None, timeout=3, trust_env=False)
        print(json.dumps([answer.status_code, answer.text[:200]]))
    except httpx.HTTPError as error:
        print(json.dumps([None, type(error).__name__]))
"""
SDP = {"Content-Type": "application/sdp"}
Asked = tuple[str, str, dict[str, str], str]


def ask(host: Host, *asked: Asked) -> list[tuple[int | None, str]]:
    """Status and text of each answer; None where there was none."""
    done = host.run([sys.executable, "-c", _ASK, json.dumps(asked)], timeout=30)
    return [(status, text) for status, text in map(json.loads, done.stdout.splitlines())]


@contextlib.contextmanager
def browsing(site: Site, *options: str) -> Iterator[Any]:
    """A browser of the maintainer on the page while the block runs."""
    with browser(site.maintainer, site.page, *options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.requirement("O3")
@pytest.mark.requirement("P2")
def test_a_browser_sees_live_frames_and_hears_why_they_end(site: Site) -> None:
    """Moving frames over UDP; a lane that moves blanks and says so; the close is said before the connection breaks."""
    window = site.open(purpose="alignment")
    with browsing(site, "--stay", "40") as page:
        seen = next_event(page, "seen")
        numbers = [number for number in seen["numbers"] if number is not None]
        assert numbers == sorted(numbers), "the screen is read more often than it changes"
        assert len(set(numbers)) > 1
        assert seen["transport"] == "udp"
        assert next_event(page, "state")["state"] == "open"
        site.lane("moving")
        suspended = next_event(page, "state")
        assert (suspended["state"], "moving" in suspended["text"]) == ("suspended", True)
        site.lane("idle")
        assert next_event(page, "state")["state"] == "open"
        site.close()
        ended = next_event(page, "state")
        assert (ended["state"], ended["text"]) == ("ended", "The window has ended. It was closed.")
        assert page.wait(10) == 0
    events = [event for event in site.events(window["id"]) if event["event"] in ("joined", "left")]
    assert [(event["event"], event["who"]["user"]) for event in events] == [
        ("joined", "maintainer"),
        ("left", "maintainer"),
    ]
    assert events[0]["data"] == {"by": "page"}


@pytest.mark.requirement("O3")
def test_a_browser_whose_udp_fails_gets_the_picture_over_tcp(site: Site) -> None:
    """As behind some VPN clients: its UDP to the media port is dropped on its own machine."""
    site.open()
    rules = "table inet noudp { chain out { type filter hook output priority 0; udp dport 8189 drop; }; }"
    site.maintainer.run(["nft", "-f", "-"], input=rules)
    try:
        with browsing(site) as page:
            assert next_event(page, "seen")["transport"] == "tcp"
    finally:
        site.maintainer.run(["nft", "delete", "table", "inet", "noudp"])


@pytest.mark.requirement("A5")
@pytest.mark.requirement("A1")
def test_nobody_else_gets_anything_from_the_page(site: Site) -> None:
    """Not another member, not under another name, not with a made-up page, not from the server behind it."""
    site.open()
    host = site.page.removeprefix("http://").rstrip("/")
    server = f"http://{site.gateway.vpn4}:8889/cam1/whep"
    get: Asked = ("GET", site.page, {}, "")
    assert ask(site.lab.host("member"), get)[0][0] is None
    answers = ask(
        site.maintainer,
        get,
        ("GET", site.page, {"Host": "evil.example:8550"}, ""),
        ("GET", site.page, {"Host": host}, ""),
        ("POST", f"{site.page}whep/cam1", {**SDP, "X-Sightglass-Page": "made-up"}, "v=0"),
        ("POST", f"{site.page}whip/cam1", SDP, "v=0"),
        ("POST", server, SDP, "v=0"),
    )
    assert [status for status, _ in answers] == [200, 421, 200, 403, 404, None]


@pytest.mark.requirement("N3")
def test_a_closed_window_answers_a_page_at_once_with_a_reset(site: Site) -> None:
    """No listener, no wait: a page that still asks costs nothing, and a forgotten one has stopped asking by itself."""
    site.open()
    assert ask(site.maintainer, ("GET", site.page, {}, ""))[0][0] == 200, "the control: it was there"
    site.close()
    began = time.monotonic()
    assert ask(site.maintainer, ("GET", site.page, {}, "")) == [(None, "ConnectError")]
    assert time.monotonic() - began < 3


@pytest.mark.requirement("P2")
def test_a_page_that_is_closed_leaves_no_session(site: Site) -> None:
    """The browser goes away without a word: its viewer has left within seconds, and the server holds no reader."""
    window = site.open()
    with browsing(site) as page:
        next_event(page, "seen")
        assert [v["watching"] for v in site.status()["window"]["viewers"]] == [True]
    site.lab.wait.until(
        lambda: [v["watching"] for v in site.status()["window"]["viewers"]] == [False], 10, "the viewer has left"
    )
    assert [event["event"] for event in site.events(window["id"])][-1] == "left"
    closed = site.gateway.run(["journalctl", "-u", "sightglass-mediamtx", "-n", "8", "--no-pager", "-o", "cat"]).stdout
    assert "[WebRTC] [session" in closed
    assert "closed" in closed
