"""What the agent's real MQTT connections put on the wire, and what they take from it: bytes, with no broker between."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from sightglass.adapters import broker, clock
from sightglass.adapters.announcer import FAREWELL_S, Announcer
from sightglass.adapters.lanes import LaneListener
from sightglass.announcement import topics
from sightglass.config import Config, Mqtt
from tests.unit.test_config import GOOD

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x80
LANES = Config.model_validate(GOOD).lanes
STATE_TOPIC = LANES["lane1"].state_topic
Serve = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Far:
    """The far end of one connection: acknowledges what is sent, keeps it, and may say something of its own."""

    def __init__(self, then: Serve | None = None) -> None:
        self.names: list[str] = []
        self.published: list[tuple[str, bytes]] = []
        self.lives = 0
        self.port = 0
        self._then = then
        self._server: asyncio.Server | None = None
        self._serving: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Far:
        self._server = server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lives += 1
        if (task := asyncio.current_task()) is not None:
            self._serving.append(task)
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
                    self._serving.append(asyncio.create_task(self._then(writer)))


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
        self.listener = LaneListener(mqtt, LANES, clock.boottime, lambda: None, lambda _lane, _fps: None)


@contextlib.asynccontextmanager
async def at_work(part: Announcer | LaneListener) -> Any:
    """The part runs meanwhile."""
    running = asyncio.create_task(part.run())
    try:
        yield
    finally:
        while not running.done():
            # Python 3.11's wait_for, with which the library waits, loses a cancellation that comes with the answer.
            running.cancel()
            await asyncio.wait({running}, timeout=2 * FAREWELL_S)


async def until(seen: Callable[[], bool], what: str) -> None:
    """Wait until it is seen."""
    for _ in range(1000):
        if seen():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not seen: {what}")


def grown(names: list[str], before: int) -> bool:
    """Whether there are more of them than before."""
    return len(names) > before


@pytest.mark.requirement("U2")
def test_who_speaks_for_the_site_has_a_name_that_stays() -> None:
    """By it a broker ends one whose line broke without a word, with its last will, before the next begins. Who only
    listens has none, so that nobody throws it out."""

    async def run() -> None:
        async with Far() as far:
            for _ in range(2):
                gateway = Gateway(far.port)
                for part in (gateway.announcer, gateway.listener):
                    async with at_work(part):
                        await until(partial(grown, far.names, len(far.names)), "a connection")
            assert far.names == ["sightglass-gw1-state", ""] * 2

    asyncio.run(run())


@pytest.mark.requirement("U2")
@pytest.mark.parametrize("site", ["gw1", "x" * 64])
def test_the_name_is_made_of_the_site(site: str) -> None:
    """The longest site name that the configuration takes leaves it short and plain."""
    Config.model_validate({**GOOD, "site": site})
    assert broker.identifier(site) == f"sightglass-{site}-state"
    assert len(broker.identifier(site)) <= 81


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


def message(kind: int, size: int, *, mid: bytes = b"") -> bytes:
    """A message on the lane's topic, so many bytes after the packet's length."""
    topic = STATE_TOPIC.encode()
    head = len(topic).to_bytes(2, "big") + topic + mid + b"\x00"
    length = bytearray()
    left = size
    while True:
        left, low = divmod(left, 128)
        length.append(low | (128 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + head + b"i" * (min(size, 2 * broker.MOST_PACKET) - len(head))


HOSTILE = {
    "256 MB": message(0x30, 268_435_455),
    "messages to be kept until they are released": message(0x34, 60, mid=b"\x00\x01"),
    "messages to be acknowledged": message(0x32, 60, mid=b"\x00\x01"),
    "a question that is for clients to ask": b"\xc0\x00",
}


class Hostile:
    """A broker that says one thing as often as it is taken, up to 32 MB."""

    def __init__(self, said: bytes) -> None:
        self.said, self.taken = said * (1 + broker.MOST_PACKET // len(said)), 0

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        """Say it until nobody listens any more."""
        await asyncio.sleep(0.05)
        while self.taken < 32 << 20 and not writer.is_closing():
            writer.write(self.said)
            await writer.drain()
            self.taken += len(self.said)


@pytest.mark.requirement("N2")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_broker_that_means_harm_fills_no_memory(what: str) -> None:
    """Neither connection reads on; each begins anew, at the pace of the back-off."""

    async def run(announces: bool) -> None:
        async with Far(hostile := Hostile(HOSTILE[what])) as far:
            gateway = Gateway(far.port)
            part = gateway.announcer if announces else gateway.listener
            async with at_work(part):
                await until(lambda: far.lives > 1, "another connection")
            assert hostile.taken < 32 << 20

    for announces in (True, False):
        asyncio.run(run(announces))


@pytest.mark.requirement("N2")
@pytest.mark.parametrize(
    ("size", "announces", "lives", "states"),
    [
        (broker.MOST_PACKET, False, 1, 1),
        (broker.MOST_PACKET + 1, False, 2, 0),
        (broker.MOST_PACKET, True, 2, 0),
    ],
)
def test_a_message_of_the_most_bytes_is_taken_where_one_listens(
    size: int, announces: bool, lives: int, states: int
) -> None:
    """The control: the lanes' connection lives on, without a byte more; the announcer's wants no message at all."""

    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(message(0x31, size))

    async def run() -> tuple[int, int]:
        async with Far(once) as far:
            gateway = Gateway(far.port)
            part = gateway.announcer if announces else gateway.listener
            async with at_work(part):
                for _ in range(100):
                    await asyncio.sleep(0.01)
                    if far.lives > 1:
                        break
                return far.lives, len(gateway.listener.lanes.states)

    assert asyncio.run(run()) == (lives, states)


@pytest.mark.requirement("N2")
def test_a_library_that_cannot_be_bounded_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, rather than one without a bound."""
    monkeypatch.delattr("paho.mqtt.client.Client._sock_recv")

    async def run() -> None:
        broker.client(Mqtt(), listens=True)

    with pytest.raises(broker.Unfit, match="cannot be bounded"):
        asyncio.run(run())
