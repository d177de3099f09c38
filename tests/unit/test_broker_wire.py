"""What the agent's real MQTT connections put on the wire, and what they take from it: bytes, with no broker between."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from sightglass.adapters import broker, clock
from sightglass.adapters.announcer import Announcer
from sightglass.adapters.lanes import LaneListener
from sightglass.announcement import topics
from sightglass.config import Config, Mqtt
from tests.unit.test_config import GOOD

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x80
LANES = Config.model_validate(GOOD).lanes
STATE_TOPIC = LANES["lane1"].state_topic
Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Far:
    """The far end of one connection: acknowledges what is sent, keeps it, and may say something of its own."""

    def __init__(self, then: Serve | None = None) -> None:
        self.names: list[str] = []
        self.published: list[tuple[str, bytes]] = []
        self.lives = 0
        self.port = 0
        self._then = then
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Far:
        self._server = server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*(serving for serving in self._serving if serving), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lives += 1
        self._serving.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await packet(reader)
                if kind & 0xF0 == CONNECT:
                    at = 11 + body[10]
                    self.names.append(body[at + 2 : at + 2 + body[at + 1]].decode())
                    writer.write(b"\x20\x03\x00\x00\x00")
                elif kind & 0xF0 == PUBLISH:
                    size = int.from_bytes(body[:2], "big")
                    mid, payload = body[2 + size : 4 + size], body[5 + size :]
                    self.published.append((body[2 : 2 + size].decode(), payload))
                    writer.write(b"\x40\x02" + mid)
                elif kind & 0xF0 == SUBSCRIBE:
                    writer.write(b"\x90\x04" + body[:2] + b"\x00\x00")
                if self._then is not None and kind & 0xF0 in (CONNECT, SUBSCRIBE):
                    await self._then(writer)


async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One packet: its first byte, and what follows the length."""
    kind, length, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, await reader.readexactly(length)


class Gateway:
    """Both connections of an agent to one far end."""

    def __init__(self, port: int) -> None:
        self.things: dict[str, Any] = {"state": "closed"}
        mqtt = Mqtt(port=port, state_prefix="sightglass")
        where = topics("sightglass", "gw1", None)
        self.announcer = Announcer(
            mqtt, "sightglass-gw1-state", where, lambda: self.things, b"", clock.boottime, lambda: datetime.now(UTC)
        )
        self.listener = LaneListener(
            mqtt, "sightglass-gw1-lanes", LANES, clock.boottime, lambda: None, lambda _lane, _fps: None
        )


@contextlib.asynccontextmanager
async def at_work(part: Announcer | LaneListener) -> Any:
    """The part runs meanwhile."""
    running = asyncio.create_task(part.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(seen: Callable[[], bool], what: str) -> None:
    """Wait until it is seen."""
    for _ in range(400):
        if seen():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not seen: {what}")


def grown(names: list[str], before: int) -> bool:
    """Whether there are more of them than before."""
    return len(names) > before


@pytest.mark.requirement("U2")
def test_each_connection_has_a_name_of_its_own_that_stays() -> None:
    """By it a broker ends one whose line broke without a word, with its last will, before the next begins."""

    async def run() -> None:
        async with Far() as far:
            for _ in range(2):
                gateway = Gateway(far.port)
                for part in (gateway.announcer, gateway.listener):
                    async with at_work(part):
                        await until(partial(grown, far.names, len(far.names)), "a connection")
            assert far.names == ["sightglass-gw1-state", "sightglass-gw1-lanes"] * 2

    asyncio.run(run())


@pytest.mark.requirement("U2")
@pytest.mark.parametrize("site", ["gw1", "x" * 64])
def test_the_name_is_made_of_the_site(site: str) -> None:
    """The longest site name that the configuration takes leaves it short and plain."""
    Config.model_validate({**GOOD, "site": site})
    assert [broker.identifier(site, what) for what in ("lanes", "state")] == [
        f"sightglass-{site}-lanes",
        f"sightglass-{site}-state",
    ]
    assert len(broker.identifier(site, "state")) <= 81


@pytest.mark.requirement("U2")
def test_online_is_said_again_with_each_state() -> None:
    """A stray `offline` of somebody else's is repaired by the next change."""

    async def run() -> None:
        async with Far() as far:
            gateway = Gateway(far.port)
            async with at_work(gateway.announcer):
                await until(lambda: len(far.published) == 2, "the first state")
                gateway.things = {"state": "open"}
                gateway.announcer.look()
                await until(lambda: len(far.published) == 4, "the second")
            await until(lambda: len(far.published) == 6, "the farewell")
            there, state = "sightglass/gw1/availability", "sightglass/gw1/state"
            assert [topic for topic, _ in far.published] == [there, state, there, state, state, there]
            assert [text for topic, text in far.published if topic == there] == [b"online", b"online", b"offline"]
            states = [json.loads(text)["state"] for topic, text in far.published if topic == state]
            assert states == ["closed", "open", "open"]

    asyncio.run(run())
