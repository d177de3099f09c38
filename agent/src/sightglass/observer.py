"""Gathers facts: asks tailscaled, reads the socket tables, remembers what the lane's publisher said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sightglass import payload
from sightglass.adapters import clock, sockets
from sightglass.adapters.mqtt import LaneListener
from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.config import Config
from sightglass.facts import Clock, Exposure, Facts, Lane, Listener, Vpn
from sightglass.mediamtx import config_hash
from sightglass.viewers import Address
from sightglass.window import Purpose

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How often tailscaled is asked during a window: removed capabilities are seen at most this much later."""
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
    """The newest facts. `poll` runs during a window only; `refresh` asks once, for an opening or a status."""

    def __init__(
        self,
        config: Config,
        tailnet: Tailnet,
        lanes: LaneListener,
        users: frozenset[int],
        server_config: Path,
        changed: Callable[[], None],
    ) -> None:
        self._config, self._tailnet, self._lanes = config, tailnet, lanes
        self._users, self._server_config, self._changed = users, server_config, changed
        self._vpn: tuple[float, Vpn] | None = None
        self.connected: frozenset[tuple[int, Address]] = frozenset()
        self.floor: datetime | None = None

    async def refresh(self) -> None:
        """Ask tailscaled once. What it does not answer stays unknown; the reason is logged when it changes."""
        try:
            vpn = await self._tailnet.vpn(clock.boottime())
        except (TailnetError, OSError, LookupError) as error:
            if self.vpn() is None:
                return
            log.warning("vpn: tailscaled does not answer: %s", error)
            return
        before, self._vpn = self.vpn(), (clock.boottime(), vpn)
        if before is None or before.peers != vpn.peers or before.own != vpn.own:
            self._changed()

    async def poll(self, over: asyncio.Event) -> None:
        """Ask until it is over. Never cancelled: a read that is cancelled while its answer arrives makes the library
        underneath complain of an invalid state (seen once in some twenty windows)."""
        while not over.is_set():
            await self.refresh()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), POLL_S)

    def vpn(self) -> Vpn | None:
        """The last answer of tailscaled while it is fresh."""
        if self._vpn is None or clock.boottime() - self._vpn[0] > FRESH_S:
            return None
        return self._vpn[1]

    def facts(self, subject: Subject, *, disabled: bool) -> Facts:
        """All facts as they are known now."""
        return Facts(
            disabled=disabled,
            clock=Clock(clock.wall(), self.floor) if self.floor else None,
            vpn=self.vpn(),
            exposure=self._exposure(subject),
            lanes=tuple(self._lane(name, subject.purpose) for name in self._lane_names(subject.cameras)),
        )

    def left_listening(self) -> frozenset[Listener]:
        """Listeners of the window's own users. Raises OSError or ValueError when the tables cannot be read."""
        return frozenset(found for found in sockets.read().listeners if found.uid in self._users)

    def _exposure(self, subject: Subject) -> Exposure | None:
        try:
            seen = sockets.read()
        except (OSError, ValueError) as error:
            log.warning("exposure: the socket tables cannot be read: %s", error)
            return None
        self.connected = seen.connected
        return Exposure(
            listeners=seen.listeners,
            allowed=subject.allowed,
            users=self._users,
            ports=frozenset(self._config.ports.reserved()),
            config_intact=subject.config_hash is None or _hash(self._server_config) == subject.config_hash,
        )

    def _lane_names(self, cameras: Sequence[str]) -> list[str]:
        return sorted({self._config.cameras[camera].lane for camera in cameras})

    def _lane(self, name: str, purpose: Purpose) -> Lane:
        lane, heard = self._config.lanes[name], self._lanes.lanes
        beat = heard.heartbeats.get(lane.heartbeat_topic)
        sent, state, unreadable = heard.states.get(lane.state_topic), None, None
        if sent is not None:
            try:
                state = payload.state(sent, lane.state_path)
            except payload.Unreadable as error:
                unreadable = str(error)
        return Lane(
            name=name,
            connected=heard.connected,
            state=state,
            heartbeat_age_s=None if beat is None else clock.boottime() - beat,
            safe=frozenset(lane.safe_debug if purpose is Purpose.DEBUG else lane.safe),
            max_age_s=lane.heartbeat_max_age_s,
            unreadable=unreadable,
        )


def _hash(path: Path) -> str | None:
    try:
        return config_hash(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError):
        return None
