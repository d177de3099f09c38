"""The join check: what MediaMTX's question must be to be answered with a yes, over HTTP as it asks."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from ipaddress import IPv4Address
from typing import Any, cast

import httpx
import pytest

from sightglass.adapters import clock
from sightglass.adapters.hook import Hook
from sightglass.adapters.tailnet import Tailnet
from sightglass.joins import MOST_VISITS, UNSEEN_BYTES, Joins
from sightglass.observer import POLL_S
from sightglass.viewers import Address, Needed, Peer, Viewer
from sightglass.window import Limits, Machine, Purpose, State, Window
from tests.unit.feed_parts import free_port

OWN = IPv4Address("100.64.0.1")
ANN, BOB = IPv4Address("100.64.0.2"), IPv4Address("100.64.0.3")
PATH = "/a-secret-path"
VIEWER = Viewer("n-ann", "ann", "ann", 1, (ANN,))
WINDOW = Window("w-1", "r-1", ("cam1",), Purpose.DEBUG, 30, frozenset(), "redacted", 0.0, 1800.0, opened=1.0)
OPEN = Machine(Limits(15, 600, 120, 2), State.OPEN, WINDOW)
READ: dict[str, Any] = {
    "ip": str(ANN), "user": "", "password": "", "token": "", "action": "read", "path": "cam1", "protocol": "rtsp",
    "id": None, "query": "", "userAgent": "",
}  # fmt: skip
PUBLISH = {**READ, "ip": str(OWN), "action": "publish", "user": "feed", "password": "feed-secret"}
PAGE = {
    **READ, "ip": str(OWN), "protocol": "webrtc", "user": "console", "password": "console-secret",
    "query": f"viewer={ANN}",
}  # fmt: skip


def peer(name: str, address: Address, *, entitled: bool) -> Peer:
    """A person's node."""
    return Peer(f"n-{name}", name, name, 1, False, (address,), ({"sites": ["*"]},) if entitled else ())


class KnownTailnet:
    """Stands for tailscaled, which no unit test has: it knows ann, who may watch, and bob, who may not."""

    def __init__(self) -> None:
        self.asked = 0

    async def whois(self, address: Address) -> Peer | None:
        """Who it is."""
        self.asked += 1
        known = {ANN: peer("ann", ANN, entitled=True), BOB: peer("bob", BOB, entitled=False)}
        return known.get(cast("IPv4Address", address))


class Asked:
    """A join check at work, and what it wrote."""

    def __init__(self) -> None:
        self.machine = OPEN
        self.full = False
        self.tailnet = KnownTailnet()
        self.records: list[tuple[str, dict[str, Any], str | None]] = []
        self.key_frames: list[str] = []
        self.sent: dict[Address, int] = {ANN: 1000}
        self.there: set[tuple[str, Address]] = {(by, address) for by in ("player", "page") for address in (ANN, BOB)}
        self.joins = Joins(
            Needed("site", ("cam1",)), (OWN,), "feed-secret", "console-secret", cast("Tailnet", self.tailnet),
            lambda: self.machine, self._record, self.key_frames.append, lambda: self.sent, self._connected,
        )  # fmt: skip

    async def _connected(self, by: str, viewer: Address) -> bool:
        return (by, viewer) in self.there

    def _record(self, event: str, data: dict[str, Any], personal: dict[str, Any] | None) -> None:
        if self.full:
            raise OSError("no space")
        self.records.append((event, data, personal["user"] if personal else None))

    def ask(self, body: object, *, path: str = PATH, method: str = "POST", times: int = 1) -> list[int]:
        """The statuses of the answers to one question, asked as MediaMTX does."""

        async def talk() -> list[int]:
            hook, port = Hook(PATH, self.joins.decide), free_port()
            await hook.start(port)
            try:
                async with httpx.AsyncClient(trust_env=False) as client:
                    url = f"http://127.0.0.1:{port}{path}"
                    text = body if isinstance(body, str) else json.dumps(body)
                    return [(await client.request(method, url, content=text)).status_code for _ in range(times)]
            finally:
                await hook.stop()

        return asyncio.run(talk())


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.mark.requirement("A5")
@pytest.mark.requirement("P2")
@pytest.mark.parametrize(("body", "by"), [(READ, "player"), (PAGE, "page")], ids=["player", "page"])
def test_an_entitled_viewer_joins_and_is_recorded_by_name(asked: Asked, body: dict[str, Any], by: str) -> None:
    """On the record with the person and the way, once; and the next frame is a key frame."""
    assert asked.ask(body, times=2) == [204, 204]
    assert asked.records == [("joined", {"by": by}, "ann")]
    assert asked.key_frames == ["cam1", "cam1"]


def test_the_feed_publishes(asked: Asked) -> None:
    """With its secret of this window; nobody has joined by that."""
    assert asked.ask(PUBLISH) == [204]
    assert asked.records == []


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    "body",
    [
        {**READ, "ip": str(BOB)},
        {**READ, "ip": "100.64.0.9"},
        {**READ, "ip": "<nil>"},
        {**READ, "path": "cam2"},
        {**READ, "protocol": "hls"},
        {**READ, "action": "playback"},
        {**READ, "action": "api"},
        {**PUBLISH, "ip": str(ANN)},
        {**PUBLISH, "password": "console-secret"},
        {**PUBLISH, "password": ""},
        {**PUBLISH, "user": "ann"},
        {**PUBLISH, "protocol": "webrtc"},
        {**PAGE, "password": "feed-secret"},
        {**PAGE, "user": "feed"},
        {**PAGE, "ip": str(ANN)},
        {**PAGE, "query": ""},
        {**PAGE, "query": f"viewer={BOB}"},
        {**PAGE, "query": f"viewer={ANN}&viewer={ANN}"},
        {**PAGE, "query": "viewer=ann"},
        {**PAGE, "query": "&".join("abcdef")},
        {key: value for key, value in READ.items() if key != "query"},
        [],
        '"text"',
    ],
    ids=lambda body: json.dumps(body)[:120],
)
def test_anything_else_is_a_no(asked: Asked, body: object) -> None:
    """Another person, camera, protocol, action, secret, or shape."""
    assert asked.ask(body) == [403]
    assert not [record for record in asked.records if record[0] == "joined"]


@pytest.mark.requirement("U5")
def test_a_person_who_is_refused_is_on_the_record_once(asked: Asked) -> None:
    """However often they try."""
    asked.ask({**READ, "ip": str(BOB)}, times=5)
    assert asked.records == [
        ("refused", {"what": "join", "why": "no capability for this site, camera and privacy level"}, "bob")
    ]


@pytest.mark.parametrize(("path", "method"), [("/", "POST"), (f"{PATH}/more", "POST"), (PATH, "GET")])
def test_only_mediamtx_knows_how_to_ask(asked: Asked, path: str, method: str) -> None:
    """The path is the window's secret."""
    assert asked.ask(READ, path=path, method=method) == [403]
    assert asked.records == []


@pytest.mark.requirement("O5")
@pytest.mark.parametrize("state", [State.OPENING, State.CLOSING, State.CLOSED])
def test_nobody_joins_before_or_after(asked: Asked, state: State) -> None:
    """Only an open or a suspended window has viewers."""
    asked.machine = dataclasses.replace(OPEN, state=state)
    assert asked.ask(READ) == [403]


@pytest.mark.requirement("N2")
def test_a_viewer_that_asks_in_a_loop_costs_tailscaled_one_question(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was believed a moment ago is believed: 2 500 questions in 6 s took half a core. Later it is asked anew."""
    now = 100.0
    monkeypatch.setattr(clock, "boottime", lambda: now)
    assert set(asked.ask(READ, times=20)) == {204}
    assert asked.tailnet.asked == 1
    now += POLL_S + 0.01
    assert asked.ask(READ) == [204]
    assert asked.tailnet.asked == 2


ANN_ALONE: frozenset[Address] = frozenset({ANN})
NOBODY: frozenset[Address] = frozenset()


@pytest.mark.requirement("P2")
def test_who_is_not_connected_any_more_has_left(asked: Asked) -> None:
    """Two seconds without a connection are a leave, when the bytes have been counted since; the record has them."""
    asked.ask(READ)
    asked.sent[ANN] = 51_000
    assert asked.joins.look(ANN_ALONE, 10.0, 9.0)
    assert not asked.joins.look(NOBODY, 11.0, 10.0)
    asked.joins.look(NOBODY, 13.0, 10.0)
    assert asked.records[-1][0] == "joined", "its last bytes are not counted yet"
    asked.joins.look(NOBODY, 13.1, 13.0)
    assert asked.records[-1] == ("left", {"bytes": 50_000}, "ann")


@pytest.mark.requirement("P2")
def test_who_is_back_at_once_was_never_away(asked: Asked) -> None:
    """A player that connects again in a loop writes one line, not one a second."""
    asked.ask(READ)
    for second in range(20):
        asked.joins.look(NOBODY, 10.0 + second, 10.0 + second)
        asked.ask(READ)
    assert [record[0] for record in asked.records] == ["joined"]


@pytest.mark.requirement("P2")
def test_each_visit_has_its_own_bytes_however_short(asked: Asked) -> None:
    """What is counted after a visit belongs to it, and the next one begins there."""
    asked.ask(READ)
    asked.sent[ANN] = 4_000
    asked.joins.look(NOBODY, 10.0, 10.0)
    asked.joins.look(NOBODY, 13.0, 13.0)
    asked.sent[ANN] = 6_000
    asked.ask(READ)
    asked.sent[ANN] = 9_000
    asked.joins.end("closed", (), 2.5)
    left = [data for event, data, _ in asked.records if event == "left"]
    assert left == [{"bytes": 3_000}, {"cut": True, "why": "closed", "cut_ms": 2.5, "bytes": 5_000}]


@pytest.mark.requirement("P2")
@pytest.mark.requirement("A5")
def test_a_viewer_that_is_cut_is_on_the_record_with_the_cause(asked: Asked) -> None:
    """Who does not watch leaves no such line."""
    asked.joins.depart(VIEWER, "peer-gone", 1.5)
    assert asked.records == []
    asked.ask(READ)
    asked.joins.depart(VIEWER, "capability-gone", 1.5)
    assert asked.records[-1] == ("left", {"cut": True, "why": "capability-gone", "cut_ms": 1.5, "bytes": 0}, "ann")


@pytest.mark.requirement("P2")
@pytest.mark.requirement("A5")
@pytest.mark.parametrize(("body", "by"), [(READ, "player"), (PAGE, "page")], ids=["player", "page"])
def test_nobody_is_put_on_the_record_who_is_not_connected(asked: Asked, body: dict[str, Any], by: str) -> None:
    """A stream server that was taken over asks for a viewer who is not there; a moment later (the control) they are."""
    asked.there.remove((by, ANN))
    assert asked.ask(body) == [403]
    assert asked.records == []
    asked.there.add((by, ANN))
    assert asked.ask(body) == [204]
    assert asked.records == [("joined", {"by": by}, "ann")]


@pytest.mark.requirement("P2")
@pytest.mark.requirement("A5")
@pytest.mark.parametrize("how", ["end", "depart"])
def test_a_picture_without_a_join_is_on_the_record(asked: Asked, how: str) -> None:
    """The kernel has counted it, whatever the stream server does not tell; a page that was only looked at is none."""

    def over() -> None:
        asked.joins.end("closed", (VIEWER,), 2.5) if how == "end" else asked.joins.depart(VIEWER, "peer-gone", 1.5)

    asked.sent[ANN] = UNSEEN_BYTES - 1
    over()
    assert asked.records == []
    asked.sent[ANN] = UNSEEN_BYTES
    over()
    assert asked.records == [("left", {"joined": False, "bytes": UNSEEN_BYTES}, "ann")]
    over()
    assert len(asked.records) == 1, "once"


@pytest.mark.requirement("P2")
def test_a_late_join_hides_nothing(asked: Asked) -> None:
    """Sent before anybody asked: it stands beside the visit that came after it."""
    asked.sent[ANN] = 50_000_000
    asked.ask(READ)
    asked.sent[ANN] += 20_000
    asked.joins.end("closed", (VIEWER,), 2.5)
    assert [(event, data.get("bytes")) for event, data, _ in asked.records] == [
        ("left", 50_000_000), ("joined", None), ("left", 20_000)
    ]  # fmt: skip


@pytest.mark.requirement("U5")
def test_a_node_that_comes_and_goes_for_ever_is_refused(asked: Asked) -> None:
    """The control: the visits before it are let in, each on the record."""
    for visit in range(MOST_VISITS):
        assert asked.ask(READ) == [204], visit
        asked.joins.depart(VIEWER, "capability-gone", 1.5)
    assert asked.ask(READ) == [403]
    assert asked.records[-1][0] == "refused"
    assert len(asked.records) == 2 * MOST_VISITS + 1


@pytest.mark.requirement("U5")
@pytest.mark.parametrize("body", [READ, {**READ, "ip": str(BOB)}], ids=["a join", "a refusal"])
def test_no_room_for_the_record_lets_nobody_in_and_says_so(asked: Asked, body: dict[str, Any]) -> None:
    """On disk before the first byte, or no byte; the window ends by it."""
    asked.full = True
    assert asked.ask(body) == [403]
    assert asked.joins.unwritten == "no space"
    asked.full = False
    asked.joins.unwritten = None
    assert asked.ask(READ) == [204], "the control: with room the same question is let in"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**PUBLISH, "password": "\ud800"}),
        json.dumps({**PAGE, "password": "\ud800"}),
        json.dumps({**READ, "path": "\ud800"}),
        json.dumps({**PAGE, "query": "viewer=fe80::1%25eth0"}),
        json.dumps({**READ, "ip": "fe80::1%eth0"}),
        "[" * 8000,
        '{"ip":' + "[" * 4000,
        '{"ip": NaN}',
        "",
    ],
    ids=lambda text: text[:60],
)
def test_what_no_server_sends_is_a_plain_no(asked: Asked, text: str) -> None:
    """Half a surrogate pair, a zone, a tower of lists: an answer, and no traceback."""
    assert asked.ask(text) == [403]
    assert asked.ask(READ) == [204], "the control: the hook goes on"
