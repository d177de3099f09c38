"""The API over a real socket: what comes in is bounded and checked, what goes out has one shape."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from sightglass.api.answers import (
    DoctorAnswer,
    GuardsAnswer,
    ReceiptsAnswer,
    Refused,
    StatusAnswer,
    VerifyAnswer,
    WindowAnswer,
)
from sightglass.api.bounded import MOST_BODY
from sightglass.api.port import FindingView, OpenRequest
from tests.unit.api_parts import ANSWER_S, CHAIN, OPEN, FakeAgent, ask, served

pytestmark = pytest.mark.requirement("O1")

OPENING, CLOSING, DISABLE, ENABLE = "/v1/windows", "/v1/windows/close", "/v1/disable", "/v1/enable"
REASON = "reason: must have 5 to 200 characters, it has"
LINE = "reason: must be one line of printable characters"


def test_an_opening_reaches_the_agent_as_it_was_asked(api: tuple[FakeAgent, Path]) -> None:
    """Every field, the reason without the space around it, and the caller by the kernel's word."""
    agent, path = api
    body = {
        **OPEN,
        "minutes": 15,
        "reason": "  align the camera\n",
        "viewers": ["ann@example.org"],
        "claimed_name": "A",
    }
    status, found = ask(path, "POST", OPENING, body)
    assert (status, found["state"], found["chain"]) == (200, "open", CHAIN)
    (_, request, caller), = agent.asked  # fmt: skip
    assert request == OpenRequest(
        request_id="request-1",
        cameras=("cam1",),
        minutes=15,
        reason="align the camera",
        purpose="alignment",
        viewers=("ann@example.org",),
        privacy="redacted",
        claimed_name="A",
    )
    assert (caller.uid, caller.user) == (0, "root")


def test_every_answer_has_the_shape_that_is_documented(api: tuple[FakeAgent, Path]) -> None:
    """The documented models accept what really comes, with nothing missing; each carries the chain."""
    agent, path = api
    agent.events = [{"n": 1, "event": "started", "data": {}, "who": None}]
    agent.problems = [{"name": "edited", "line": 3, "why": "event 3 was changed"}]
    asked: list[tuple[Any, int, str, str, Any]] = [
        (WindowAnswer, 200, "POST", OPENING, OPEN),
        (StatusAnswer, 200, "GET", "/v1/status", None),
        (Refused, 409, "POST", OPENING, {**OPEN, "request_id": "request-2"}),
        (WindowAnswer, 200, "POST", CLOSING, {}),
        (Refused, 404, "POST", CLOSING, {}),
        (StatusAnswer, 200, "POST", DISABLE, {"reason": "works on the road"}),
        (StatusAnswer, 200, "POST", ENABLE, {"reason": "works are done"}),
        (GuardsAnswer, 200, "GET", "/v1/guards", None),
        (DoctorAnswer, 200, "GET", "/v1/doctor", None),
        (ReceiptsAnswer, 200, "GET", "/v1/receipts", None),
        (VerifyAnswer, 200, "GET", "/v1/receipts/verify", None),
        (VerifyAnswer, 200, "GET", f"/v1/receipts/verify?known=1:{'0' * 64}", None),
        (Refused, 422, "POST", OPENING, {}),
        (Refused, 404, "GET", "/v1/nothing", None),
        (Refused, 405, "GET", DISABLE, None),
    ]
    for model, expected, method, route, body in asked:
        status, found = ask(path, method, route, body)
        assert status == expected, (route, found)
        adapter = TypeAdapter(model)
        assert adapter.dump_python(adapter.validate_python(found), mode="json") == found, route
        assert found["chain"] == CHAIN


BAD: list[tuple[str, Any, str]] = [
    (OPENING, {}, "request_id: is missing"),
    (OPENING, [], "the body: must be an object"),
    (OPENING, b"", "the body: is missing"),
    (OPENING, b"{", "the body: must be JSON"),
    (OPENING, b"\xff\xfe{", "the body: must be JSON that can be read"),
    (OPENING, b"[" * 12000, "the body: must be JSON that can be read"),
    (OPENING, b'{"minutes":' + b"1" * 5000 + b"}", "the body: must be JSON that can be read"),
    (OPENING, {**OPEN, "extra": 1}, "extra: is not known here"),
    (OPENING, {**OPEN, "a\x1b[2J\n": 1}, "a\\u001b[2J\\n: is not known here"),
    (OPENING, {**OPEN, "\ud800": 1}, "the body: must be a valid string, unable to parse raw data"),
    (OPENING, {**OPEN, "request_id": "short"}, "request_id: must match pattern"),
    (OPENING, {**OPEN, "request_id": "x" * 65}, "request_id: must match pattern"),
    (OPENING, {**OPEN, "request_id": "request 1"}, "request_id: must match pattern"),
    (OPENING, {**OPEN, "request_id": "request-1\n"}, "request_id: must match pattern"),
    (OPENING, {**OPEN, "request_id": 12345678}, "request_id: must be a valid string, not 12345678"),
    (OPENING, {**OPEN, "cameras": []}, "cameras: must have at least 1 item"),
    (OPENING, {**OPEN, "cameras": "cam1"}, 'cameras: must be a valid list, not "cam1"'),
    (OPENING, {**OPEN, "cameras": ["../cam1"]}, "cameras.0: must match pattern"),
    (OPENING, {**OPEN, "cameras": ["cam1", "cam1"]}, "cameras: must name each camera once"),
    (OPENING, {**OPEN, "cameras": [f"cam{n}" for n in range(5)]}, "cameras: must have at most 4 items"),
    (OPENING, {**OPEN, "minutes": 0}, "minutes: must be greater than or equal to 1, not 0"),
    (OPENING, {**OPEN, "minutes": -5}, "minutes: must be greater than or equal to 1, not -5"),
    (OPENING, {**OPEN, "minutes": 1.5}, "minutes: must be a valid integer, not 1.5"),
    (OPENING, {**OPEN, "minutes": True}, "minutes: must be a valid integer, not true"),
    (OPENING, {**OPEN, "minutes": "15"}, 'minutes: must be a valid integer, not "15"'),
    (OPENING, {**OPEN, "minutes": 10**400}, "minutes: must be less than or equal to 1440, not 1000"),
    (OPENING, {**OPEN, "minutes": float("nan")}, "minutes: must be a"),
    (OPENING, {**OPEN, "reason": " 1234 "}, f"{REASON} 4"),
    (OPENING, {**OPEN, "reason": "x" * 201}, f"{REASON} 201"),
    (OPENING, {**OPEN, "reason": "first\nsecond"}, LINE),
    (OPENING, {**OPEN, "reason": "colour \x1b[31m"}, LINE),
    (OPENING, {**OPEN, "reason": "turned \u202e round"}, LINE),
    (OPENING, {**OPEN, "reason": None}, "reason: must be a valid string, not null"),
    (OPENING, {**OPEN, "reason": "half \ud800 a pair"}, "reason: must be a valid string"),
    (OPENING, {**OPEN, "purpose": "looking"}, "purpose: "),
    (OPENING, {**OPEN, "viewers": ["ann example"]}, "viewers.0: must match pattern"),
    (OPENING, {**OPEN, "viewers": ["a"] * 17}, "viewers: must have at most 16 items"),
    (OPENING, {**OPEN, "claimed_name": "x" * 101}, "claimed_name: must have at most 100 characters"),
    (OPENING, {**OPEN, "claimed_name": "A\nB"}, "claimed_name: must be one line of printable characters"),
    (CLOSING, {"window": "w-1"}, "window: must match pattern"),
    (CLOSING, {"reason": "no"}, f"{REASON} 2"),
    (CLOSING, {"force": True}, "force: is not known here"),
    (DISABLE, {}, "reason: is missing"),
    (DISABLE, {"reason": "a\tb\tc\td"}, LINE),
    (ENABLE, {}, "reason: is missing"),
    (ENABLE, {"reason": "    \u2003   "}, f"{REASON} 0"),
]


@pytest.mark.parametrize(("route", "body", "said"), BAD)
def test_a_bad_body_is_one_sentence_and_reaches_nobody(
    api: tuple[FakeAgent, Path], route: str, body: Any, said: str
) -> None:
    """The field, the rule and the value; the agent was not asked."""
    agent, path = api
    status, found = ask(path, "POST", route, body)
    assert (status, found["code"], found["chain"]) == (422, "bad-request", CHAIN)
    assert said in found["message"]
    assert found["message"].isprintable()
    assert len(found["message"]) < 400
    assert agent.asked == []


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("/v1/receipts?after=-1", "after: must be greater than or equal to 0"),
        ("/v1/receipts?limit=0", "limit: must be greater than or equal to 1"),
        ("/v1/receipts?limit=501", "limit: must be less than or equal to 500"),
        ("/v1/receipts?after=x", "after: must be a valid integer"),
        ("/v1/receipts/verify?known=7", "known: must match pattern"),
        ("/v1/guards?purpose=looking", "purpose: "),
        ("/v1/guards?cameras=cam1", "cameras: is not known here"),
        ("/v1/status?a%1b%0a=", "a\\u001b\\n: is not known here"),
        ("/v1/guards?" + "&".join(f"camera=c{n}" for n in range(5)), "camera: must have at most 4 items"),
    ],
)
def test_a_bad_query_is_one_sentence(api: tuple[FakeAgent, Path], route: str, said: str) -> None:
    """The same for what stands behind the question mark."""
    agent, path = api
    status, found = ask(path, "GET", route)
    assert (status, found["code"]) == (422, "bad-request")
    assert said in found["message"]
    assert agent.asked == []


@pytest.mark.parametrize(("size", "status"), [(MOST_BODY, 422), (MOST_BODY + 1, 413), (5_000_000, 413)])
@pytest.mark.parametrize("announced", [True, False])
def test_a_long_body_is_not_read(api: tuple[FakeAgent, Path], size: int, status: int, announced: bool) -> None:
    """With its length announced, and in chunks that announce nothing."""
    _, path = api
    head = b"POST /v1/windows HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\n"
    text = b" " * size
    length = b"Content-Length: %d\r\n\r\n" % size if announced else b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(str(path))
        # The server answers and ends before it has read all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head + length + text + (b"" if announced else b"\r\n0\r\n\r\n"))
        assert connection.recv(64).startswith(b"HTTP/1.1 %d " % status)


def test_a_fault_of_the_agent_is_one_sentence(api: tuple[FakeAgent, Path], caplog: pytest.LogCaptureFixture) -> None:
    """Its trace is for the log; the next request is answered."""
    agent, path = api
    agent.fault = RuntimeError("secret of the inside")
    status, found = ask(path, "POST", OPENING, OPEN)
    assert (status, found["code"], found["message"]) == (500, "fault", "the agent failed at this: RuntimeError")
    assert ask(path, "GET", "/v1/status")[0] == 200
    assert "secret of the inside" in caplog.text


def test_defaults_are_the_documented_ones(api: tuple[FakeAgent, Path]) -> None:
    """What is left out: no minutes (the site's), alignment, everybody who holds the capability."""
    agent, path = api
    ask(path, "POST", OPENING, {key: OPEN[key] for key in ("request_id", "cameras", "reason")})
    ask(path, "POST", CLOSING, {})
    ask(path, "GET", "/v1/guards")
    ask(path, "GET", "/v1/receipts")
    request = agent.asked[0][1]
    assert (request.minutes, request.purpose, request.viewers, request.claimed_name) == (None, "alignment", (), None)
    assert agent.asked[1][1:3] == (None, None)
    assert agent.asked[2:] == [("guards", (), "alignment"), ("receipts", 0, 100)]


@pytest.mark.requirement("O5")
def test_who_connects_and_asks_nothing_is_let_go(api: tuple[FakeAgent, Path]) -> None:
    """Places are bounded: silent connections would keep others from closing a window."""
    _, path = api
    with contextlib.ExitStack() as stack:
        silent = []
        for _ in range(3):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
            silent.append(connection)
        assert [connection.recv(1) for connection in silent] == [b"", b"", b""]
    assert ask(path, "GET", "/v1/status")[0] == 200


@pytest.mark.requirement("O5")
def test_the_server_ends_beside_an_open_connection() -> None:
    """A caller who holds a connection cannot keep the agent from stopping (`served` looks for what is left)."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as held, served(FakeAgent()) as path:
        held.connect(str(path))
        held.sendall(b"POST /v1/windows HTTP/1.1\r\nHost: agent\r\nContent-Length: 100\r\n\r\n{")
        assert ask(path, "GET", "/v1/status")[0] == 200


@pytest.mark.requirement("O1")
def test_a_question_that_the_agents_own_end_cuts_off_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """A doctor that looks at cameras is asked for longer than an end waits; a traceback would be taken for a fault."""
    begun, let_go = threading.Event(), threading.Event()

    class Slow(FakeAgent):
        async def doctor(self) -> tuple[FindingView, ...]:
            begun.set()
            await asyncio.sleep(60)
            raise AssertionError("unreachable")

    def asks(path: Path) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            ask(path, "GET", "/v1/doctor")
        let_go.set()

    with served(Slow()) as path:
        threading.Thread(target=asks, args=(path,)).start()
        assert begun.wait(5), "the control: it was being answered"
    assert let_go.wait(5), "who asked is not left waiting"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
