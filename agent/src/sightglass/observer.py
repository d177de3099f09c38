"""Gathers facts: asks tailscaled and the kernel, remembers what the lane's publisher said.

What takes its time is asked beside the loop, and counts from when it was asked: a look that others make slow makes the
answer old, never a cut late.

A new guard needs: its codes in causes.py and their words in console/static/causes.js (those that only refuse an opening
have none); its function and its place in a table in guards.py; its fact in facts.py, gathered in `Observer.facts`, from
a source that main.assemble gives; its finding in doctor/ (host, site or vpn) and in examine.py's list; and, where it
gets a figure, metrics.py, an alert in monitoring/alerts.yml and that alert's row in docs/operations.md.

Facts are gathered inside the agent's sandbox, which is not how the host looks: with ProtectSystem=strict
`statvfs("/")` says read-only of a disk that others write to, /tmp and others' processes are hidden, and /dev is
another one. Where that matters, ask the kernel by another way, and try it in the unit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sightglass.adapters import clock, sockets
from sightglass.adapters.lanes import LaneListener, Lanes
from sightglass.adapters.load import LoadWatch
from sightglass.adapters.pins import Pins
from sightglass.adapters.sockets import Sockets
from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.config import Config
from sightglass.facts import Clock, Exposure, Facts, Lane, Listener, Vpn
from sightglass.guards import SWITCH
from sightglass.mediamtx import config_hash
from sightglass.viewers import Address
from sightglass.window import Purpose

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How often tailscaled and the sockets are asked during a window: what changes is seen at most this much later."""
ASK_S = 1.0
"""How long tailscaled may take for a whole answer."""
BROKER_S = 1.0
"""How often the broker's answer is measured during a window."""
ANSWER_S = 2.0
"""How long that waits for the answer."""
FRESH_S = 2.0
"""An older answer is no answer: the guard says unknown."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the facts are about: the cameras and purpose asked for, and what the window may have open."""

    cameras: tuple[str, ...]
    purpose: Purpose
    allowed: frozenset[Listener]
    config_hash: str | None


class Observer:
    """The newest facts. `poll` runs during a window only; `renew` asks once, for an opening or a status."""

    def __init__(
        self,
        *,
        config: Config,
        tailnet: Tailnet,
        lanes: LaneListener,
        load: LoadWatch,
        pins: Pins,
        users: frozenset[int],
        server_config: Path,
        changed: Callable[[], None],
    ) -> None:
        self._config, self._tailnet, self._lanes, self._load, self._pins = config, tailnet, lanes, load, pins
        self._users, self._server_config, self._changed = users, server_config, changed
        self._vpn: tuple[float, Vpn] | None = None
        # Of its own: whoever lets the chain be checked many times at once must not make this wait.
        self._reader = ThreadPoolExecutor(1, "sockets")
        self._asking: asyncio.Task[None] | None = None
        self._ports = frozenset(config.ports.reserved())
        self._sockets: tuple[float, Sockets] | None = None
        self._doubts: dict[str, str | None] = {}
        self.floor: datetime | None = None

    async def renew(self) -> None:
        """Find out anew whatever may be known from before."""
        self._pins.forget()
        # First: beside a broker that hangs the other answers grew too old to be facts, and were blamed for it.
        await self.ask_broker()
        await asyncio.gather(self.refresh(), self.look())

    async def refresh(self) -> None:
        """Ask tailscaled once, after the answer that is still awaited; give up waiting after ASK_S each.

        A question is never cancelled: a read that is cancelled while its answer arrives makes the library underneath
        complain of an invalid state (seen once in some twenty windows). A late answer counts from its question.
        """
        asking = self._asking
        if asking is not None and not asking.done():
            await asyncio.wait({asking}, timeout=ASK_S)
        if asking is None or asking.done():
            if self._asking is asking or self._asking is None:
                self._asking = asyncio.create_task(self._ask(clock.boottime()), name="ask-tailscaled")
            asking = self._asking  # perhaps that of another who has waited for the same
            await asyncio.wait({asking}, timeout=ASK_S)
        if asking.done():
            asking.result()
        else:
            self._doubt("vpn", f"tailscaled has not answered within {ASK_S:g} s")

    async def _ask(self, asked: float) -> None:
        try:
            vpn = await self._tailnet.vpn(asked)
        except (TailnetError, OSError, LookupError) as error:
            self._doubt("vpn", f"tailscaled does not answer: {error}")
            return
        self._doubt("vpn", None)
        if self._vpn is not None and self._vpn[0] > asked:
            return
        before, self._vpn = self.vpn(), (asked, vpn)
        if before is None or before.peers != vpn.peers or before.own != vpn.own:
            self._changed()

    async def look(self) -> None:
        """Ask the kernel once who listens, and who is connected. Why it does not tell is logged when that changes."""
        asked = clock.boottime()
        try:
            seen = await self._read(self._ports)
        except OSError as error:
            self._doubt("exposure", f"the kernel does not tell who listens: {error}")
            self._sockets = None
            self._changed()
            return
        self._doubt("exposure", None)
        before = self._sockets
        if before is not None and before[0] > asked:
            return
        self._sockets = asked, seen
        if before is None or before[1] != seen:
            self._changed()

    def _doubt(self, guard: str, why: str | None) -> None:
        # Asked four times a second: a journal of nothing else would hide what comes after it.
        if self._doubts.get(guard) != why:
            self._doubts[guard] = why
            if why is not None:
                log.warning("%s: %s", guard, why)

    async def watch_sockets(self, over: asyncio.Event) -> None:
        """Look until it is over."""
        await _again(self.look, POLL_S, over)

    async def ask_broker(self) -> None:
        """Measure the broker's answer once."""
        self._load.round_trip(await self._lanes.round_trip(ANSWER_S))

    async def watch_broker(self, over: asyncio.Event) -> None:
        """Measure it until it is over: apart from `poll`, for a broker that hangs must not hide who may watch."""
        await _again(self.ask_broker, BROKER_S, over)

    async def poll(self, over: asyncio.Event) -> None:
        """Ask until it is over."""
        await _again(self.refresh, POLL_S, over)

    def vpn(self) -> Vpn | None:
        """The last answer of tailscaled while it is fresh."""
        if self._vpn is None or clock.boottime() - self._vpn[0] > FRESH_S:
            return None
        return self._vpn[1]

    def facts(self, subject: Subject, *, disabled: bool) -> Facts:
        """All facts as they are known now."""
        return Facts(
            disabled=disabled,
            switched_off=self.switched_off(),
            clock=Clock(clock.wall(), self.floor) if self.floor else None,
            vpn=self.vpn(),
            exposure=self._exposure(subject),
            lanes=tuple(self._lane(name, subject.purpose) for name in self._lane_names(subject.cameras)),
            load=self._load.strains(),
            contact_max_s=self._config.limits.control_silent_s,
        )

    def doubt(self, guard: str) -> str | None:
        """Why a guard's facts could not be had the last time."""
        return self._doubts.get(guard)

    def heard(self) -> Lanes:
        """What the broker has told."""
        return self._lanes.lanes

    def strange(self) -> str | None:
        """Which installed file is not as it was pinned, by a look that begins now."""
        self._pins.forget()
        return self._pins.strange()

    async def listening(self, ports: Collection[int]) -> frozenset[Listener]:
        """Who listens on these ports, and on what our users do, by a look that begins now. Raises OSError."""
        return (await self._read(ports)).listeners

    def switched_off(self) -> bool:
        """Whether the switch at the gateway is set."""
        return _there(Path(SWITCH))

    async def left_listening(self) -> frozenset[Listener]:
        """Listeners of the window's own users, by a look that begins now. Raises OSError when there is none."""
        return (await self._read(())).listeners

    async def _read(self, ports: Collection[int]) -> Sockets:
        return await asyncio.get_running_loop().run_in_executor(self._reader, sockets.read, self._users, ports)

    @property
    def connected(self) -> frozenset[tuple[int, Address]]:
        """Who is connected to a port of ours, by the last look: (our port, the other's address)."""
        return frozenset() if self._sockets is None else self._sockets[1].connected

    def _exposure(self, subject: Subject) -> Exposure | None:
        if self._sockets is None or clock.boottime() - self._sockets[0] > FRESH_S:
            return None
        return Exposure(
            listeners=self._sockets[1].listeners,
            allowed=subject.allowed,
            users=self._users,
            ports=self._ports,
            config_intact=subject.config_hash is None or _hash(self._server_config) == subject.config_hash,
            strange=self._pins.strange(),
        )

    def _lane_names(self, cameras: Sequence[str]) -> list[str]:
        return sorted({self._config.cameras[camera].lane for camera in cameras})

    def _lane(self, name: str, purpose: Purpose) -> Lane:
        lane, heard, now = self._config.lanes[name], self._lanes.lanes, clock.boottime()
        beat, said = heard.heartbeats.get(name), heard.states.get(name)
        if said is not None and said.retained and not lane.retained:
            said = None
        return Lane(
            name=name,
            connected=heard.connected,
            state=None if said is None else said.state,
            heartbeat_age_s=None if beat is None else now - beat,
            safe=frozenset(lane.safe_debug if purpose is Purpose.DEBUG else lane.safe),
            max_age_s=lane.heartbeat_max_age_s,
            state_age_s=None if said is None or lane.state_max_age_s is None else now - said.at,
            state_max_age_s=math.inf if lane.state_max_age_s is None else lane.state_max_age_s,
            trouble=heard.trouble,
        )


async def _again(ask: Callable[[], Awaitable[None]], pause_s: float, over: asyncio.Event) -> None:
    while not over.is_set():
        await ask()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), pause_s)


def _there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # nobody can tell, so it is off
    return True


def _hash(path: Path) -> str | None:
    try:
        return config_hash(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError):
        return None
