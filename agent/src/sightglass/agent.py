"""The agent's one loop: gather facts, ask the window's table, run the effects. Nothing else sets the state.

Whoever wants something of a window puts an event into the inbox and waits for its answer; the loop takes the inbox
first, then what time and the guards demand, then renews the leases. Each effect has a bound, so that a hung part delays
the loop by that much at most, and meanwhile the kernel's leases and the shutter's own clock go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightglass import guards, mediamtx
from sightglass.adapters import clock, units
from sightglass.adapters.feed import FeedChannel
from sightglass.adapters.hook import Hook
from sightglass.adapters.shutter import Shutter, ShutterError
from sightglass.adapters.tailnet import Tailnet
from sightglass.config import Config
from sightglass.facts import Listener
from sightglass.joins import Joins
from sightglass.observer import Observer, Subject
from sightglass.refusal import Refusal
from sightglass.store import Store
from sightglass.verdict import Verdict
from sightglass.viewers import Address, Viewer, entitled
from sightglass.window import (
    Cut,
    Effect,
    End,
    Event,
    Gone,
    KeepDisabled,
    Limits,
    Machine,
    Purpose,
    Ready,
    Record,
    Renewed,
    Show,
    Start,
    State,
    Watched,
    Window,
    admits,
    demanded,
    renewable,
    step,
)

log = logging.getLogger(__name__)

TICK_S = 0.25
CLOSING_TICK_S = 0.01
IDLE_S = 2.0
"""Without a window only the watchdog needs the loop; wishes wake it."""
LIVE_S = 3.0
"""How long an opening waits for a live picture; after that a slate will do: a dead camera is a reason to look."""
BLANK_S = 0.5
_ASKED = frozenset({"opening", "cause", "disabled", "enabled"})
"""Events that somebody asked for, and that carry who and why; a disabled window's cause and mark carry the same."""
_LOST = {
    "shutter-lost": "the shutter has ended",
    "feed-lost": "the feed has ended",
    "server-lost": "the stream server has ended",
}
NOBODY = Subject((), Purpose.ALIGNMENT, frozenset(), None)


@dataclass(frozen=True, slots=True)
class _Wish:
    event: Event
    personal: dict[str, Any] | None
    answer: asyncio.Future[Machine]


@dataclass(slots=True)
class Live:
    """What belongs to the window that is not closed yet, and goes with it."""

    hook: Hook
    joins: Joins
    subject: Subject
    own: tuple[Address, ...]
    began: float
    shutter: Shutter | None = None
    leased: frozenset[Address] = frozenset()
    over: asyncio.Event = field(default_factory=asyncio.Event)
    poller: asyncio.Task[None] | None = None
    lost: str | None = None
    blank_by: float | None = None
    blank_seq: int = 0
    cut_ms: float | None = None


@dataclass(slots=True)
class Agent:
    """One gateway's agent. `users` are the uids of agent, MediaMTX and feed, by unit name."""

    config: Config
    store: Store
    observer: Observer
    tailnet: Tailnet
    feed: FeedChannel
    users: dict[str, int]
    run_dir: Path
    shutter_socket: str
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    machine: Machine = field(init=False)
    live: Live | None = None
    last: Window | None = None
    beat: Callable[[], None] = lambda: None
    _inbox: asyncio.Queue[_Wish] = field(default_factory=lambda: asyncio.Queue(64))
    _turned: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        limits = self.config.limits
        # Closing, not closed: whatever an agent before this one left must be seen gone first.
        self.machine = Machine(
            Limits(self.config.lease_s, limits.nobody_joined_s, limits.last_viewer_gone_s),
            State.CLOSING,
            disabled=self.store.disabled() is not None,
        )

    async def submit(self, event: Event, personal: dict[str, Any] | None = None) -> Machine:
        """Let the loop take an event; the machine after it. Raises Refusal when it has no place.

        `personal` goes with the event's first record: who asked, and why.
        """
        answer: asyncio.Future[Machine] = asyncio.get_running_loop().create_future()
        try:
            self._inbox.put_nowait(_Wish(event, personal, answer))
        except asyncio.QueueFull:
            raise Refusal("busy", "too many requests wait for the agent: try again", 503) from None
        self.changed.set()
        return await answer

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for a state of the machine. Raises Refusal after `seconds`: unknown is no."""
        try:
            async with asyncio.timeout(seconds), self._turned:
                await self._turned.wait_for(holds)
        except TimeoutError:
            state = self.machine.state.value
            raise Refusal("too-slow", f"the agent is still {state} after {seconds:.0f} s", 504) from None

    async def run(self, stop: asyncio.Event) -> None:
        """Loop until told to stop; then close what is open and see it gone."""
        while not stop.is_set():
            await self.turn()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), self._pause())
        if self.machine.window is not None and self.machine.state is not State.CLOSING:
            await self._take(End("agent-stopped"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while self.machine.state is State.CLOSING:
                    await self.turn()
                    await asyncio.sleep(CLOSING_TICK_S)

    async def turn(self) -> None:
        """One turn of the loop."""
        self.changed.clear()
        self.beat()
        await self._take_inbox()
        # Once a turn: reading the socket tables is most of what a turn costs.
        verdicts = self._verdicts()
        for _ in range(4):
            event = demanded(self.machine, verdicts, clock.boottime()) or await self._observed()
            if event is None or not await self._try(event):
                break
        await self._check_blank()
        await self._renew(verdicts)
        async with self._turned:
            self._turned.notify_all()

    def _pause(self) -> float:
        if self.machine.state is State.CLOSING:
            return CLOSING_TICK_S
        window = self.machine.window
        return IDLE_S if window is None else max(0.0, min(TICK_S, window.deadline - clock.boottime()))

    async def _take_inbox(self) -> None:
        while not self._inbox.empty():
            wish = self._inbox.get_nowait()
            try:
                await self._take(wish.event, wish.personal)
            except Refusal as refused:
                if not wish.answer.done():
                    wish.answer.set_exception(refused)
            else:
                if not wish.answer.done():
                    wish.answer.set_result(self.machine)

    async def _try(self, event: Event) -> bool:
        try:
            await self._take(event)
        except Refusal as refused:
            log.warning("window: %s", refused.message)
            return False
        return True

    async def _take(self, event: Event, personal: dict[str, Any] | None = None) -> None:
        before = self.machine
        self.machine, effects = step(before, event, clock.boottime())
        if self.machine.window is not None:
            self.last = self.machine.window
        if before.state is not self.machine.state:
            cause = f": {event.cause} {event.why}".rstrip() if isinstance(event, End) else ""
            log.info("window: %s -> %s%s", before.state.value, self.machine.state.value, cause)
        try:
            for effect in effects:
                await self._run(effect, before.window, personal)
        except OSError as error:
            # No record, no window; a cut never depends on a record, because it comes first.
            log.warning("window: %s: %s", type(effect).__name__, error)
            if self.machine.state in (State.OPENING, State.OPEN, State.SUSPENDED):
                await self._take(End("no-room" if isinstance(effect, Record) else "not-ready", str(error)))

    async def _run(self, effect: Effect, before: Window | None, personal: dict[str, Any] | None) -> None:
        if isinstance(effect, Record):
            self._record(effect.event, dict(effect.data), personal if effect.event in _ASKED else None, before)
        elif isinstance(effect, Start):
            await self._start(effect.window)
        elif isinstance(effect, Show):
            self._show(effect.picture)
        elif isinstance(effect, Cut):
            await self._cut()
        elif isinstance(effect, KeepDisabled):
            self.store.keep_disabled((personal or {}) if effect.disabled else None)

    def _record(
        self, event: str, data: dict[str, Any], personal: dict[str, Any] | None, before: Window | None = None
    ) -> None:
        window = self.machine.window or before
        if event == "closed" and self.live is not None:
            data["cut_ms"] = self.live.cut_ms
        if event == "opening" and window is not None:
            data |= {"request_id": window.request_id, "minutes": window.minutes}
        self.store.append(event, window.id if window else None, data, personal)

    async def _start(self, window: Window) -> None:
        vpn = self.observer.vpn()
        if vpn is None or not vpn.own:
            raise OSError("tailscaled does not answer")
        own4 = next(str(address) for address in vpn.own if address.version == 4)
        ports, secret, path = self.config.ports, secrets.token_urlsafe(24), f"/{secrets.token_urlsafe(24)}"
        text = mediamtx.render(own4, ports.rtsp, ports.hook, path, window.cameras)
        server_config = self.run_dir / "mediamtx.yml"
        server_config.touch(mode=0o600)
        server_config.write_text(text)
        allowed = frozenset(
            {
                Listener("tcp", own4, ports.rtsp, self.users["mediamtx"]),
                Listener("tcp", "127.0.0.1", ports.hook, self.users["agent"]),
            }
        )
        joins = Joins(
            self.config.site,
            secret,
            self.tailnet,
            lambda: self.machine,
            self._record,
            self.feed.order_keyframe,
        )
        subject = Subject(window.cameras, window.purpose, allowed, mediamtx.config_hash(text))
        live = self.live = Live(Hook(path, joins.decide), joins, subject, vpn.own, clock.boottime())
        await live.hook.start(ports.hook)
        self.feed.offer(self._job(window, own4, secret))
        live.poller = asyncio.create_task(self.observer.poll(live.over), name="vpn")
        try:
            live.shutter = await Shutter.connect(self.shutter_socket, lambda: self._lost(live, "shutter-lost"))
            # The publisher's own lease comes with the first renewal; without it not even the feed gets in.
            await self._lease(live, frozenset())
        except ShutterError as error:
            raise OSError(f"the shutter did not start: {error}") from error

    def _job(self, window: Window, own4: str, secret: str) -> dict[str, Any]:
        picture = self.config.picture
        return {
            "window": window.id,
            "width": picture.width,
            "height": picture.height,
            "fps": picture.fps,
            "block": picture.block,
            "cameras": [
                {
                    "name": camera,
                    "source": self.config.cameras[camera].url,
                    "publish": f"rtsp://feed:{secret}@{own4}:{self.config.ports.rtsp}/{camera}",
                }
                for camera in window.cameras
            ],
            "show": True,
        }

    def _lost(self, live: Live, what: str) -> None:
        live.lost = live.lost or what
        self.changed.set()

    def _show(self, picture: bool) -> None:
        if self.live is not None:
            self.live.blank_seq = self.feed.order_show(picture)
            self.live.blank_by = None if picture else clock.boottime() + BLANK_S

    async def _check_blank(self) -> None:
        live = self.live
        if live is None or live.blank_by is None:
            return
        report = self.feed.report
        if report is not None and report.seq >= live.blank_seq and not report.show:
            live.blank_by = None
        elif clock.boottime() >= live.blank_by and self.machine.state is State.SUSPENDED:
            await self._try(End("not-suspended", f"the blank picture was not confirmed within {BLANK_S * 1000:.0f} ms"))

    async def _cut(self) -> None:
        live = self.live
        if live is None:
            return
        began = clock.boottime()
        if live.shutter is not None:
            live.cut_ms = await live.shutter.close()
        if live.cut_ms is None:
            live.cut_ms = round((clock.boottime() - began) * 1000, 1)
        self.feed.withdraw()
        await live.hook.stop()
        live.over.set()
        with contextlib.suppress(OSError):
            live.joins.end()
        (self.run_dir / "mediamtx.yml").unlink(missing_ok=True)

    def _verdicts(self) -> tuple[Verdict, ...]:
        if self.live is None or self.machine.state not in (State.OPENING, State.OPEN, State.SUSPENDED):
            return ()
        return guards.standing(self.observer.facts(self.live.subject, disabled=self.machine.disabled))

    async def _observed(self) -> Event | None:
        """What the window's own processes and viewers have done since the last turn."""
        state, live = self.machine.state, self.live
        if state is State.CLOSING:
            return Gone() if self._gone() else None
        if live is None or state in (State.CLOSED, State.DISABLED):
            return None
        lost = live.lost or self._lost_part(state)
        if lost is not None:
            return End(lost := await self._first_lost(live, lost), _LOST[lost])
        if state is State.OPENING:
            return Ready() if self._published(live) else None
        vpn = self.observer.vpn()
        if vpn is not None and vpn.own != live.own:
            return End("vpn-address-changed", "the gateway's VPN address has changed")
        if live.joins.look(self.observer.connected, self.config.ports.rtsp):
            self.machine, _ = step(self.machine, Watched(), clock.boottime())
        return None

    async def _first_lost(self, live: Live, noticed: str) -> str:
        # systemd stops the others as soon as the shutter says that it ends, some 15 ms before its own end shows. No
        # picture flows meanwhile: whoever made it is gone.
        if live.shutter is not None and live.lost is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(live.shutter.ended.wait(), 0.1)
        return live.lost or noticed

    def _lost_part(self, state: State) -> str | None:
        # A shutter that ends takes the others with it: it is named first, whoever is noticed first.
        if state is not State.OPENING and not units.populated("sightglass-shutter.service"):
            return "shutter-lost"
        if self.feed.lost:
            return "feed-lost"
        if state is not State.OPENING and not units.populated("sightglass-mediamtx.service"):
            return "server-lost"
        return None

    def _published(self, live: Live) -> bool:
        report = self.feed.report
        if report is None or set(report.cameras) != set(live.subject.cameras):
            return False
        late = clock.boottime() >= live.began + LIVE_S
        return all(seen.published > 0 and (late or seen.state == "live") for seen in report.cameras.values())

    def _gone(self) -> bool:
        try:
            left = self.observer.left_listening()
        except (OSError, ValueError):
            return False
        return not left and not any(units.populated(unit) for unit in units.WINDOW_UNITS)

    async def _renew(self, verdicts: tuple[Verdict, ...]) -> None:
        live = self.live
        if self.machine.state in (State.CLOSED, State.DISABLED):
            self.live = None
            return
        if live is None or live.shutter is None:
            return
        standing = tuple(verdict for verdict in verdicts if verdict.guard in guards.STANDING)
        if not renewable(self.machine, standing, frozenset(guards.STANDING)):
            return
        wanted = frozenset(address for viewer in self.viewers() for address in viewer.addresses)
        window = self.machine.window
        renewed = None if window is None else window.renewed
        due = renewed is None or clock.boottime() >= renewed + self.config.lease_s / 5
        if due or wanted != live.leased:
            try:
                await self._lease(live, wanted)
            except ShutterError as error:
                await self._try(End("shutter-lost", str(error)))

    async def _lease(self, live: Live, wanted: frozenset[Address]) -> None:
        if live.shutter is None:
            raise ShutterError("not connected")
        await live.shutter.renew(live.own, sorted(wanted, key=str), self.config.lease_s)
        live.leased = wanted
        self.machine, _ = step(self.machine, Renewed(), clock.boottime())

    def viewers(self) -> tuple[Viewer, ...]:
        """Who holds a lease now: nobody before `opened` is on disk."""
        vpn, window = self.observer.vpn(), self.machine.window
        if vpn is None or window is None or not admits(self.machine):
            return ()
        return entitled(vpn.peers, self.config.site, window.cameras, window.named)
