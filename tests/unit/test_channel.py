"""The agent's side of a process's channel, over a real unix socket: what a process that was taken over can do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path

import pytest

from sightglass.adapters.channel import LINES_A_SECOND
from sightglass.adapters.console import ConsoleChannel, News


async def connected(tmp_path: Path, channel: ConsoleChannel) -> tuple[socket.socket, asyncio.Task[None], asyncio.Event]:
    """A process's end of the channel, which has its job."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "channel"))
    stop = asyncio.Event()
    serving = asyncio.create_task(channel.serve(listener.detach(), stop))
    channel.offer({})
    process = socket.socket(socket.AF_UNIX)
    process.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while True:
            try:
                await loop.sock_connect(process, str(tmp_path / "channel"))
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        assert await loop.sock_recv(process, 100) == b'{"job": {}}\n'
    return process, serving, stop


@pytest.mark.requirement("F2")
def test_a_flood_of_lines_does_not_hold_the_agents_loop(tmp_path: Path) -> None:
    """It is held back in the process's own socket; the loop's turns come as before."""

    async def flood() -> tuple[int, float]:
        heard = 0

        def changed() -> None:
            nonlocal heard
            heard += 1

        channel = ConsoleChannel(os.getuid(), changed)
        process, serving, stop = await connected(tmp_path, channel)
        loop, worst = asyncio.get_running_loop(), 0.0
        line = json.dumps({"watching": []}).encode() + b"\n"
        pouring = asyncio.create_task(loop.sock_sendall(process, line * 200_000))
        end = time.monotonic() + 1.5
        while (began := time.monotonic()) < end:
            await asyncio.sleep(0)
            worst = max(worst, time.monotonic() - began)
        pouring.cancel()
        process.close()
        stop.set()
        await asyncio.wait_for(serving, 5)
        return heard, worst

    heard, worst = asyncio.run(flood())
    assert LINES_A_SECOND <= heard <= 3 * LINES_A_SECOND + 1, "heard, at its pace"
    assert worst < 0.5


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 4000,
        b'{"watching": ["x"]}',
        b"{}",
        b'{"told": 1e999}',
        b"nonsense",
        b'{"watching": 1}',
        b"\xff",
        b"x" * 9000,
    ],
    ids=lambda line: repr(line[:30]),
)
def test_what_is_not_in_the_contract_breaks_the_channel(tmp_path: Path, line: bytes) -> None:
    """The process is lost then, and the window ends; the control is a line of the contract before it."""

    async def talk() -> tuple[bool, bool]:
        woken = asyncio.Event()
        channel = ConsoleChannel(os.getuid(), woken.set)
        process, serving, stop = await connected(tmp_path, channel)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            await loop.sock_sendall(process, b'{"watching": ["100.64.0.2"]}\n')
            await woken.wait()
            before = channel.lost or channel.watching is None
            woken.clear()
            await loop.sock_sendall(process, line + b"\n")
            await woken.wait()
        lost = channel.lost
        stop.set()
        process.close()
        await asyncio.wait_for(serving, 5)
        return before, lost

    assert asyncio.run(talk()) == (False, True)


@pytest.mark.requirement("O5")
def test_a_cut_waits_no_longer_than_it_may_for_a_process_that_hangs(tmp_path: Path) -> None:
    """A console that never confirms costs the farewell's bound."""

    async def tell() -> float:
        channel = ConsoleChannel(os.getuid(), lambda: None)
        process, serving, stop = await connected(tmp_path, channel)
        began = time.monotonic()
        await channel.tell(News("ended", "closed", None, frozenset()), 0.0, 0.025)
        took = time.monotonic() - began
        stop.set()
        process.close()
        await asyncio.wait_for(serving, 5)
        return took

    assert 0.02 < asyncio.run(tell()) < 0.5
