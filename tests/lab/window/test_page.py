"""The page: what a viewer's browser sees, what it is told at the end, and what nobody else gets from it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab import wait
from lab.host import Host
from lab.media import next_event, tool
from tests.lab.window.site_under_test import Site

# Asks as a plain HTTP client that keeps its cookie; prints status and text of each answer, or what kept it from one.
_ASK = """
import json, sys, httpx
client = httpx.Client(timeout=3, trust_env=False)
for method, url, headers, body in json.loads(sys.argv[1]):
    try:
        answer = client.request(method, url, headers=headers, content=body.encode() or None)
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
def using(site: Site, name: str, *words: str) -> Iterator[Any]:
    """A tool of the lab, on the maintainer's host while the block runs."""
    with tool(site.maintainer, name, *words) as process:
        try:
            yield process
        finally:
            process.kill()


def browsing(site: Site, *options: str) -> contextlib.AbstractContextManager[Any]:
    """A browser of the maintainer on the page while the block runs."""
    return using(site, "browse", site.page, *options)


def watching(site: Site) -> list[bool]:
    """For each viewer of the open window, whether they watch by the agent's word."""
    return [viewer["watching"] for viewer in site.status()["window"]["viewers"]]


@pytest.mark.requirement("O3")
@pytest.mark.requirement("P2")
def test_a_browser_sees_live_frames_and_hears_why_they_end(site: Site) -> None:
    """Moving frames over UDP; a lane that moves blanks and says so; the close is said before the connection breaks, and
    nothing is asked after it."""
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
        assert suspended["text"].startswith("No picture for now. The lane is not safe: stay out of it.")
        site.lane("idle")
        assert next_event(page, "state")["state"] == "open"
        site.close()
        ended = next_event(page, "state")
        assert (ended["state"], ended["text"]) == ("ended", "The window has ended. It was closed.")
        asked = next_event(page, "asked")
        assert asked["before"] >= 6, "the control: page, style, two scripts, events and an offer were seen"
        assert asked["after"] == 0
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
    assert answers[3][1] == "this page is not open\n", "it has the cookie: what it has not is the page"


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
    with browsing(site, "--stay", "30") as page:
        next_event(page, "seen")
        assert watching(site) == [True]
    wait.until(lambda: watching(site) == [False], 10, "the viewer has left")
    assert [event["event"] for event in site.events(window["id"])][-1] == "left"
    closed = site.gateway.run(["journalctl", "-u", "sightglass-mediamtx", "-n", "8", "--no-pager", "-o", "cat"]).stdout
    assert "[WebRTC] [session" in closed
    assert "closed" in closed


@pytest.mark.requirement("P2")
@pytest.mark.requirement("O5")
def test_a_browser_that_vanishes_has_left_soon(site: Site) -> None:
    """Out of the radio's reach it says not a word more, not even that its connection ends; it counts for seconds."""
    window = site.open()
    chain = f"type filter hook output priority 0; ip daddr {site.gateway.vpn4} drop;"
    with browsing(site, "--stay", "60") as page:
        next_event(page, "seen")
        assert watching(site) == [True]
        site.maintainer.run(["nft", "-f", "-"], input=f"table inet radio {{ chain out {{ {chain} }}; }}")
        try:
            began = time.monotonic()
            wait.until(lambda: watching(site) == [False], 30, "who has vanished has left")
            assert 6 < time.monotonic() - began < 20
        finally:
            site.maintainer.run(["nft", "delete", "table", "inet", "radio"])
    assert [event["event"] for event in site.events(window["id"])][-1] == "left"
    assert site.status()["state"] == "open"


@pytest.mark.requirement("F2")
def test_a_page_without_a_picture_gives_up(site: Site) -> None:
    """Two offers fail and the third gives a picture that holds; after that it has its six tries, and not one more."""
    site.open()
    with using(site, "refused", site.page) as page:
        assert next_event(page, "held")["frames"] > 10
        gave_up = next_event(page, "gave up")
    assert gave_up["asked"] == {"before": 3, "after": 6}
    assert gave_up["text"] == "No picture came: refused by the test."


@pytest.mark.requirement("A5")
def test_another_web_page_of_the_same_browser_gets_no_place(site: Site) -> None:
    """It reaches the gateway as its viewer does, and takes none of the viewer's places; nor does it read or offer."""
    site.open()
    with using(site, "foreign", site.page, str(site.maintainer.wan4)) as page:
        asked = next_event(page, "asked")
    assert asked["foreign"].pop("/") == [200], "the control: nothing but the console refuses it"
    assert asked["foreign"] == {"/events": [403] * 4, "/whep/cam1": [405, 403]}
    assert asked["read"] == []
    # One place is the page's own; with three more it has all four.
    assert asked["own"] == [200, 200, 200, 429]
