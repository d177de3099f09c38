"""A served API over a real unix socket, and the one fake behind it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightglass.api.port import Caller, Chain, FindingView, GuardView, OpenRequest, StatusView, ViewerView, WindowView
from sightglass.api.server import serve
from sightglass.metrics import silent
from sightglass.recorded import opener
from sightglass.refusal import Refusal
from sightglass.who import who

ANSWER_S = 60
OPEN = {"request_id": "request-1", "cameras": ["cam1"], "reason": "align the camera", "purpose": "alignment"}


class FakeAgent:
    """An `AgentPort` that keeps one window and what it was asked; everything around it is real."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.window: WindowView | None = None
        self.last: WindowView | None = None
        self.off: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self.guard = GuardView("lane", "pass", "idle", "the lane is idle")
        self.findings: tuple[FindingView, ...] = (FindingView("vpn", "ok", "it runs", ""),)
        self.fault: Exception | None = None
        self.claimed: str | None = None
        self.figures = silent()

    async def open(self, request: OpenRequest, caller: Caller) -> WindowView:
        """Open, or the same window again."""
        self.asked.append(("open", request, caller))
        if self.fault is not None:
            raise self.fault
        if self.off:
            raise Refusal("disabled", "windows are disabled here", 409)
        if self.window is not None and self.window.request_id != request.request_id:
            raise Refusal("second-window", f"{self.window.id} is open", 409)
        self.window = WindowView(
            id="w-0123456789ab",
            request_id=request.request_id,
            state="open",
            purpose=request.purpose,
            cameras=request.cameras,
            minutes=request.minutes or 30,
            opened_at="2026-11-23T10:00:00+00:00",
            deadline="2026-11-23T10:30:00+00:00",
            site_deadline="2026-11-23T11:30:00+01:00",
            remaining_s=1800.0,
            urls={camera: f"rtsp://100.64.0.1:8554/{camera}" for camera in request.cameras},
            page="http://100.64.0.1:8550/",
            viewers=(ViewerView("ann@example.org", "laptop", True),),
            cause=None,
            why=None,
            privacy=request.privacy,
            opened_by=opener(who(caller.user, caller.uid, request.claimed_name, ("admin",)).personal()),
        )
        return self.window

    async def close(
        self, window: str | None, reason: str | None, caller: Caller, claimed_name: str | None = None
    ) -> WindowView:
        """Close."""
        self.asked.append(("close", window, reason, caller))
        self.claimed = claimed_name
        if self.window is None:
            raise Refusal("no-window", "no window is open", 404)
        self.last = dataclasses.replace(self.window, state="closed", cause="closed")
        self.window = None
        return self.last

    async def disable(self, reason: str, caller: Caller, *, fleet: bool, claimed_name: str | None = None) -> StatusView:
        """Disable."""
        self.claimed = claimed_name
        self.asked.append(("fleet-off" if fleet else "disable", reason, caller))
        cause = "fleet-off" if fleet else "disabled"
        self.off = [{"cause": cause, "at": "2026-11-23T10:00:00+00:00", "user": caller.user, "reason": reason}]
        return await self.status()

    async def enable(self, reason: str, caller: Caller, *, fleet: bool, claimed_name: str | None = None) -> StatusView:
        """Enable."""
        self.claimed = claimed_name
        self.asked.append(("fleet-on" if fleet else "enable", reason, caller))
        self.off = []
        return await self.status()

    async def status(self) -> StatusView:
        """How things are."""
        state = "disabled" if self.off else "open" if self.window else "closed"
        return StatusView("lab-gw1", "Europe/Berlin", state, self.window, self.last, self.off, "0.1.0")

    async def guards(self, cameras: tuple[str, ...], purpose: str) -> tuple[GuardView, ...]:
        """One guard."""
        self.asked.append(("guards", cameras, purpose))
        return (self.guard,)

    async def doctor(self) -> tuple[FindingView, ...]:
        """What the test put there."""
        self.asked.append(("doctor",))
        return self.findings

    async def metrics(self) -> str:
        """One figure."""
        return self.figures

    async def receipts(self, after: int, limit: int) -> list[dict[str, Any]]:
        """What the test put there."""
        self.asked.append(("receipts", after, limit))
        return [event for event in self.events if event["n"] > after][:limit]

    async def verify(self, known: str | None) -> dict[str, Any]:
        """What the test put there."""
        self.asked.append(("verify", known))
        return {"ok": not self.problems, "events": len(self.events), "expired": 0, "problems": self.problems}

    def chain(self) -> Chain:
        """A fixed head."""
        return Chain(7, "ab" * 32)


CHAIN = {"n": 7, "hash": "ab" * 32}


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("agent", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, route: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    """One question: status and body of the answer. A body of bytes is sent as it is."""
    text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with contextlib.closing(Connection(path)) as connection:
        connection.request(method, route, text, {} if text is None else {"Content-Type": "application/json"})
        response = connection.getresponse()
        found = json.loads(response.read())
        assert isinstance(found, dict)
        return response.status, found


@contextlib.contextmanager
def served(port: FakeAgent) -> Iterator[Path]:
    """The API on a socket that is bound before, as systemd does; the path to it, open to every user."""
    folder = Path(tempfile.mkdtemp(prefix="api-test-"))
    folder.chmod(0o755)
    path = folder / "agent.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(16)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(serve(port, listener.detach(), stop))
        except BaseException as error:  # noqa: BLE001 - told to the test below
            ended.append(error)

    thread = threading.Thread(target=run, name="api")
    thread.start()
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(ANSWER_S)
        left = [] if thread.is_alive() else [task for task in asyncio.all_tasks(loop) if not task.done()]
        if not thread.is_alive():
            loop.close()
        shutil.rmtree(folder)
    assert not thread.is_alive(), "the server does not end"
    assert ended == []
    assert left == [], "the server leaves a task behind"
