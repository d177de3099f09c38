"""What a rude client does, bounded in rate and time; prints one JSON line with what became of it.

`flood.py KIND ADDRESS PORT [--rate N] [--seconds S] [--source ADDRESS]`. Kinds:

- `rtsp`, `http`, `syn`: N new connections a second, each asking something and leaving (`syn`: asking nothing). Prints
  `{"begun": n, "answered": n, "connected": n, "refused": n, "silent": n}`; silent is no handshake within a second. What
  fails on this side stands there by the error's name.
- `stun`: N datagrams a second, half of them real binding requests. Prints `{"begun": n, "answered": n}`.
- `pipe`: requests over one connection, as fast as it takes them. Prints `{"bytes": n, "answered": n}`, n in bytes;
  before that, a line when it is connected.
- `hold`: N connections that send half a request and wait. Prints `{"held": n, "refused": n, "dropped_s": […],
  "left": n}`: seconds until the server hung up on each, and how many it had not after S.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import socket
import struct
import sys
import time
from collections import Counter

PATIENCE_S = 1.0
_STUN = struct.pack("!HHI12s", 0x0001, 0, 0x2112A442, b"sightglass-1")


def requests(kind: str, address: str, port: int) -> list[bytes]:
    """What connections ask in turn."""
    url, host = f"rtsp://{address}:{port}/cam1", f"Host: {address}:{port}\r\n"
    if kind == "rtsp":
        return [
            f"OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode(),
            f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n".encode(),
            f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic eDp5\r\n\r\n".encode(),
        ]
    offer = "Content-Type: application/sdp\r\nX-Sightglass-Page: made-up\r\nContent-Length: 7\r\n\r\ngarbage"
    return [
        f"GET / HTTP/1.1\r\n{host}\r\n".encode(),
        f"GET /events HTTP/1.1\r\n{host}\r\n".encode(),
        f"POST /whep/cam1 HTTP/1.1\r\n{host}{offer}".encode(),
    ]


async def connection(address: str, port: int, ask: bytes, source: str = "") -> str:
    """What became of one connection."""
    writer = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            own = (source, 0) if source else None
            reader, writer = await asyncio.open_connection(address, port, local_addr=own)
    except TimeoutError:
        return "silent"
    except ConnectionError:
        return "refused"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "failed")
    try:
        async with asyncio.timeout(PATIENCE_S):
            if not ask:
                return "connected"
            writer.write(ask)
            return "answered" if await reader.read(1) else "connected"
    except (TimeoutError, OSError):
        return "connected"
    finally:
        writer.transport.abort()


async def connections(kind: str, address: str, port: int, rate: int, seconds: float, source: str) -> dict[str, object]:
    """Begin `rate` a second; what is still going on at the end is waited for."""
    own = source.split(",")
    asks = [b""] if kind == "syn" else requests(kind, address, port)
    outcomes: Counter[str] = Counter()
    running: set[asyncio.Task[str]] = set()

    def ended(task: asyncio.Task[str]) -> None:
        running.discard(task)
        outcomes[task.result()] += 1

    began, begun = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(int(passed * rate) - begun):
            task = asyncio.create_task(connection(address, port, asks[begun % len(asks)], own[begun % len(own)]))
            running.add(task)
            task.add_done_callback(ended)
            begun += 1
        await asyncio.sleep(0.01)
    while running:
        await asyncio.wait(running)
    return {"begun": begun, **dict.fromkeys(("answered", "connected", "refused", "silent"), 0), **outcomes}


async def stun(address: str, port: int, rate: int, seconds: float, source: str) -> dict[str, object]:
    """Datagrams."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        if source:
            out.bind((source, 0))
        out.connect((address, port))
        began, begun, answered = time.monotonic(), 0, 0
        while (passed := time.monotonic() - began) < seconds:
            for _ in range(int(passed * rate) - begun):
                with contextlib.suppress(OSError):
                    out.send(_STUN if begun % 2 else os.urandom(200))
                begun += 1
            with contextlib.suppress(OSError):
                while out.recv(1500):
                    answered += 1
            await asyncio.sleep(0.01)
    return {"begun": begun, "answered": answered}


async def pipe(address: str, port: int, seconds: float) -> dict[str, object]:
    """One connection that never stops asking."""
    reader, writer = await asyncio.open_connection(address, port)
    print("connected", flush=True)
    ask = requests("rtsp" if port == 8554 else "http", address, port)[0] * 100
    said, heard = 0, 0

    async def hear() -> None:
        nonlocal heard
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                heard += len(data)

    hearing = asyncio.create_task(hear())
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(seconds):
            while True:
                writer.write(ask)
                await writer.drain()
                said += len(ask)
    writer.transport.abort()
    await hearing
    return {"bytes": said, "answered": heard}


async def hold(address: str, port: int, count: int, seconds: float) -> dict[str, object]:
    """Half requests."""
    half = requests("rtsp" if port == 8554 else "http", address, port)[0][:-2]
    dropped: list[float] = []
    refused = left = 0

    async def one() -> None:
        nonlocal refused, left
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection(address, port)
        except (TimeoutError, OSError):
            refused += 1
            return
        began = time.monotonic()
        writer.write(half)
        try:
            async with asyncio.timeout(seconds):
                with contextlib.suppress(OSError):
                    while await reader.read(1024):
                        pass
                dropped.append(round(time.monotonic() - began, 1))
        except TimeoutError:
            left += 1
        finally:
            writer.transport.abort()

    # At the pace that an honest client may have, too: what is looked at here is who is let stay.
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
            await asyncio.sleep(0.25)
    return {"held": count - refused, "refused": refused, "dropped_s": sorted(dropped), "left": left}


def main() -> None:
    """Be rude."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["rtsp", "http", "syn", "stun", "pipe", "hold"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--source", default="", help="own address, or several in turn with commas, for the kinds with a rate"
    )
    given = parser.parse_args()
    target = (given.address, given.port)
    if given.kind == "stun":
        work = stun(*target, given.rate, given.seconds, given.source)
    elif given.kind == "pipe":
        work = pipe(*target, given.seconds)
    elif given.kind == "hold":
        work = hold(*target, given.rate, given.seconds)
    else:
        work = connections(given.kind, *target, given.rate, given.seconds, given.source)
    sys.stdout.write(json.dumps(asyncio.run(work)) + "\n")


if __name__ == "__main__":
    main()
