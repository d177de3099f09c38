"""The parking's servers: no client of the picture holds up another, and the control socket answers each line."""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lab.parking.control import Control
from lab.parking.lane import Mode
from lab.parking.mjpeg import PATH, MjpegServer

_REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(bounded())


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    body = await reader.readexactly(int(length.split()[1]))
    assert await reader.readexactly(2) == b"\r\n"
    return body


async def _connect(server: MjpegServer, listener: asyncio.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(_REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"multipart/x-mixed-replace; boundary=" in head
    return reader, writer


@pytest.mark.requirement("F3")
def test_client_that_takes_nothing_holds_up_nobody() -> None:
    """Beside a client that never reads, 100 large frames are shown at once and another client gets the last one."""

    async def work() -> None:
        server = MjpegServer()
        listener = await server.serve("127.0.0.1", 0)
        async with listener:
            stuck = socket.create_connection(listener.sockets[0].getsockname())
            stuck.sendall(_REQUEST)
            reader, writer = await _connect(server, listener)
            loop = asyncio.get_running_loop()
            start = loop.time()
            for number in range(100):
                await server.show(bytes([number]) * 400_000)
            assert loop.time() - start < 1.0
            while (await _frame(reader))[0] != 99:
                pass
            writer.close()
            stuck.close()

    _run(work)


@pytest.mark.requirement("F3")
def test_silent_camera_keeps_the_connection() -> None:
    """A client that connects to a frozen camera gets no old frame, and the first new one."""

    async def work() -> None:
        server = MjpegServer()
        await server.show(b"old")
        listener = await server.serve("127.0.0.1", 0)
        async with listener:
            reader, writer = await _connect(server, listener)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await reader.read(1)
            await server.show(b"new")
            assert await _frame(reader) == b"new"
            writer.close()

    _run(work)


@pytest.mark.requirement("F3")
def test_other_paths_are_not_found() -> None:
    """Only the camera's path is served."""

    async def work() -> None:
        listener = await MjpegServer().serve("127.0.0.1", 0)
        async with listener:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.0 404 ")
            writer.close()

    _run(work)


def _control(done: list[object]) -> Control:
    return Control(done.append, done.append, lambda: {"frame": 3, "lane": "idle", "fps": 10.0})


@pytest.mark.requirement("F3")
def test_control_does_what_a_line_asks(tmp_path: Path) -> None:
    """Lane, camera and status work over the socket, which only its owner may open."""
    done: list[object] = []

    async def work() -> None:
        path = tmp_path / "control"
        listener = await _control(done).serve(path)
        async with listener:
            assert path.stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(path)
            answers = []
            for request in ({"lane": "moving"}, {"camera": "freeze"}, {"camera": "run"}, {"status": True}):
                writer.write(json.dumps(request).encode() + b"\n")
                answers.append(json.loads(await reader.readline()))
            writer.close()
            assert answers == [{"ok": True}] * 3 + [{"frame": 3, "lane": "idle", "fps": 10.0}]

    _run(work)
    assert done == [Mode.MOVING, True, False]


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"lane moving", "one JSON object"),
        (b"[]", "an object with one of the keys"),
        (b'{"lane":"idle","camera":"run"}', "an object with one of the keys"),
        (b'{"lane":"open"}', "lane must be one of idle, occupied, moving, auto, got 'open'"),
        (b'{"lane":["idle"]}', "lane must be one of"),
        (b'{"camera":true}', "camera must be freeze or run, got True"),
        (b'{"seed":1}', "the key must be lane, camera or status, got 'seed'"),
    ],
)
def test_control_refuses_bad_lines(line: bytes, reason: str) -> None:
    """A bad line changes nothing and is answered by the rule it breaks."""
    done: list[object] = []
    answer = _control(done).answer(line)
    assert answer["ok"] is False
    assert reason in answer["error"]
    assert done == []
