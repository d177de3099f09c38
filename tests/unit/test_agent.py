"""The agent's loop: what it promises when the disk is full or somebody is slow, and whom it lets in, and when."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sightglass.adapters import clock, units
from sightglass.adapters.console import ConsoleChannel
from sightglass.adapters.feed import FeedChannel
from sightglass.adapters.tailnet import Tailnet
from sightglass.agent import ANEW_S, CLOSING_TICK_S, IDLE_S, STUCK_S, TICK_S, Agent
from sightglass.live import Live, Parts
from sightglass.observer import Subject
from sightglass.refusal import Refusal
from sightglass.store import Store
from sightglass.verdict import Verdict, failed, passed, unknown
from sightglass.viewers import Needed, Peer, Viewer
from sightglass.window import Disable, Enable, Event, Gone, Machine, Purpose, Safe, State, Window
from tests.unit.observer_parts import CONFIG, Gateway, observer
from tests.unit.receipts_parts import full_disk

WINDOW = Window("w-1", "r-1", ("cam1",), Purpose.DEBUG, 30, frozenset(), "redacted", 0.0, 1e12, opened=1.0)
WHO = {"user": "ann", "reason": "works on the road"}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent that has started, on real files and this machine's socket tables; it never opens a window."""
    tailnet = Tailnet(str(tmp_path / "no-socket"), "lo", "example/cap")
    seen, wake, no_shutter = observer(tmp_path, tailnet=tailnet), (lambda: None), str(tmp_path / "no-shutter")
    parts = Parts(CONFIG, seen, tailnet, FeedChannel(0, wake), ConsoleChannel(0, wake), {}, tmp_path, no_shutter)
    made = Agent(parts, Store(tmp_path, "boot"))
    made.machine = Machine(made.machine.limits)
    yield made
    asyncio.run(tailnet.close())


def take(agent: Agent, event: Event) -> Machine:
    """The loop takes one event."""

    async def turns() -> Machine:
        asked = asyncio.create_task(agent.submit(event, dict(WHO)))
        await asyncio.sleep(0)
        await agent.turn()
        return await asyncio.wait_for(asked, 5)

    return asyncio.run(turns())


@pytest.mark.requirement("N3")
def test_a_disable_that_cannot_be_kept_says_so_and_disables(agent: Agent) -> None:
    """Nobody may believe that the gateway stays disabled through a reboot when it does not."""
    with full_disk(), pytest.raises(Refusal, match="only until this agent restarts"):
        take(agent, Disable())
    assert agent.machine.state is State.DISABLED
    assert take(agent, Disable()).disabled
    assert agent.store.disabled()["disabled"]["user"] == "ann", "asked again, the mark is kept"


@pytest.mark.requirement("P2")
@pytest.mark.requirement("U5")
def test_a_window_that_ends_on_a_full_disk_has_its_end_in_the_record_later(agent: Agent) -> None:
    """Who disabled it, why it ended and that it closed: nothing of it may be lost, nor the mark be less than tried."""
    agent.store.append("opening", WINDOW.id, {}, {"user": "bob"})
    agent.machine = dataclasses.replace(agent.machine, state=State.OPEN, window=WINDOW)
    with full_disk():
        with pytest.raises(Refusal, match="only until this agent restarts"):
            take(agent, Disable())
        assert take(agent, Gone()).state is State.DISABLED
    asyncio.run(agent.turn())
    found = [(event["event"], event["window"], event["data"].get("cause")) for event in agent.store.events()][-4:]
    assert found == [
        ("opening", WINDOW.id, None),
        ("cause", WINDOW.id, "disabled"),
        ("disabled", WINDOW.id, "disabled"),
        ("closed", WINDOW.id, "disabled"),
    ]
    assert agent.store.verify().ok


@pytest.mark.requirement("P2")
def test_a_picture_that_cannot_be_recorded_is_not_shown_again(agent: Agent) -> None:
    """A suspended window on a full disk: its end comes, and not the picture first."""
    shown: list[object] = []
    agent.store.append("opening", WINDOW.id, {}, {"user": "bob"})
    agent.machine = dataclasses.replace(agent.machine, state=State.SUSPENDED, window=WINDOW)

    class Shown:
        cut_ms = 0.0

        def show(self, picture: bool) -> None:
            shown.append(picture)

        async def tell(self, _wait_s: float) -> None:
            pass

        async def cut(self) -> None:
            shown.append("cut")

    agent.live = cast("Live", Shown())
    with full_disk():
        asyncio.run(agent._take(Safe()))
    assert shown == ["cut"]
    assert agent.last is not None
    assert agent.last.cause == "no-room"


@pytest.mark.requirement("N3")
def test_a_window_that_does_not_go_says_why_once(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel that cannot be asked would keep the agent closing for ever, in silence and a hundred times a second."""
    now = 100.0

    async def silent() -> frozenset[str]:
        raise OSError(2, "no answer")

    monkeypatch.setattr(agent.observer, "left_listening", silent)
    monkeypatch.setattr(clock, "boottime", lambda: now)
    agent.machine = dataclasses.replace(agent.machine, state=State.CLOSING)
    asyncio.run(agent.turn())
    assert (agent._pause(), caplog.messages) == (CLOSING_TICK_S, [])
    now += STUCK_S + 1
    for _ in range(3):
        asyncio.run(agent.turn())
    assert agent._pause() == TICK_S
    assert caplog.messages == ["window: not gone after 5 s: the kernel does not say what listens: [Errno 2] no answer"]
    monkeypatch.undo()
    monkeypatch.setattr(units, "populated", lambda _unit: False)  # whatever cgroups this machine has
    asyncio.run(agent.turn())
    assert (agent.machine.state, agent._pause()) == (State.CLOSED, IDLE_S)


@pytest.mark.requirement("O2")
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_blank_that_came_while_nobody_read_counts(confirmed: bool) -> None:
    """A slow write of the record kept the loop from the feed's word; without it (the control) the window ends."""
    live = object.__new__(Live)
    feed = SimpleNamespace(report=None)
    live._parts = cast("Parts", SimpleNamespace(feed=feed))
    live._blank_by, live._blank_seq = 0.0, 4

    async def ask() -> object:
        if confirmed:
            asyncio.get_running_loop().call_soon(setattr, feed, "report", SimpleNamespace(seq=4, show=False))
        return await live.blank_missing()

    assert (asyncio.run(ask()) is None) is confirmed


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("part", ["refresh", "look"])
def test_a_slow_answer_after_a_stall_delays_no_later_wish(
    agent: Agent, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it took the asking itself for the next stall, and then every turn for ever."""

    async def slow() -> None:
        await asyncio.sleep(1.2)

    monkeypatch.setattr(agent.observer, part, slow)
    agent.live = cast("Live", SimpleNamespace())
    agent.machine = dataclasses.replace(agent.machine, state=State.OPEN, window=WINDOW)

    async def turns() -> list[float]:
        took = []
        for _ in range(3):
            began = clock.boottime()
            await agent._after_stall()
            took.append(clock.boottime() - began)
        agent._judged = 0.0
        asked = asyncio.create_task(agent.submit(Disable()))
        await asyncio.sleep(0)
        began = clock.boottime()
        await agent._after_stall()
        took.append(clock.boottime() - began)
        asked.cancel()
        return took

    first, *later, wished = asyncio.run(turns())
    assert ANEW_S <= first < ANEW_S + 0.3, "the control: it asks anew after a stall"
    assert max(*later, wished) < 0.1


class Seen:
    """A window's parts as the loop sees them; keeps who was leased, and which events were on disk by then."""

    cut_ms: float | None = None
    holding: frozenset[str] = frozenset()

    def __init__(self, store: Store, subject: Subject | None = None) -> None:
        self.needed, self.subject, self._store = Needed("lab-gw1", ("cam1",)), subject, store
        self.ready = False
        self.leases: list[tuple[list[str], list[str]]] = []

    def lease_due(self, _viewers: tuple[Viewer, ...], _renewed: float | None) -> bool:
        """Always."""
        return True

    async def lease(self, viewers: tuple[Viewer, ...], _peers: tuple[Peer, ...]) -> None:
        """These and nobody else."""
        recorded = [event["event"] for event in self._store.events() if event["window"]]
        self.leases.append(([viewer.user for viewer in viewers], recorded))

    def published(self) -> bool:
        """Whether every camera has a picture."""
        return self.ready

    def watched(self) -> bool:
        """Nobody."""
        return False

    def moved(self) -> None:
        """Nothing has."""

    async def lost(self, _state: State) -> None:
        """Nothing is."""

    async def blank_missing(self) -> None:
        """Nothing is."""

    async def cut(self) -> None:
        """Done."""


@pytest.mark.requirement("F3")
def test_no_lease_is_renewed_past_a_guard(agent: Agent) -> None:
    """Each that an open window needs, unless it passes; one that was not asked is no pass. The lane, which suspends,
    is the control."""
    live = Seen(agent.store)
    agent.live = cast("Live", live)
    agent.machine = dataclasses.replace(agent.machine, state=State.OPEN, window=WINDOW)

    def renews(*verdicts: Verdict) -> bool:
        live.leases.clear()
        asyncio.run(agent._renew(verdicts))
        return bool(live.leases)

    all_pass = [passed(guard, "-") for guard in ("enabled", "vpn", "contact", "exposure", "load")]
    assert renews(*all_pass, unknown("lane", "lane-unknown", "-"))
    for missing in all_pass:
        others = [verdict for verdict in all_pass if verdict is not missing]
        assert not renews(*others), missing.guard
        assert not renews(*others, unknown(missing.guard, "-", "-")), missing.guard
        assert not renews(*others, failed(missing.guard, "-", "-")), missing.guard


def opening(place: Path, patch: pytest.MonkeyPatch) -> tuple[Gateway, Agent, Seen]:
    """A window that opens where all is well and ann may watch; its picture is not there yet."""
    gateway, store = Gateway(place, patch), Store(place, "boot")
    patch.setattr(units, "populated", lambda _unit: False)  # whatever cgroups this machine has
    agent, live = Agent(gateway.parts(), store), Seen(store, gateway.subject)
    agent.live = cast("Live", live)
    window = dataclasses.replace(WINDOW, began=gateway.now, deadline=gateway.now + 600, opened=None)
    agent.machine = Machine(agent.machine.limits, State.OPENING, window)
    store.append("opening", WINDOW.id, {}, {"user": "bob"})
    return gateway, agent, live


@pytest.mark.requirement("P2")
@pytest.mark.requirement("A5")
@pytest.mark.parametrize("full", [False, True], ids=["with room", "on a full disk"])
def test_nobody_is_let_in_before_the_opening_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """The shutter hears of a viewer when the record has `opened`, or never."""
    _, agent, live = opening(tmp_path, monkeypatch)
    asyncio.run(agent.turn())
    assert live.leases == [([], ["opening"])], "the control: the publisher has its lease by then"
    live.ready = True
    with full_disk() if full else contextlib.nullcontext():
        asyncio.run(agent.turn())
    assert live.leases[1:] == ([] if full else [(["ann"], ["opening", "opened"])])
    assert agent.last is not None
    assert agent.last.cause == ("no-room" if full else None)


@pytest.mark.requirement("F3")
def test_no_window_is_open_while_a_guard_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture may be there; when the guard can tell (the control) it opens."""
    gateway, agent, live = opening(tmp_path, monkeypatch)
    live.ready = True
    gateway.load.rate("lane1", None)
    asyncio.run(agent.turn())
    assert (agent.machine.state, live.leases) == (State.OPENING, [])
    gateway.load.rate("lane1", 10.0)
    asyncio.run(agent.turn())
    assert agent.machine.state is State.OPEN


@pytest.mark.requirement("N3")
def test_an_enable_that_cannot_be_recorded_changes_nothing(agent: Agent) -> None:
    """No record, no permission."""
    take(agent, Disable())
    with full_disk(), pytest.raises(Refusal, match="still disabled"):
        take(agent, Enable())
    assert agent.machine.state is State.DISABLED
    assert agent.store.disabled()
    assert take(agent, Enable()).state is State.CLOSED
    assert agent.store.disabled() == {}


@pytest.mark.requirement("N3")
def test_who_disabled_first_stays_in_the_mark(agent: Agent) -> None:
    """A second `disable` is no error, and hides nobody."""
    take(agent, Disable())
    mark = agent.store.disabled()
    take(agent, Disable())
    assert agent.store.disabled() == mark


@pytest.mark.requirement("N3")
def test_who_enables_windows_accepts_the_clock_at_once(agent: Agent) -> None:
    """The guard of the running agent, not only that of the next one."""
    agent.observer.floor = datetime(2100, 1, 1, tzinfo=UTC)
    take(agent, Disable())
    assert agent.observer.floor == datetime(2100, 1, 1, tzinfo=UTC), "the control: who disables says nothing of it"
    take(agent, Enable())
    assert agent.observer.floor <= datetime.now(UTC)
