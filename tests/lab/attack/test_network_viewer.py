"""An entitled viewer, in a VPN that stops nobody, wants more than to watch: to publish, other cameras, other people's
sessions, the server's own ports, and all of it again after the end."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator

import pytest

from demo.matrix import OPEN, OPENED
from lab import Lab, wait
from lab.media import TOOLS
from tests.lab.attack.viewing import ANNOUNCED, TCP, Scene, opened
from tests.lab.window.test_page import SDP, ask

SERVERS = (1883, 1935, 8000, 8001, 8322, 8800, 8888, 8889, 8890, 8892, 8893, 9996, 9997, 9998, 9999)


@pytest.fixture(scope="module")
def scene(converged: Lab) -> Iterator[Scene]:
    """The window stays open while the tests attack it."""
    with opened(converged) as scene:
        yield scene


def basic(user: str, password: str) -> str:
    """Credentials as HTTP and RTSP carry them."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("path", ["/cam1", "/cam1/more"])
@pytest.mark.parametrize("who", ["nobody", "feed, no password", "feed, a guess", "console", "feed, its own secret"])
def test_a_viewer_cannot_publish(scene: Scene, path: str, who: str) -> None:
    """By RTSP, at this camera and at others, with no credentials, guessed ones, and the very ones of the feed."""
    given = {
        "nobody": {},
        "feed, no password": {"Authorization": basic("feed", "")},
        "feed, a guess": {"Authorization": basic("feed", "feed")},
        "console": {"Authorization": basic("console", "console")},
        "feed, its own secret": {"Authorization": scene.feed},
    }[who]
    with scene.rtsp() as viewer:
        assert viewer.ask("DESCRIBE")["status"] == 200, "the control: the same connection may watch"
        sent = {**given, "Content-Type": "application/sdp"}
        # 400: there is no such path. 401: the agent says no.
        assert viewer.ask("ANNOUNCE", path, sent, ANNOUNCED)["status"] == (401 if path == "/cam1" else 400)
    with scene.rtsp() as viewer:
        assert viewer.ask("RECORD", path, given)["status"] != 200
    with scene.rtsp(scene.site.gateway, "sightglass-feed") as feed:
        sent = {"Authorization": scene.feed, "Content-Type": "application/sdp"}
        assert feed.ask("ANNOUNCE", "/cam1", sent, ANNOUNCED)["status"] == 200, "the control: the feed itself might"
    assert scene.publishers() == 1, "the feed"
    assert scene.lives()


ELSEWHERE = [
    "/cam2", "/none", "/", "", "/cam1/../cam2", "/cam1/..%2fcam2", "/cam1%2f..%2fcam2", "/%63am2", "//cam1",
    "/CAM1", "/cam1%00", "/cam1%0a", "/cam1;cam2", "/all_others", "/~%5ecam", "/../../etc/passwd", "/cam1/cam2",
    "/cam2?path=cam1", "/cam2/trackID=0",
]  # fmt: skip


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_viewer_gets_no_other_camera(scene: Scene, path: str) -> None:
    """Not one that the gateway has and the window has not, and not by a path that means another one."""
    with scene.rtsp() as viewer:
        assert viewer.ask("DESCRIBE", path)["status"] != 200
    with scene.rtsp() as viewer:
        assert viewer.ask("DESCRIBE")["status"] == 200, "the control"
        assert viewer.ask("SETUP", f"{path}/trackID=0", TCP)["status"] != 200
    host = scene.site.page.rstrip("/")
    with scene.page() as headers:
        (answer,) = ask(scene.site.maintainer, ("POST", f"{host}/whep{path}", headers, "v=0\r\n"))
        assert answer[0] in (307, 404, 405), answer


@pytest.mark.requirement("N1")
@pytest.mark.parametrize(
    "transport",
    [
        "RTP/AVP;unicast;client_port=7100-7101",
        "RTP/AVP;multicast",
        "RTP/AVP;unicast;destination={lan};client_port=7100",
    ],
)
def test_a_viewer_cannot_send_the_picture_elsewhere(scene: Scene, transport: str) -> None:
    """Not by UDP, not to a group, not to another host: the picture goes where it was asked from."""
    asked = {"Transport": transport.format(lan=scene.site.lab.host("lan").lan4)}
    with scene.rtsp() as viewer:
        assert viewer.ask("SETUP", "/cam1/trackID=0", asked)["status"] in (400, 461)
        assert viewer.ask("SETUP", "/cam1/trackID=0", TCP)["status"] == 200, "the control"


@pytest.mark.requirement("A5")
def test_a_viewer_reaches_nothing_of_the_server_but_the_stream(scene: Scene) -> None:
    """API, metrics, profiles, playback and the offers' port, in both families; the window's own ports answer."""
    gateway = scene.site.gateway
    places = [(address, port) for address in (gateway.vpn4, gateway.vpn6) for port in (*SERVERS, *OPENED)]
    probes = [{"protocol": "tcp", "address": str(address), "port": port} for address, port in places]
    done = scene.site.maintainer.run([sys.executable, str(TOOLS / "probe.py")], input=json.dumps(probes), timeout=20)
    answers = json.loads(done.stdout)["probes"]
    reached = {(probe["address"], probe["port"]) for probe in answers if probe["outcome"] in OPEN}
    assert reached == {(gateway.vpn4, port) for port in OPENED}


@pytest.mark.requirement("A5")
def test_a_session_is_of_no_use_to_another_viewer(scene: Scene) -> None:
    """Whoever knows its number can neither stop, pause nor take over a picture; the one who has it can."""
    with scene.rtsp() as ann, scene.rtsp(scene.other) as bob:
        session = ann.play()
        before = ann.packets()
        theirs = {"Session": session}
        for method in ("GET_PARAMETER", "PAUSE", "TEARDOWN", "PLAY", "RECORD", "SETUP"):
            with scene.rtsp(scene.other) as thief:  # the server hangs up after each
                taken = thief.ask(method, "/cam1/trackID=0" if method == "SETUP" else "/cam1", {**TCP, **theirs})
                assert taken["status"] in (400, 404, 454), (method, taken)
        assert ann.packets() > before
        assert ann.ask("GET_PARAMETER", "/cam1", theirs)["status"] == 200, "the control"
        bob.play()
        assert bob.packets() > 0, "the control: bob may watch by himself"


@pytest.mark.requirement("A5")
def test_a_page_is_of_no_use_to_another_viewer(scene: Scene) -> None:
    """Neither its id, nor the session behind it: nobody can end, change or take over what another one sees."""
    host, server = scene.site.page.rstrip("/"), scene.site.page.replace(":8550/", ":8889")
    with scene.page() as headers:
        page = headers["X-Sightglass-Page"]
        offer = ("POST", f"{host}/whep/cam1", headers, "v=0\r\n")
        assert ask(scene.site.maintainer, offer)[0][0] == 400, "the control: the page itself gets as far as the server"
        assert ask(scene.other, offer)[0] == (403, "this page is not open\n")
        places = [f"{host}/whep/cam1", f"{host}/whep/cam1/{page}", f"{host}/cam1/whep/{page}", f"{host}/cam1/whip"]
        for method in ("PATCH", "DELETE", "PUT", "OPTIONS"):
            answers = ask(scene.other, *((method, place, headers, "") for place in places))
            assert {status for status, _ in answers} <= {404, 405}, (method, answers)
        answers = ask(
            scene.other, *((m, f"{server}/cam1/{w}", SDP, "") for m in ("POST", "DELETE") for w in ("whip", "whep"))
        )
        assert {status for status, _ in answers} == {None}
    assert scene.lives()


@pytest.mark.requirement("A5")
@pytest.mark.requirement("O5")
def test_nothing_of_a_window_is_of_use_after_it(scene: Scene) -> None:
    """Session, page and the feed's own secret: not after the end, and not in the next window."""
    site = scene.site
    with scene.page() as headers, scene.rtsp() as viewer:
        session = viewer.play()
        assert viewer.packets() > 0
        site.close()
        wait.until(lambda: viewer.ask("COUNT")["status"] is None, 10, "the picture has ended")
    offer = ("POST", f"{site.page}whep/cam1", headers, "v=0\r\n")
    replays = [("PLAY", {"Session": session}), ("ANNOUNCE", {"Authorization": scene.feed})]
    for method, given in replays:
        with scene.rtsp() as viewer:
            assert viewer.ask(method, "/cam1", given) == {"status": None, "why": "ConnectionRefusedError"}
    assert ask(site.maintainer, offer)[0][0] is None
    site.wait_closed()
    site.open()
    with scene.rtsp() as viewer:
        assert viewer.ask("DESCRIBE")["status"] == 200, "the control: the next window"
    for (method, given), status in zip(replays, (454, 401), strict=True):
        with scene.rtsp() as viewer:
            sent = {**given, "Content-Type": "application/sdp"}
            assert viewer.ask(method, "/cam1", sent, ANNOUNCED)["status"] == status
    assert ask(site.maintainer, offer)[0][0] == 403, "its cookie is of the last window"
    with scene.page() as again:
        mixed = ("POST", f"{site.page}whep/cam1", {**headers, "Cookie": again["Cookie"]}, "v=0\r\n")
        assert ask(site.maintainer, mixed)[0] == (403, "this page is not open\n")
        renewed = ("POST", f"{site.page}whep/cam1", again, "v=0\r\n")
        assert ask(site.maintainer, renewed)[0][0] == 400, "the control: a page of this window gets to the server"
    assert scene.publishers() == 1
    assert scene.lives()
