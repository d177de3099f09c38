"""A console as its unit runs it, with the agent's end of its channel, and what asks it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.unit.feed_parts import free_port

WAIT_S = 10.0
VIEWER = "127.0.0.1"
JOB: dict[str, Any] = {
    "site": "lab-gw1", "purpose": "alignment", "cameras": ["cam1"], "address": "127.0.0.1", "port": 8550,
    "server": 8889, "secret": "x" * 32,
}  # fmt: skip
NEWS: dict[str, Any] = {
    "seq": 1, "state": "open", "cause": None, "why": None, "remaining_s": 600.0, "viewers": [VIEWER],
}  # fmt: skip


class Agent:
    """The agent's end of the channel."""

    def __init__(self, place: Path) -> None:
        self.port = free_port()
        self.job = {**JOB, "port": self.port, "server": free_port()}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(place / "console.sock"))
        self._listener.listen()
        self._listener.settimeout(WAIT_S)
        command = [sys.executable, "-m", "sightglass.console.main", "--channel", str(place / "console.sock")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._peer, _ = self._listener.accept()
        self._peer.settimeout(WAIT_S)
        self._lines = self._peer.makefile("r")
        self.say({"job": self.job})
        assert self.hear() == {"watching": []}

    @property
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self.port}/"

    def say(self, message: object) -> None:
        """One line."""
        self._peer.sendall(json.dumps(message).encode() + b"\n")

    def tell(self, **changes: object) -> None:
        """News, and its confirmation."""
        self.say({**NEWS, **changes})
        seq = changes.get("seq", 1)
        while self.hear() != {"told": seq}:
            pass

    def hear(self) -> dict[str, Any]:
        """The next line."""
        heard: dict[str, Any] = json.loads(self._lines.readline())
        return heard

    def hang_up(self) -> None:
        """The channel's end."""
        self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Whatever happened."""
        self.process.kill()
        self.process.communicate()
        self._lines.close()
        self._peer.close()
        self._listener.close()


@contextmanager
def browser(agent: Agent, address: str = VIEWER) -> Iterator[httpx.Client]:
    """A viewer's browser that has loaded the page, and keeps its cookie."""
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(base_url=agent.url, transport=transport, timeout=WAIT_S, trust_env=False) as client:
        assert client.get("/").status_code == 200
        yield client


def offer(client: httpx.Client, name: str, camera: str = "cam1", sdp: bytes = b"v=0", **headers: str) -> httpx.Response:
    """One offer of the page `name`."""
    given = {"Content-Type": "application/sdp", "X-Sightglass-Page": name} | headers
    return client.post(f"/whep/{camera}", content=sdp, headers=given)


@contextmanager
def page(agent: Agent, address: str = VIEWER) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """An open page: its id, and what it is told."""
    with browser(agent, address) as client, client.stream("GET", "/events") as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == "event: page"
        name = next(lines).removeprefix("data: ")

        def told() -> Iterator[dict[str, Any]]:
            for line in lines:
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

        yield name, told()


def get(agent: Agent, path: str = "", **headers: str) -> httpx.Response:
    """One request."""
    return httpx.get(f"{agent.url}{path}", headers=headers, timeout=WAIT_S, trust_env=False)
