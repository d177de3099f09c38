"""Requests that never end: the console hangs up on them in bounded time, and goes on for those who ask properly."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sightglass.httpserver import REQUEST_S
from tests.unit.console_parts import Agent, get, page

LATE_S = 3.0


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A console that has its job, and one viewer."""
    with closing(Agent(tmp_path)) as agent:
        agent.tell()
        yield agent


def asked(agent: Agent, text: str) -> socket.socket:
    """A connection that has sent this."""
    sock = socket.create_connection(("127.0.0.1", agent.port), 1)
    sock.sendall(text.encode())
    sock.setblocking(False)
    return sock


def alive(sock: socket.socket) -> bool:
    """Whether the server has not hung up; a byte that trickles in is sent on the way."""
    try:
        sock.send(b"x")
        return sock.recv(65536) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def log(agent: Agent) -> str:
    """All that the console has logged; it is over then."""
    agent.process.kill()
    assert agent.process.stderr is not None
    return agent.process.stderr.read()


@pytest.mark.requirement("F2")
def test_half_a_request_is_hung_up_on(agent: Agent) -> None:
    """Nothing, half a head and half a body, with bytes trickling in: gone in seconds; an open page stays."""
    host = f"Host: 127.0.0.1:{agent.port}\r\n"
    with page(agent) as (name, told):
        assert next(told)["state"] == "open"
        offer = f"POST /whep/cam1 HTTP/1.1\r\n{host}Content-Type: application/sdp\r\nX-Sightglass-Page: {name}\r\n"
        slow = [
            asked(agent, ""),
            asked(agent, f"GET / HTTP/1.1\r\n{host}X-Slow: "),
            asked(agent, f"{offer}Content-Length: 9000\r\n\r\nhalf"),
            # The whole of one request, and half of the next.
            asked(agent, f"GET /page.css HTTP/1.1\r\n{host}\r\nGET / HTTP/1.1\r\n{host}X-Slow: "),
        ]
        began = time.monotonic()
        while [sock for sock in slow if alive(sock)]:
            assert time.monotonic() < began + REQUEST_S + LATE_S, [alive(sock) for sock in slow]
            time.sleep(0.1)
        assert time.monotonic() > began + REQUEST_S / 2, "the control: nobody hung up before the time"
        for sock in slow:
            sock.close()
        assert get(agent).status_code == 200
        agent.tell(seq=2, state="suspended", why="a lane moves")
        assert next(told)["state"] == "suspended"
    assert log(agent) == "", "what a viewer can cause at will is not logged"


@pytest.mark.requirement("F2")
def test_garbage_is_not_logged(agent: Agent) -> None:
    """A line of log for each bad request would fill an SD card."""
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", agent.port), 1) as sock:
            sock.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 400")
    assert log(agent) == ""
