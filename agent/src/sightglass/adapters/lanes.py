"""The lanes as their publishers tell them over MQTT: the last state of each, and the last heartbeat.

Only ever a listener: nothing is published, and no message is a command.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiomqtt

from sightglass import payload
from sightglass.adapters import broker
from sightglass.config import Lane, Mqtt
from sightglass.payload import Unreadable

log = logging.getLogger(__name__)

MOST_MESSAGES = 200
"""A second, of all lanes. Who sends more is no lane; the connection is given up for a while, and nothing is known."""
_NOTHING = "sightglass/nothing"
"""A topic to unsubscribe from: the broker's answer to that has no effect but its own time."""


@dataclass(frozen=True, slots=True)
class Said:
    """A lane's last state: its text, or why it is none; when it came (boottime), and whether the broker had kept it."""

    state: str | Unreadable
    at: float
    retained: bool


@dataclass(slots=True)
class Lanes:
    """What the broker has told since it was last connected, by lane. A lost connection forgets everything.

    `heartbeats` are boottimes; `trouble` says why there is no connection.
    """

    connected: bool = False
    trouble: str | None = None
    states: dict[str, Said] = field(default_factory=dict)
    heartbeats: dict[str, float] = field(default_factory=dict)

    def forget(self) -> None:
        """Nothing said over a lost connection holds any more."""
        self.connected = False
        self.states.clear()
        self.heartbeats.clear()


class Flood(broker.Lost):
    """More messages than any lane sends."""


class LaneListener:
    """Keeps `lanes` up to date; `changed` is called after each change of a state and of the connection.

    `rate` gets the frame rate that a lane's heartbeat carries, None when it carries none, where the site named a floor.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        lanes: Mapping[str, Lane],
        now: Callable[[], float],
        changed: Callable[[], None],
        rate: Callable[[str, float | None], None],
    ) -> None:
        self.lanes = Lanes()
        self._mqtt, self._config = mqtt, lanes
        self._now, self._changed, self._rate = now, changed, rate
        self._client: aiomqtt.Client | None = None
        self._asked: tuple[float, asyncio.Task[None]] | None = None
        self._second, self._messages = 0.0, 0

    async def run(self) -> None:
        """Listen until cancelled; a lost broker is asked again with back-off and jitter."""
        await broker.keep(self._life, self._lost, self._now)

    def _lost(self, error: Exception, news: bool) -> None:
        if news:
            log.warning("lane: the broker at %s:%d is lost: %s", self._mqtt.host, self._mqtt.port, error)
        self.lanes.trouble = str(error)
        self._changed()

    async def _life(self, failures: int) -> None:
        topics = {topic for lane in self._config.values() for topic in (lane.state_topic, lane.heartbeat_topic)}
        try:
            async with broker.client(
                self._mqtt, listens=True, max_queued_incoming_messages=2 * MOST_MESSAGES
            ) as client:
                for topic in sorted(topics):
                    await client.subscribe(topic, qos=0)
                self.lanes.connected, self._client = True, client
                if failures <= 1:
                    log.info("lane: connected to the broker at %s:%d", self._mqtt.host, self._mqtt.port)
                async for message in client.messages:
                    self._count()
                    self.take(str(message.topic), message.payload, retained=bool(message.retain))
        finally:
            if self._asked is not None:
                self._asked[1].cancel()
            self._client = self._asked = None
            self.lanes.forget()
            self._changed()

    async def round_trip(self, seconds: float) -> float | None:
        """How long the broker takes to answer (seconds); how long it has taken by now when it has not answered within
        `seconds`; None: not connected."""
        client = self._client
        if client is None:
            return None
        if self._asked is None:
            # One question at a time, and never given up while connected: the library logs a traceback for an answer
            # that comes late.
            asking = asyncio.create_task(client.unsubscribe(_NOTHING, timeout=math.inf))
            asking.add_done_callback(_heard)
            self._asked = self._now(), asking
        began, asking = self._asked
        await asyncio.wait({asking}, timeout=seconds)
        if self._client is not client:
            return None
        if asking.done():
            self._asked = None
        return self._now() - began

    def take(self, topic: str, sent: object, *, retained: bool) -> None:
        """Take one message."""
        text = bytes(sent) if isinstance(sent, bytes | bytearray) else b""
        for name, lane in self._config.items():
            # A retained heartbeat is a dead publisher's last word.
            if topic == lane.heartbeat_topic and not retained:
                self.lanes.heartbeats[name] = self._now()
                if lane.fps_path is not None:
                    self._rate(name, payload.number(text, lane.fps_path))
            if topic == lane.state_topic:
                self._state(name, lane, text, retained=retained)

    def _state(self, name: str, lane: Lane, text: bytes, *, retained: bool) -> None:
        before = self.lanes.states.pop(name, None)
        # An empty payload is how MQTT takes a retained state back.
        if text:
            self.lanes.states[name] = Said(_read(text, lane.state_path), self._now(), retained)
        # By what it says, not by what was sent: a time beside the state would wake the agent at each message.
        after = self.lanes.states.get(name)
        if _told(before) != _told(after):
            self._changed()

    def _count(self) -> None:
        now = self._now()
        if now >= self._second + 1:
            self._second, self._messages = now, 0
        self._messages += 1
        if self._messages > MOST_MESSAGES:
            self._messages = 0
            raise Flood(f"more than {MOST_MESSAGES} messages a second")


def _read(text: bytes, path: str | None) -> str | Unreadable:
    try:
        return payload.state(text, path)
    except Unreadable as no:
        return no.with_traceback(None)


def _told(said: Said | None) -> tuple[type, str, bool] | None:
    return None if said is None else (type(said.state), str(said.state), said.retained)


def _heard(asked: asyncio.Task[None]) -> None:
    if not asked.cancelled():
        asked.exception()  # the connection went meanwhile, and the lane guard knows
