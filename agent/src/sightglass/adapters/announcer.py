"""Says on the site's broker how the gateway is. Retained, and with a last will; it subscribes to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiomqtt

from sightglass.adapters import broker
from sightglass.announcement import OFFLINE, ONLINE, Topics, payload
from sightglass.config import Mqtt

log = logging.getLogger(__name__)

FAREWELL_S = 1.0
"""How long the end of an agent waits for its last word to be taken."""


class Announcer:
    """Keeps the broker told, across its restarts. Only how things are now counts: nothing queues up while it is away.

    `name` is the connection's own at the broker (broker.identifier). `look` says how things are (announcement.said),
    `discovery` is what is told to Home Assistant, if it is.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        name: str,
        where: Topics,
        look: Callable[[], dict[str, Any]],
        discovery: bytes,
        now: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._mqtt, self._name, self._where, self._look, self._discovery = mqtt, name, where, look, discovery
        self._now, self._wall = now, wall
        self._things = look()
        self._since = wall()
        self._changed = asyncio.Event()

    def look(self) -> None:
        """Look how things are; what has changed is said."""
        things = self._look()
        # The deadline goes with the window; reckoned anew by the wall clock it differs by a second now and then.
        if {**things, "until": None} != {**self._things, "until": None}:
            self._things, self._since = things, self._wall()
            self._changed.set()

    async def run(self) -> None:
        """Say it until cancelled; a lost broker is asked again with back-off and jitter."""
        await broker.keep(self._life, self._lost, self._now)

    def _lost(self, error: Exception, news: bool) -> None:
        if news:
            log.warning("announcement: not said at %s:%d: %s", self._mqtt.host, self._mqtt.port, error)

    async def _life(self, _failures: int) -> None:
        will = aiomqtt.Will(self._where.availability, OFFLINE, qos=1, retain=True)
        async with broker.client(self._mqtt, self._name, listens=False, will=will) as client:
            # Nothing is subscribed to, and no message taken: this ends when the connection does.
            lost = asyncio.create_task(_lost(client))
            try:
                if self._where.discovery is not None:
                    await self._say(client, self._where.discovery, self._discovery)
                while not lost.done():
                    self._changed.clear()
                    # Each time: an `offline` that somebody else has said stays no longer than the state beside it.
                    await self._say(client, self._where.availability, ONLINE.encode())
                    await self._say(client, self._where.state, payload(self._things, self._since))
                    changed = asyncio.create_task(self._changed.wait())
                    await asyncio.wait({lost, changed}, return_when=asyncio.FIRST_COMPLETED)
                    changed.cancel()
                lost.result()
            except asyncio.CancelledError:
                # A last will is for an agent that cannot speak any more.
                with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        self.look()
                        await self._say(client, self._where.state, payload(self._things, self._since))
                        await self._say(client, self._where.availability, OFFLINE.encode())
                raise
            finally:
                lost.cancel()

    async def _say(self, client: aiomqtt.Client, topic: str, text: bytes) -> None:
        await client.publish(topic, text, qos=1, retain=True)


async def _lost(client: aiomqtt.Client) -> None:
    async for _ in client.messages:
        pass
