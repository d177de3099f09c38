"""The main job: open with a reason, watch over the VPN, close; and everything that is refused, by its rule's name."""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Any

import pytest

from bench.window import one_window
from lab import wait
from lab.media import next_event
from tests.lab.window.site_under_test import Site


@pytest.mark.requirement("A4")
@pytest.mark.requirement("O1")
@pytest.mark.requirement("O3")
@pytest.mark.requirement("O5")
def test_an_entitled_maintainer_sees_live_frames_until_the_window_is_closed(site: Site) -> None:
    """The source's own frame numbers advance; after the close nothing is left and the player has ended."""
    window = site.open()
    listening = site.gateway.run(["ss", "-Hltnp", "sport", "=", ":8554"]).stdout
    assert f"pid={site.pid('mediamtx')}," in listening, "the stream server runs on the gateway itself"
    numbers = [number for number in site.watch(frames=15) if number is not None]
    # A camera that is slower than the feed for a moment has its last picture shown again.
    assert len(set(numbers)) > 5
    assert numbers == sorted(numbers)
    with site.watching() as viewer:
        closed = site.close()
        assert closed["state"] == "closed"
        assert site.left() == []
        viewer.wait(5)
    assert site.cause(window["id"]) == "closed"
    names = [event["event"] for event in site.events(window["id"])]
    assert names[:2] == ["opening", "opened"]
    assert names[-1] == "closed"
    assert "joined" in names
    left = [event for event in site.events(window["id"]) if event["event"] == "left"]
    assert all(event["data"]["bytes"] > 10_000 for event in left), "what each viewer was sent, by the kernel's count"
    assert left
    opening = site.events(window["id"])[0]
    assert opening["who"]["reason"] == "a test looks at it"
    assert opening["who"]["user"] == "root"


@pytest.mark.requirement("U4")
def test_a_picture_is_there_and_gone_as_soon_as_a_person_expects(site: Site) -> None:
    """From the commands to the first decoded frame and the last media byte. `make bench` has the figures; these bounds
    hold on a machine that does other things, too."""
    took = one_window(site.gateway, site.maintainer, site.url, "a test measures")
    assert took["first_frame_s"] < 5, took
    assert took["last_byte_s"] < 1, took
    assert took["last_byte_s"] > -1, "the control: there was a picture when it was closed"
    site.wait_closed()


@pytest.mark.requirement("O2")
def test_a_moving_lane_refuses(site: Site) -> None:
    """By the guard's name, and nothing is started."""
    site.lane("moving")
    refused = site.ask_open()
    assert refused.returncode == 3
    assert "refused (guard-lane)" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert site.left() == []


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"camera": "cam9"}, "unknown-camera"),
        ({"minutes": 121}, "over-ceiling"),
        ({"minutes": 0}, "bad-request"),
        ({"reason": "no"}, "bad-request"),
        ({"reason": "x" * 201}, "bad-request"),
        ({"reason": "line one\nline two"}, "bad-request"),
        ({"reason": "escape \x1b[2J here"}, "bad-request"),
    ],
    ids=["camera", "ceiling", "zero", "short", "long", "newline", "escape"],
)
def test_what_a_site_does_not_allow_is_refused_in_one_sentence(site: Site, options: dict[str, Any], rule: str) -> None:
    """The rule's name, one line, nothing started."""
    refused = site.ask_open(**options)
    assert refused.returncode == 3, refused
    assert f"refused ({rule})" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert site.left() == []
    assert site.status()["state"] == "closed"


@pytest.mark.requirement("O1")
def test_a_second_window_is_refused_and_a_repeated_request_changes_nothing(site: Site) -> None:
    """The same request id returns the same window, open and closed; another one is refused."""
    # New ones: an attached gateway still knows those of the run before.
    one, other = (f"test-{secrets.token_hex(4)}" for _ in range(2))
    first = site.open(request_id=one)
    second = site.ask_open(request_id=other)
    assert second.returncode == 3
    assert "refused (second-window)" in second.stderr
    again = json.loads(site.ask_open(request_id=one).stdout)
    assert (again["id"], again["state"]) == (first["id"], "open")
    head = site.status()["chain"]
    site.ask_open(request_id=one)
    assert site.status()["chain"] == head
    site.close()
    closed = json.loads(site.ask_open(request_id=one).stdout)
    assert (closed["id"], closed["state"]) == (first["id"], "closed")
    assert site.left() == []


@pytest.mark.requirement("N3")
def test_disable_closes_and_refuses_until_enabled(site: Site) -> None:
    """Also across a restart of the agent; enabled again the next window opens."""
    window = site.open()
    done = site.sightglass("disable", "--reason", "works at the barrier")
    assert done.returncode == 0, done.stderr
    assert site.left() == []
    assert site.cause(window["id"]) == "disabled"
    assert "refused (disabled)" in site.ask_open().stderr or "refused (guard-enabled)" in site.ask_open().stderr
    site.gateway.run(["systemctl", "restart", "sightglass-agent.service"])
    wait.until(lambda: site.status()["state"] == "disabled", 10, "disabled after a restart")
    assert site.ask_open().returncode == 3
    assert site.sightglass("enable", "--reason", "works are over").returncode == 0
    site.wait_guards()
    site.open()


@pytest.mark.requirement("O2")
def test_alignment_suspends_the_picture_while_the_lane_is_not_safe(site: Site) -> None:
    """A slate instead of the scene while a car moves; the scene again when the lane is idle."""
    window = site.open(purpose="alignment")
    assert any(number is not None for number in site.watch(frames=5)), "the control: the scene is there"
    site.lane("moving")
    wait.until(lambda: site.status()["state"] == "suspended", 5, "suspended")
    assert set(site.watch(frames=5)) == {None}
    site.lane("idle")
    wait.until(lambda: site.status()["state"] == "open", 5, "open again")
    assert any(number is not None for number in site.watch(frames=15))
    names = [event["event"] for event in site.events(window["id"])]
    assert "suspended" in names
    assert "resumed" in names


@pytest.mark.requirement("O5")
def test_the_deadline_ends_a_window(site: Site) -> None:
    """One minute, to the second, with a viewer who would stay."""
    window = site.open(minutes=1)
    with site.watching(seconds=90) as viewer:
        wait.until(lambda: site.status()["state"] == "closed", 70, "closed at the deadline")
        viewer.wait(5)
    assert site.left() == []
    assert site.cause(window["id"]) == "deadline"


@pytest.mark.requirement("O5")
@pytest.mark.requirement("F3")
def test_a_hung_agent_shows_nothing_after_the_deadline(site: Site) -> None:
    """Stopped a moment before: the last lease ends with the window, not a lease later."""
    window = site.open(minutes=1)
    with site.watching(seconds=90) as viewer:
        wait.until(lambda: site.status()["window"]["remaining_s"] < 4, 70, "the deadline is near")
        site.gateway.run(["kill", "-STOP", str(site.pid("agent"))])
        ended = next_event(viewer, "end")
    late = ended["at"] - datetime.fromisoformat(window["deadline"]).timestamp()
    assert -3 < late < 3, "a lease is up to 15 s, and a stopped agent is seen after 10 s"
