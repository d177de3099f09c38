"""Who asks and does not read, and who asks too often at once: the others are answered all the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightglass.api import server
from tests.unit.api_parts import FakeAgent, ask
from tests.unit.test_api_callers import NOBODY, ask_as

pytestmark = [
    pytest.mark.requirement("O1"),
    pytest.mark.skipif(os.getuid() != 0, reason="asking as another user needs root"),
]
PAGE = b"GET /v1/receipts?limit=500 HTTP/1.1\r\nHost: agent\r\n\r\n"


@contextlib.contextmanager
def connected(path: Path, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections of this account, each with something said on it and nothing read."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(path))
            with contextlib.suppress(OSError):
                sock.sendall(said)
            sockets.append(sock)
        yield sockets


def alive(sockets: list[socket.socket]) -> int:
    """How many of them the server has not hung up on; nothing is read."""
    poll = select.poll()
    for sock in sockets:
        poll.register(sock, 0)
    return len(sockets) - len(poll.poll(0))


def settles(sockets: list[socket.socket], count: int, seconds: float) -> float:
    """Wait until so many are alive; how long it took."""
    began = time.monotonic()
    while alive(sockets) != count:
        assert time.monotonic() < began + seconds, f"{alive(sockets)} are alive, not {count}"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize("size", [500, 10_000], ids=["a rest of few bytes", "much"])
def test_an_answer_that_is_not_taken_is_given_up(
    agent: FakeAgent, path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """After its time, and not for those who read, however late they begin."""
    monkeypatch.setattr(server, "TAKE_S", 2.0)
    # A little more than the kernel takes for a reader, so that the rest is below any mark; or far more.
    agent.events = [{"n": n, "text": "x" * size} for n in range(1, 501)]
    with connected(path, 5, PAGE) as sockets:
        assert settles(sockets, 0, 10) > 1, "the control: nobody was hung up on before the time"
    with connected(path, 1, PAGE) as (late,):
        time.sleep(1)
        late.settimeout(10)
        answer = http.client.HTTPResponse(late)
        answer.begin()
        assert len(json.loads(answer.read())["events"]) == 500
        time.sleep(2.5)
        assert alive([late]) == 1, "and its connection is there for the next question"


def test_one_account_leaves_room_for_the_others(path: Path) -> None:
    """Sixteen connections and no more; another's question is answered, and the first's when it has let one go."""
    with connected(path, server.MOST) as sockets:
        settles(sockets, server.MOST_EACH, 4)
        assert ask_as(NOBODY, path, "GET", "/v1/status", None)[0] == 200
        with pytest.raises(OSError, match=r"reset|Broken|without response"):
            ask(path, "GET", "/v1/status")
    time.sleep(0.2)
    assert ask(path, "GET", "/v1/status")[0] == 200
    with connected(path, server.MOST_EACH, b"GET /v1/status HTTP/1.1\r\nHost: agent\r\n\r\n") as sockets:
        time.sleep(0.5)
        assert [sock.recv(12) for sock in sockets] == [b"HTTP/1.1 200"] * server.MOST_EACH
