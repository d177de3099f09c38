"""The module beside an agent that is silent, slow, cut off, or something else: one sentence, and in time."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_module_window import CHAIN, ENDED, MARK, WANTED, WINDOW, FakeAgent, agent, module, switched

__all__ = ["agent"]

pytestmark = pytest.mark.requirement("U1")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def says(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket where every caller gets this, and then nothing."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    held: list[socket.socket] = []
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                connection, _ = listener.accept()
                held.append(connection)
                connection.recv(4096)
                with contextlib.suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(path)
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in held:
            connection.close()
        thread.join(10)
    assert not thread.is_alive()


def refusal(path: str, seconds: float = 1) -> str:
    """The module's one sentence."""
    began = time.monotonic()
    with pytest.raises(module.Refused) as refused:
        module.run(module.Agent(path, seconds), WANTED, check=False)
    assert time.monotonic() < began + seconds + 5, "bounded"
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
    return str(refused.value)


def test_a_socket_that_says_nothing(tmp_path: Path) -> None:
    """Taken for an agent that gives no answer, after the time that was given."""
    with says(tmp_path / "agent.sock", lambda _: None) as path:
        assert refusal(path).endswith("gives no answer: timed out")


def test_an_answer_that_comes_by_the_letter(tmp_path: Path) -> None:
    """The time is for the whole answer: each letter used to begin it anew, and it never ended."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(40):
            time.sleep(0.25)  # the pace of the attack, not a wait for anything
            connection.sendall(b" ")

    with says(tmp_path / "agent.sock", drip) as path:
        assert "gives no answer" in refusal(path)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "Remote end closed connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "gives no answer"),
        (HEAD + b"Content-Length: 5000\r\n\r\n" + json.dumps({"site": "gw1"}).encode()[:9], "gives no answer"),
        (HEAD + b"Content-Length: 5000\r\n\r\n{}", "it is cut off"),
        (HEAD + b"Content-Length: 2\r\n\r\n{}", "speaks another language"),
        (HEAD + b'Content-Length: 14\r\n\r\n{"state": null', "gives no answer"),
        (HEAD + b"Content-Length: 2000003\r\n\r\n" + b"[" + b" " * 2_000_001 + b"]", "longer than 1048576 bytes"),
        (b"SSH-2.0-nothing\r\n", "gives no answer"),
    ],
    ids=["nothing", "half a head", "half a body", "half that is JSON", "no status", "cut JSON", "too long", "no HTTP"],
)
def test_half_an_answer_is_none(tmp_path: Path, answer: bytes, said: str) -> None:
    """Whatever was there of it, also where that happens to be JSON."""

    def part(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.close()

    with says(tmp_path / "agent.sock", part) as path:
        sentence = refusal(path, 10)
    assert sentence.startswith("refused (no-agent): ")
    assert said in sentence


def test_an_answer_of_another_shape_after_the_first(agent: FakeAgent) -> None:
    """A status that is right, and then a window without a state."""
    agent.routes["POST", "/v1/windows"] = (200, {"id": "w-1", "chain": CHAIN})
    with pytest.raises(module.Refused, match=r"^refused \(no-agent\): .* speaks another language"):
        agent.run()


def test_a_refusal_without_words_has_some(agent: FakeAgent) -> None:
    """From something that is no agent of ours, such as a proxy."""
    agent.routes["GET", "/v1/status"] = (503, {})
    with pytest.raises(module.Refused, match=r"^refused \(503\): no reason was given$"):
        agent.run()


@pytest.mark.requirement("U2")
@pytest.mark.parametrize("check", [True, False])
def test_the_diff_of_a_switch(agent: FakeAgent, check: bool) -> None:
    """Before and after, the same in check mode, which posts nothing; no change has no diff."""
    agent.status("open", WINDOW)
    switched(agent, "/v1/disable", "disabled", MARK)
    off = agent.run(state="disabled", check=check)["diff"]
    assert (off["before"]["id"], off["before"]["state"], off["after"]) == (WINDOW["id"], "open", {"state": "disabled"})
    agent.status("disabled", disabled=(MARK,))
    assert agent.run(state="disabled", check=check)["diff"] == {}
    switched(agent, "/v1/enable", "closed")
    on = agent.run(state="enabled", check=check)["diff"]
    assert (on["before"], on["after"]) == ({"state": "disabled"}, {"state": "closed"})
    assert check == (not [method for method, _, _ in agent.asked if method == "POST"])


@pytest.mark.requirement("O5")
def test_to_close_one_window_in_check_mode(agent: FakeAgent) -> None:
    """The one that is open, the one that has ended, and one that nobody knows."""
    agent.status("open", WINDOW)
    found = agent.run(state="closed", window=WINDOW["id"], check=True)
    assert (found["changed"], found["diff"]["after"]) == (True, {"state": "closed"})
    agent.status("closed", None, ENDED)
    assert agent.run(state="closed", window=WINDOW["id"], check=True)["changed"] is False
    with pytest.raises(module.Refused, match=r"^refused \(unknown-window\): window: 'w-0' is not open here"):
        agent.run(state="closed", window="w-0", check=True)
    assert {method for method, _, _ in agent.asked} == {"GET"}


@pytest.mark.requirement("U5")
@pytest.mark.parametrize("known", [None, {"n": 0, "hash": "", "first": ""}])
def test_a_caller_who_knows_nothing_learns_the_record(agent: FakeAgent, known: Any) -> None:
    """`new`, with what to remember."""
    found = agent.run(state="status", known=known)
    assert (found["record"], set(found["chain"])) == ("new", {"n", "hash", "first"})
