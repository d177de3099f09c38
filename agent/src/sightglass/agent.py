"""The agent's one loop: gather facts, ask the window's table, run the effects. Nothing else sets the state.

Whoever wants something of a window puts an event into the inbox and waits for its answer; the loop takes the inbox
first, then what time and the guards demand, then renews the leases. Each effect has a bound, so that a hung part delays
the loop by that much at most, and meanwhile the kernel's leases and the shutter's own clock go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sightglass import announcement, guards
from sightglass.adapters import clock, units
from sightglass.adapters.shutter import ShutterError
from sightglass.config import Config
from sightglass.live import Live, Parts
from sightglass.observer import Observer
from sightglass.refusal import Refusal
from sightglass.store import Store
from sightglass.verdict import Verdict
from sightglass.viewers import Viewer, entitled
from sightglass.window import (
    Cut,
    Effect,
    Enable,
    End,
    Event,
    Gone,
    KeepDisabled,
    Limits,
    Machine,
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
STUCK_S = 5.0
"""A window that needs longer to be gone says once why, and is looked at as seldom as an open one."""
IDLE_S = 2.0
"""Without a window only the watchdog needs the loop; wishes wake it."""
STALL_S = 1.0
"""A loop that has stood still for longer asks anew before it judges: what is old then is old because nobody asked. The
record's disk may need seconds for a write; the leases and the shutter's clock go on meanwhile."""
ANEW_S = 0.5
"""How long the loop waits for that, unless somebody wants something or the deadline comes."""
_ASKED = frozenset({"opening", "cause", "disabled", "enabled"})
"""Events that somebody asked for, and that carry who and why; a disabled window's cause and mark carry the same."""
_PERMITS = frozenset({"opening", "opened", "resumed", "joined", "enabled"})
"""Events without which nothing may happen. Any other tells what has happened, and is owed where there is no room."""


@dataclass(frozen=True, slots=True)
class _Wish:
    event: Event
    personal: dict[str, Any] | None
    answer: asyncio.Future[Machine]


@dataclass(slots=True)
class Agent:
    """One gateway's agent."""

    parts: Parts
    store: Store
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    machine: Machine = field(init=False)
    live: Live | None = None
    last: Window | None = None
    beat: Callable[[], None] = lambda: None
    turned: Callable[[], None] = lambda: None
    _judged: float = 0.0
    _closing: float | None = None
    _stuck: bool = False
    _inbox: asyncio.Queue[_Wish] = field(default_factory=lambda: asyncio.Queue(64))
    _turned: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        limits = self.config.limits
        # Closing, not closed: whatever an agent before this one left must be seen gone first.
        self.machine = Machine(
            Limits(self.config.lease_s, limits.nobody_joined_s, limits.last_viewer_gone_s, limits.lane_settle_s),
            State.CLOSING,
            disabled=frozenset(self.store.disabled()),
        )

    @property
    def config(self) -> Config:
        """The site's configuration."""
        return self.parts.config

    @property
    def observer(self) -> Observer:
        """Where the facts come from."""
        return self.parts.observer

    def marks(self) -> list[dict[str, Any]]:
        """What keeps windows from opening, by `cause` (disabled: by the site, fleet-off, switch), and, where they are
        known, `at`, `user` and `reason`."""
        marks = [{"cause": cause, **mark} for cause, mark in sorted(self.store.disabled().items(), reverse=True)]
        if self.observer.switched_off():
            marks.append({"cause": "switch", "reason": f"the switch {guards.SWITCH} is set"})
        return marks

    def said(self) -> dict[str, Any]:
        """How things are, for the site's broker (announcement.said)."""
        window = self.machine.window
        deadline = None if window is None else clock.wall() + timedelta(seconds=window.deadline - clock.boottime())
        return announcement.said(self.machine.state, window, self.last, self.marks(), deadline)

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
        self.store.catch_up()
        self.store.sweep()
        await self._take_inbox()
        await self._after_stall()
        verdicts = self._verdicts()
        for _ in range(4):
            event = demanded(self.machine, verdicts, clock.boottime()) or await self._observed()
            if event is None or not await self._try(event):
                break
        await self._renew(verdicts)
        self.turned()
        async with self._turned:
            self._turned.notify_all()

    async def _after_stall(self) -> None:
        now, window = clock.boottime(), self.machine.window
        if self.live is not None and window is not None and now > self._judged + STALL_S:
            asking = asyncio.gather(self.observer.refresh(), self.observer.look(), return_exceptions=True)
            end = min(now + ANEW_S, window.deadline)
            while not asking.done() and self._inbox.empty() and clock.boottime() < end:
                await asyncio.wait({asking}, timeout=0.02)
        # Only now: a slow answer was taken for the next stall, and every later cut waited for one.
        self._judged = clock.boottime()

    def _pause(self) -> float:
        if self.machine.state is State.CLOSING:
            return TICK_S if self._stuck else CLOSING_TICK_S
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
        short: OSError | None = None
        unkept: OSError | None = None
        for effect in effects:
            try:
                await self._run(effect, before.window, personal)
            except OSError as error:
                log.warning(
                    "window: %s: %s", effect.event if isinstance(effect, Record) else type(effect).__name__, error
                )
                if isinstance(effect, Record) and effect.event not in _PERMITS:
                    short = error
                elif isinstance(effect, KeepDisabled) and effect.disabled:
                    unkept = error
                elif isinstance(event, Enable):
                    self.machine = before
                    raise Refusal(
                        "no-room", f"still disabled, because that cannot be recorded: {error}", 507
                    ) from error
                else:
                    await self._end_live("no-room" if isinstance(effect, Record) else "not-ready", error)
                    return
        if short is not None:
            await self._end_live("no-room", short)
        if unkept is not None:
            why = f"disabled, but only until this agent restarts: the mark cannot be written: {unkept}"
            raise Refusal("not-kept", why, 507) from unkept

    async def _end_live(self, cause: str, error: OSError) -> None:
        # No record, no window; a cut never depends on a record, because it comes first.
        if self.machine.state in (State.OPENING, State.OPEN, State.SUSPENDED):
            await self._take(End(cause, str(error)))

    async def _run(self, effect: Effect, before: Window | None, personal: dict[str, Any] | None) -> None:
        if isinstance(effect, Record):
            self._record(effect.event, dict(effect.data), personal if effect.event in _ASKED else None, before)
        elif isinstance(effect, Start):
            await self._start(effect.window)
        elif isinstance(effect, Show):
            if self.live is not None:
                self.live.show(effect.picture)
                await self.live.tell(0.0)
        elif isinstance(effect, Cut):
            if self.live is not None:
                await self.live.cut()
        elif isinstance(effect, KeepDisabled):
            if not effect.disabled:
                self.store.keep_disabled(effect.cause, None)
            elif effect.cause not in self.store.disabled():
                self.store.keep_disabled(effect.cause, personal or {})

    def _record(
        self, event: str, data: dict[str, Any], personal: dict[str, Any] | None, before: Window | None = None
    ) -> None:
        window = self.machine.window or before
        if event == "closed" and self.live is not None:
            data["cut_ms"] = self.live.cut_ms
        if event == "opening" and window is not None:
            data |= {"request_id": window.request_id, "minutes": window.minutes}
        write = self.store.append if event in _PERMITS else self.store.owe
        write(event, window.id if window else None, data, personal)
        if event == "enabled":
            self.observer.floor = self.store.newest()

    async def _start(self, window: Window) -> None:
        self._judged = clock.boottime()  # the opening's guards have just been asked
        live = Live(self.parts, window, lambda: self.machine, self._record, self.changed.set)
        self.live = live
        await live.start()
        self.machine, _ = step(self.machine, Renewed(), clock.boottime())

    def _verdicts(self) -> tuple[Verdict, ...]:
        if self.live is None or self.machine.state not in (State.OPENING, State.OPEN, State.SUSPENDED):
            return ()
        return guards.during(self.observer.facts(self.live.subject, disabled=bool(self.machine.disabled)))

    async def _observed(self) -> Event | None:
        """What the window's own processes and viewers have done since the last turn."""
        state, live = self.machine.state, self.live
        if state is State.CLOSING:
            return Gone() if await self._gone() else None
        if live is None or state in (State.CLOSED, State.DISABLED):
            return None
        lost = await live.lost(state)
        if lost is not None:
            return lost
        if state is State.OPENING:
            return await self._ready() if live.published() else None
        if live.watched():
            self.machine, _ = step(self.machine, Watched(), clock.boottime())
        return live.moved() or await live.blank_missing()

    async def _ready(self) -> Event | None:
        # By a look that begins now: the last one may be older than what the stream server listens on.
        await self.observer.look()
        verdicts = self._verdicts()
        harm = demanded(self.machine, verdicts, clock.boottime())
        return harm or (Ready() if self._may_renew(verdicts) else None)

    def _may_renew(self, verdicts: tuple[Verdict, ...]) -> bool:
        standing = tuple(verdict for verdict in verdicts if verdict.guard in guards.STANDING)
        return renewable(self.machine, standing, frozenset(guards.STANDING))

    async def _gone(self) -> bool:
        try:
            listening = await self.observer.left_listening()
        except OSError as error:
            return self._not_gone(f"the kernel does not say what listens: {error}")
        running = [unit for unit in units.WINDOW_UNITS if units.populated(unit)]
        if running or listening:
            return self._not_gone(f"still there: {', '.join([*running, *sorted(map(str, listening))])}")
        self._closing, self._stuck = None, False
        return True

    def _not_gone(self, why: str) -> bool:
        now = clock.boottime()
        self._closing = now if self._closing is None else self._closing
        if now > self._closing + STUCK_S and not self._stuck:
            self._stuck = True
            log.error("window: not gone after %.0f s: %s", STUCK_S, why)
        return False

    async def _renew(self, verdicts: tuple[Verdict, ...]) -> None:
        live, window = self.live, self.machine.window
        if self.machine.state in (State.CLOSED, State.DISABLED):
            self.live = None
        if live is None or window is None:
            return
        if not self._may_renew(verdicts):
            return
        viewers, vpn = self.viewers(), self.observer.vpn()
        if not live.lease_due(viewers, window.renewed):
            return
        try:
            await live.lease(viewers, vpn.peers if vpn else ())
        except ShutterError as error:
            await self._try(live.loss("shutter-lost", str(error)))
        else:
            self.machine, _ = step(self.machine, Renewed(), clock.boottime())

    def viewers(self) -> tuple[Viewer, ...]:
        """Who holds a lease now: nobody before `opened` is on disk."""
        vpn, live = self.observer.vpn(), self.live
        if vpn is None or live is None or not admits(self.machine):
            return ()
        return entitled(vpn.peers, live.needed, live.holding)
