"""The agent's side of the shutter: one connection, whose life is the window's life."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from sightglass.printable import plain
from sightglass.viewers import Address

ANSWER_S = 2.0
CLOSE_S = 0.5


class ShutterError(Exception):
    """The shutter refused, broke the connection or did not answer in time."""


class Shutter:
    """A connected shutter. Connecting starts it (socket activation); when it ends, `lost` is called once.

    `sent` are the bytes that each viewer was sent, as of its last answer.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: Callable[[], None]) -> None:
        self._reader, self._writer = reader, writer
        self._lost = lost
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(4)
        self._lock = asyncio.Lock()
        self._closing = False
        self.sent: dict[Address, int] = {}
        self.ended = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(), name="shutter")

    @classmethod
    async def connect(cls, path: str, lost: Callable[[], None]) -> Shutter:
        """Connect, which makes systemd start the shutter and with it the window's processes."""
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(path, limit=8192), ANSWER_S)
        except (OSError, TimeoutError) as error:
            raise ShutterError(f"{path}: {error}") from error
        return cls(reader, writer, lost)

    async def renew(self, own: Iterable[Address], viewers: Iterable[Address], seconds: int) -> None:
        """Lease exactly these viewers for `seconds` (1..15); those that are not named any more are cut."""
        request = {
            "verb": "renew",
            "own": [str(address) for address in own],
            "viewers": [str(address) for address in viewers],
            "seconds": seconds,
        }
        await self._ask(request, ANSWER_S)

    async def close(self) -> float | None:
        """Cut everything. Returns the shutter's own figure for the cut in ms, or None when it did not say."""
        self._closing = True
        cut: float | None = None
        with contextlib.suppress(ShutterError):
            answer = await self._ask({"verb": "close"}, CLOSE_S)
            cut = float(answer["cut_ms"]) if isinstance(answer.get("cut_ms"), int | float) else None
        self.drop()
        return cut

    def drop(self) -> None:
        """Hang up: the shutter ends closed when its peer is gone."""
        self._closing = True
        self._listener.cancel()
        self._writer.transport.abort()

    async def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        async with self._lock:
            try:
                async with asyncio.timeout(seconds):
                    self._writer.write(json.dumps(request).encode() + b"\n")
                    await self._writer.drain()
                    answer = await self._answers.get()
            except (OSError, TimeoutError) as error:
                raise ShutterError(f"no answer to {request['verb']}: {error!r}") from error
        if answer is None:
            raise ShutterError(f"ended at {request['verb']}")
        if answer.get("ok") is not True:
            # It goes into the log, where a shutter that is taken over must not write lines of its own.
            raise ShutterError(plain(str(answer.get("error", "refused"))[:300]))
        try:
            self.sent |= {ip_address(text): int(count) for text, count in answer.get("sent", {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ShutterError(f"an answer that is none: {error}") from error
        return answer

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                answer = json.loads(line)
                self._answers.put_nowait(answer if isinstance(answer, dict) else None)
        except (OSError, ValueError, asyncio.QueueFull):
            pass
        finally:
            self.ended.set()
            with contextlib.suppress(asyncio.QueueFull):
                self._answers.put_nowait(None)
            if not self._closing:
                self._closing = True
                self._lost()
