"""The lane as its publisher tells it over MQTT: the last state of each topic and the last heartbeat.

Only ever a listener: nothing is published, and no message is a command.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import aiomqtt

from sightglass.payload import MOST_BYTES

log = logging.getLogger(__name__)

_BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(slots=True)
class Lanes:
    """What the broker has told since it was last connected, as it was sent. A lost connection forgets everything.

    A state is a byte longer than any that can be read when it was longer still.
    """

    connected: bool = False
    states: dict[str, bytes] = field(default_factory=dict)
    heartbeats: dict[str, float] = field(default_factory=dict)

    def forget(self) -> None:
        """Nothing said over a lost connection holds any more."""
        self.connected = False
        self.states.clear()
        self.heartbeats.clear()


class LaneListener:
    """Keeps `lanes` up to date; `changed` is called after each change of a state and of the connection."""

    def __init__(
        self,
        host: str,
        port: int,
        state_topics: Iterable[str],
        heartbeat_topics: Iterable[str],
        now: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.lanes = Lanes()
        self._host, self._port = host, port
        self._states, self._heartbeats = frozenset(state_topics), frozenset(heartbeat_topics)
        self._now, self._changed = now, changed

    async def run(self) -> None:
        """Listen until cancelled; a lost broker is asked again with back-off and jitter."""
        failures = 0
        while True:
            try:
                async with aiomqtt.Client(self._host, self._port, timeout=5, keepalive=10) as client:
                    for topic in sorted(self._states | self._heartbeats):
                        await client.subscribe(topic, qos=0)
                    self.lanes.connected = True
                    log.info("lane: connected to the broker at %s:%d", self._host, self._port)
                    failures = 0
                    async for message in client.messages:
                        self._take(str(message.topic), message.payload, retained=bool(message.retain))
            except aiomqtt.MqttError as error:
                if failures == 0:
                    log.warning("lane: the broker at %s:%d is lost: %s", self._host, self._port, error)
            finally:
                self.lanes.forget()
                self._changed()
            pause = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]
            failures += 1
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))

    def _take(self, topic: str, payload: object, *, retained: bool) -> None:
        if topic in self._heartbeats and not retained:
            # A retained heartbeat is a dead publisher's last word.
            self.lanes.heartbeats[topic] = self._now()
        if topic not in self._states:
            return
        # An empty payload is how MQTT takes a retained state back.
        state = bytes(payload[: MOST_BYTES + 1]) if isinstance(payload, bytes | bytearray) and payload else None
        if self.lanes.states.get(topic) == state:
            return
        if state is None:
            self.lanes.states.pop(topic, None)
        else:
            self.lanes.states[topic] = state
        self._changed()
