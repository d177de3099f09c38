"""The parking's states on MQTT: retained and on change only, with a heartbeat that is not retained."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import aiomqtt

from .lane import Facts

_LOG = logging.getLogger("parking.mqtt")
_HEARTBEAT_S = 1.0
_ANSWER_S = 5.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.25, 5.0


@dataclass(frozen=True)
class Message:
    """One message as it goes out."""

    topic: str
    payload: str
    retain: bool


def changes(before: Facts | None, now: Facts) -> list[Message]:
    """The messages that tell a broker which knows `before` (None: nothing) how it is now."""
    old, new = _payloads(before), _payloads(now)
    return [Message(f"parking/lane1/{name}", value, True) for name, value in new.items() if old.get(name) != value]


def heartbeat(frames: int, fps: float, detections: int) -> Message:
    """The sign of life: frames and plates found since the start, frames per second."""
    return Message(
        "parking/heartbeat", json.dumps({"frames": frames, "fps": round(fps, 1), "detections": detections}), False
    )


def _payloads(facts: Facts | None) -> dict[str, str]:
    if facts is None:
        return {}
    return {"presence": json.dumps(facts.presence), "barrier": facts.barrier, "state": facts.state}


class Publisher:
    """Keeps a broker told, across its restarts. Only the newest facts count: nothing queues up while it is away."""

    def __init__(self, host: str, port: int, beat: Callable[[], Message]) -> None:
        self._host, self._port, self._beat = host, port, beat
        self._facts: Facts | None = None
        self._changed = asyncio.Event()

    def update(self, facts: Facts) -> None:
        """Takes the newest facts, in the event loop's thread."""
        self._facts = facts
        self._changed.set()

    async def run(self) -> None:
        """Runs for ever."""
        retry, said = _FIRST_RETRY_S, ""
        while True:
            try:
                async with aiomqtt.Client(self._host, self._port, identifier="parking", timeout=_ANSWER_S) as client:
                    _LOG.info("mqtt: connected")
                    retry, said = _FIRST_RETRY_S, ""
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError) as error:
                if said != str(error):
                    _LOG.warning("mqtt: no broker: %s", error)
                    said = str(error)
            await asyncio.sleep(retry * random.uniform(0.5, 1.0))
            retry = min(retry * 2, _LAST_RETRY_S)

    async def _serve(self, client: aiomqtt.Client) -> None:
        told: Facts | None = None
        due = asyncio.get_running_loop().time()
        while True:
            self._changed.clear()
            if self._facts is not None and self._facts != told:
                now = self._facts
                for message in changes(told, now):
                    await client.publish(message.topic, message.payload, qos=1, retain=message.retain)
                told = now
            clock = asyncio.get_running_loop().time()
            if clock >= due:
                beat = self._beat()
                await client.publish(beat.topic, beat.payload)
                due = max(due + _HEARTBEAT_S, clock)
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                pass
