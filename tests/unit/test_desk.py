"""The desk: what a new agent makes of the record of the one before it, and what an opening asks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sightglass import receipts
from sightglass.agent import Agent
from sightglass.api.port import Caller, OpenRequest
from sightglass.desk import Desk
from sightglass.refusal import Refusal
from sightglass.store import Store
from sightglass.window import Event, Limits, Machine, State, step
from tests.unit.observer_parts import Gateway
from tests.unit.receipts_parts import chain_of

ASKED: dict[str, Any] = {"request_id": "r-1", "minutes": 30, "cameras": ["cam1"], "purpose": "debug"}


def started(directory: Path) -> tuple[Desk, Store]:
    """The desk of an agent that starts over this record."""
    store = Store(directory, "boot")
    agent = SimpleNamespace(store=store, config=SimpleNamespace(timezone="UTC"))
    desk = Desk(cast("Agent", agent))
    desk.recover()
    return desk, store


@pytest.mark.requirement("F1")
@pytest.mark.requirement("P2")
@pytest.mark.parametrize(
    "change",
    [
        {"at": "yesterday"},
        {"at": "9999-12-31T23:59:59.000+00:00"},
        {"data": {**ASKED, "minutes": "soon"}},
        {"data": {**ASKED, "minutes": None}},
        {"data": {**ASKED, "minutes": 10**400}},
        {"data": {**ASKED, "cameras": 7}},
        {"data": {}},
        {"window": None},
    ],
    ids=str,
)
def test_an_edited_opening_does_not_keep_an_agent_from_starting(tmp_path: Path, change: dict[str, Any]) -> None:
    """One byte changed by somebody with access to the disk, and nobody could disable windows any more; and its window
    still gets an end."""
    Store(tmp_path, "boot").append("opening", "w-1", ASKED, {"user": "ann"})
    lines = chain_of(tmp_path).read_bytes().splitlines(keepends=True)
    edited = {**json.loads(lines[-1]), **change}
    chain_of(tmp_path).write_bytes(b"".join(lines[:-1]) + receipts.canonical(edited) + b"\n")
    _, store = started(tmp_path)
    ended = [event["event"] for event in store.events() if event["window"] == edited["window"]]
    assert ended[-2:] == ["cause", "closed"]
    assert not store.verify().ok, "the control: the edit is named"


@pytest.mark.requirement("U5")
@pytest.mark.requirement("F3")
def test_an_opening_asks_all_that_an_opening_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was never set ends no window, and opens none; with it set (the control) the same request does."""
    gateway, machine, states = Gateway(tmp_path, monkeypatch), Machine(Limits(15, 600, 120, 2)), []
    gateway.listeners.clear()  # nothing of a window is there yet

    async def submit(event: Event, _personal: dict[str, Any]) -> None:
        states.append(step(machine, event, gateway.now)[0].state)

    agent = SimpleNamespace(
        machine=machine,
        config=gateway.config,
        observer=gateway.observer,
        store=SimpleNamespace(room=lambda: True),
        submit=submit,
    )
    desk = Desk(cast("Agent", agent))
    request = OpenRequest("request-1", ("cam1",), None, "Plates unread", "alignment", (), "redacted", None)

    def ask() -> None:
        asyncio.run(desk._open(request, Caller(1000, "ann", ())))

    ask()
    assert states == [State.OPENING]
    gateway.observer.floor = datetime(2100, 1, 1, tzinfo=UTC)
    with pytest.raises(Refusal) as refused:
        ask()
    assert (refused.value.code, states) == ("guard-time", [State.OPENING])
