"""Offers that come at a bad time, or to a stream server that answers badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import pytest

from tests.unit.console_parts import WAIT_S, Agent, browser, offer, page

SESSION = "/cam1/whep/5f0c"


class Server:
    """A stream server that answers an offer when it may, with `location`; it remembers what it was asked."""

    location = SESSION

    def __init__(self, port: int) -> None:
        asked: Queue[tuple[str, str]] = Queue()
        may = threading.Event()
        server = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.put(("POST", self.path))
                may.wait(WAIT_S)
                self.send_response_only(201)
                self.wfile.write(b"".join(self._headers_buffer))  # type: ignore[attr-defined]
                self.wfile.write(
                    b"Location: " + server.location.encode("latin-1") + b"\r\nContent-Length: 3\r\n\r\nv=0"
                )

            def do_DELETE(self) -> None:
                asked.put(("DELETE", self.path))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.asked, self.may = asked, may
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Give the port back."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def console(place: Path) -> Iterator[tuple[Agent, Server]]:
    """A console with an open window, and a stream server behind it."""
    with closing(Agent(place)) as agent, closing(Server(int(agent.job["server"]))) as server:
        agent.tell()
        yield agent, server


@pytest.mark.requirement("P2")
@pytest.mark.parametrize("leaves", [True, False], ids=["goes away", "stays (control)"])
def test_a_page_that_goes_away_while_it_offers_leaves_no_session(tmp_path: Path, leaves: bool) -> None:
    """The session that the server then makes is ended at once and the offer refused; else it lasts as its page does."""
    with console(tmp_path) as (agent, server), browser(agent) as client, ThreadPoolExecutor() as beside:
        with page(agent) as (name, _):
            answer = beside.submit(offer, client, name)
            assert server.asked.get(timeout=WAIT_S) == ("POST", "/cam1/whep?viewer=127.0.0.1")
            if not leaves:
                server.may.set()
                assert answer.result(WAIT_S).status_code == 201
                assert server.asked.empty()
        while agent.hear() != {"watching": []}:
            pass
        server.may.set()
        assert server.asked.get(timeout=WAIT_S) == ("DELETE", SESSION)
        if leaves:
            refused = answer.result(WAIT_S)
            assert (refused.status_code, refused.text) == (403, "this page is not open\n")
        assert server.asked.empty()


@pytest.mark.requirement("F1")
def test_a_session_without_a_right_place_is_refused(tmp_path: Path) -> None:
    """In one sentence, and the console goes on; what can be asked of the server is asked of it alone."""
    with console(tmp_path) as (agent, server), browser(agent) as client:
        server.may.set()
        with page(agent) as (name, _):
            for location in (
                "",
                "//evil.example/x",
                "http://evil.example/x",
                "/a\x7fb",
                "/" + "a" * 60_000,
                "cam1/whep",
            ):
                server.location = location
                refused = offer(client, name)
                assert (refused.status_code, refused.text) == (502, "the stream server's answer names no session\n")
            for location in ("/[", "/\xe9\xff", "/.//evil.example/x", "/@evil.example", SESSION):
                server.location = location
                assert offer(client, name).status_code == 201, location
        while agent.hear() != {"watching": []}:
            pass
        ended = [path for method, path in (server.asked.get(timeout=WAIT_S) for _ in range(16)) if method == "DELETE"]
        assert len(ended) == 5
        assert ended[-1] == SESSION
        agent.process.terminate()
        _, errors = agent.process.communicate(timeout=WAIT_S)
        assert "Traceback" not in errors
