"""Real counterparts of the feed for its tests: a camera, an agent's channel, a stream server with its hook."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lab.paths import cache_root
from sightglass import mediamtx

SECRET = "s3cret-of-this-window"
STRIP = 40  # the test picture's number: 16 black or white cells of 40 x 40 pixels at the bottom of 640 x 360

Image = NDArray[np.uint8]


def numbered(number: int) -> Image:
    """A grey 1280 x 720 picture that carries `number` in its strip."""
    picture = np.full((720, 1280, 3), 90, np.uint8)
    picture[100:500, 300:900] = (30, 60, 160)
    for bit in range(16):
        value = 255 if number >> (15 - bit) & 1 else 0
        picture[-2 * STRIP :, bit * 2 * STRIP : (bit + 1) * 2 * STRIP] = value
    return picture


def number_of(picture: Image) -> int | None:
    """The number of a decoded 640 x 360 frame, or None where it shows no strip (a slate)."""
    if picture[200, 300, 2] < 130:
        return None
    cells = [picture[-STRIP // 2, bit * STRIP + STRIP // 2].mean() for bit in range(16)]
    return sum(int(cell > 127) << (15 - bit) for bit, cell in enumerate(cells))


class Camera:
    """An MJPEG server at loopback; `hold` repeats the last JPEG for ever, `silent` sends nothing more."""

    def __init__(self, fps: float = 20, length: bool = True) -> None:
        self.hold = self.silent = False
        self.connections = 0
        self.last = b""
        self._tick = 1 / fps
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                number = 0
                start = time.monotonic()
                while not camera.closed.wait(max(0.0, start + number * camera._tick - time.monotonic())):
                    number += 1
                    if camera.silent:
                        continue
                    if not camera.hold or not camera.last:
                        camera.last = cv2.imencode(".jpg", numbered(number))[1].tobytes()
                    jpeg = camera.last
                    head = f"Content-Length: {len(jpeg)}\r\n" if length else ""
                    part = f"--frame\r\nContent-Type: image/jpeg\r\n{head}\r\n".encode() + jpeg + b"\r\n"
                    try:
                        self.wfile.write(part)
                    except OSError:
                        return

            def log_message(self, *_: object) -> None:
                return

        self.closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/mjpeg/cam1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()


class Hook:
    """The permission hook of the stream server: publishing with SECRET, reading by anybody."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.asked.append(question)
                publisher = question["user"] == "feed" and question["password"] == SECRET
                self.send_response(200 if question["action"] == "read" or publisher else 401)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def mediamtx_binary() -> str:
    """The real stream server; the test is skipped where neither SIGHTGLASS_MEDIAMTX nor the lab's cache has it."""
    named = os.environ.get("SIGHTGLASS_MEDIAMTX")
    if named:
        return named
    found = sorted(cache_root().glob("bin-*/mediamtx"))
    if not found:
        pytest.skip("no MediaMTX: set SIGHTGLASS_MEDIAMTX, or let the lab build it (`lab up`)")
    return str(found[-1])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class StreamServer:
    """The real MediaMTX with the configuration that the agent renders."""

    def __init__(self, folder: Path, hook: Hook, *, start: bool = True) -> None:
        self.port = free_port()
        self.publish = f"rtsp://feed:{SECRET}@127.0.0.1:{self.port}/cam1"
        self.read = f"rtsp://127.0.0.1:{self.port}/cam1"
        self._binary = mediamtx_binary()
        self._config = folder / "mediamtx.yml"
        self.ports = mediamtx.ServerPorts(self.port, free_port(), free_port(), hook.port)
        self._config.write_text(mediamtx.render("127.0.0.1", self.ports, "/auth/x", ["cam1"]))
        self._log = folder / "mediamtx.log"
        self.process: subprocess.Popen[bytes] | None = None
        if start:
            self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([self._binary, str(self._config)], stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Agent:
    """The agent's end of a feed: the real unix channel and the real notification socket, and the feed's process."""

    def __init__(self, folder: Path) -> None:
        self.channel_path = str(folder / "feed.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.channel_path)
        self._listener.listen()
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(folder / "notify.sock"))
        self._told: list[tuple[float, str]] = []
        threading.Thread(target=self._listen, daemon=True).start()
        # In memory and without bytecode: whatever it writes to a disk is its own doing.
        self._stderr = os.memfd_create("feed-log")
        environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify.sock"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.started = time.monotonic()
        command = [sys.executable, "-m", "sightglass.feed.main", "--channel", self.channel_path]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=self._stderr)
        self._listener.settimeout(10)
        self.sock, _ = self._listener.accept()
        self._buffer = b""
        self.reports: list[dict[str, Any]] = []

    @property
    def log(self) -> str:
        return os.pread(self._stderr, 1 << 20, 0).decode()

    def job(self, source: str, publish: str, **changes: object) -> None:
        camera = {"name": "cam1", "source": source, "publish": publish}
        job = {"window": "w-test", "width": 640, "height": 360, "fps": 10, "block": 32, "cameras": [camera]}
        self.send({"job": job | changes})

    def send(self, message: object) -> None:
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def report(self, what: str, seconds: float, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next report that is as wanted; all that came go into `reports`."""
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\n", 1)
                report: dict[str, Any] = json.loads(line)
                self.reports.append(report)
                if wanted(report):
                    return report
            left = deadline - time.monotonic()
            assert left > 0, f"not within {seconds:g} s: {what}; last: {self.reports[-1:]}; log: {self.log}"
            if select.select([self.sock], [], [], left)[0]:
                data = self.sock.recv(65536)
                assert data, f"the feed ended before: {what}; log: {self.log}"
                self._buffer += data

    def camera(self, what: str, seconds: float, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The same for cam1's part of a report."""
        whole = self.report(what, seconds, lambda report: wanted(report["cameras"]["cam1"]))
        part: dict[str, Any] = whole["cameras"]["cam1"]
        return part

    def _listen(self) -> None:
        # systemd reads at once; a datagram socket holds ten unread messages and then blocks its sender.
        while message := self._notified.recv(256):
            self._told.append((time.monotonic(), message.decode()))

    def notified(self, since: float = 0.0) -> list[str]:
        """What systemd was told after monotonic time `since`."""
        return [message for at, message in self._told if at > since]

    def close(self) -> None:
        self.sock.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self._listener.close()
        os.close(self._stderr)
        self._notified.shutdown(socket.SHUT_RD)
        self._notified.close()
