"""The feed's own process between a real MJPEG server, a real MediaMTX and a real unix channel."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lab.wait import until
from tests.unit.feed_parts import SECRET, Agent, Camera, Hook, StreamServer, number_of

# What a player needs to show the first picture at once: by default FFmpeg studies the stream for 20 frames first.
QUICK = {"rtsp_transport": "tcp", "fflags": "nobuffer", "probesize": "32", "analyzeduration": "0", "fpsprobesize": "0"}


@pytest.fixture
def camera() -> Iterator[Camera]:
    with closing(Camera()) as camera:
        yield camera


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with closing(Hook()) as hook, closing(StreamServer(tmp_path, hook)) as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with closing(Agent(tmp_path)) as agent:
        yield agent


class Viewer:
    """Decodes the stream; `next` gives (source number or None for a slate, is a key frame)."""

    def __init__(self, server: StreamServer) -> None:
        self._container: Any = av.open(server.read, options=QUICK, timeout=5)
        self._frames = self._container.decode(video=0)

    def next(self) -> tuple[int | None, bool]:
        frame = next(self._frames)
        return number_of(frame.to_ndarray(format="bgr24").astype(np.uint8)), bool(frame.key_frame)

    def close(self) -> None:
        self._container.close()


def write_bytes(pid: int) -> int:
    """Bytes that the process has caused to be written to a disk, by the kernel's count."""
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(io["write_bytes"])


@pytest.mark.requirement("O3")
@pytest.mark.requirement("P1")
def test_a_viewer_decodes_pictures_that_advance(
    camera: Camera, server: StreamServer, agent: Agent, tmp_path: Path
) -> None:
    """From the job to decoded pictures whose numbers advance; READY and the watchdog are told; nothing is written."""
    agent.job(camera.url, server.publish)
    asked = time.monotonic()
    agent.camera("a published live frame", 10, lambda cam: cam["state"] == "live" and cam["published"] > 0)
    published = time.monotonic() - asked
    written = write_bytes(agent.process.pid)
    with closing(Viewer(server)) as viewer:
        agent.send({"keyframe": "cam1"})
        numbers = [viewer.next() for _ in range(15)]
        decoded = time.monotonic() - asked
        # Since the first picture: before it, a library that was just installed has its access time updated.
        written = write_bytes(agent.process.pid) - written
    # Generous bounds: this machine may be busy. The figures that count are the benchmark's.
    assert published < 4, f"first frame after {published:.2f} s"
    assert decoded < 8
    values = [number for number, _ in numbers if number is not None]
    assert len(values) == len(numbers), "a slate among the pictures"
    assert values == sorted(set(values)), f"the numbers do not advance: {values}"
    assert numbers[0][1], "the first decoded frame is a key frame"
    assert "READY=1" in agent.notified()
    until(lambda: "WATCHDOG=1" in agent.notified(), 2, "a fed watchdog")
    assert written == 0
    assert SECRET not in agent.log
    assert SECRET not in Path(f"/proc/{agent.process.pid}/cmdline").read_text()


@pytest.mark.requirement("O4")
def test_a_joining_viewer_gets_a_key_frame_within_the_next_slots(
    camera: Camera, server: StreamServer, agent: Agent
) -> None:
    """Without an order key frames come once a second; after one, the next frames are key frames."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["state"] == "live" and cam["published"] > 0)
    with closing(Viewer(server)) as viewer:
        while not viewer.next()[1]:
            pass
        plain = [viewer.next()[1] for _ in range(30)]
        assert 2 <= sum(plain) <= 5, f"key frames in 3 s: {plain}"
        agent.send({"keyframe": "cam1"})
        ordered = [viewer.next()[1] for _ in range(8)]
    assert any(ordered[at : at + 3] == [True] * 3 for at in range(6)), f"after the order: {ordered}"


@pytest.mark.requirement("F3")
def test_a_suspended_picture_is_blank_from_the_confirmed_report_on(
    camera: Camera, server: StreamServer, agent: Agent
) -> None:
    """show=false is confirmed with its number within 500 ms; later frames are slates until show=true."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["state"] == "live" and cam["published"] > 0)
    with closing(Viewer(server)) as viewer:
        until(lambda: viewer.next()[0], 5, "a live picture")
        agent.reports.clear()
        ordered = time.monotonic()
        agent.send({"show": False, "seq": 1})
        report = agent.report("the confirmation", 2, lambda report: report["seq"] == 1)
        assert time.monotonic() - ordered < 0.5
        assert report["show"] is False
        assert report["cameras"]["cam1"]["state"] == "blank"
        assert all(earlier["show"] for earlier in agent.reports[:-1])
        until(lambda: viewer.next()[0] is None, 2, "the slate")
        assert [viewer.next()[0] for _ in range(5)] == [None] * 5
        agent.send({"show": True, "seq": 2})
        agent.report("the second confirmation", 2, lambda report: report["seq"] == 2 and report["show"])
        until(lambda: viewer.next()[0], 2, "the picture again")


@pytest.mark.requirement("F3")
def test_a_camera_that_stands_still_is_not_shown_as_live(camera: Camera, server: StreamServer, agent: Agent) -> None:
    """Two seconds after the last new source frame viewers get the slate; the picture comes back with the camera."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["state"] == "live" and cam["published"] > 0)
    with closing(Viewer(server)) as viewer:
        camera.hold = True
        held = time.monotonic()
        agent.camera("stale", 4, lambda cam: cam["state"] == "stale")
        assert time.monotonic() - held > 1.5, "a short gap shows the last frame"
        until(lambda: viewer.next()[0] is None, 2, "the slate")
        camera.hold = False
        agent.camera("live again", 4, lambda cam: cam["state"] == "live")
        until(lambda: viewer.next()[0], 2, "the picture again")


@pytest.mark.requirement("U4")
def test_the_stream_server_may_come_up_after_the_feed(tmp_path: Path, camera: Camera) -> None:
    """A refused connection at the start is tried again within tens of milliseconds."""
    with (
        closing(Hook()) as hook,
        closing(StreamServer(tmp_path, hook, start=False)) as server,
        closing(Agent(tmp_path)) as agent,
    ):
        agent.job(camera.url, server.publish)
        until(lambda: camera.connections, 10, "the camera is read")
        agent.reports.clear()
        assert agent.camera("no server yet", 10, lambda cam: cam["state"] == "connecting")["published"] == 0
        server.start()
        agent.camera("a live frame", 3, lambda cam: cam["published"] > 0)
        assert "WATCHDOG=1" in agent.notified()


@pytest.mark.requirement("F1")
def test_a_stream_server_that_stays_away_ends_the_feed(camera: Camera, server: StreamServer, agent: Agent) -> None:
    """After the server is killed the feed tries for some seconds, then exits non-zero without naming the credential."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["published"] > 3)
    server.signal(signal.SIGKILL)
    agent.camera("connecting", 3, lambda cam: cam["state"] == "connecting")
    assert agent.process.wait(12) == 1
    assert "publish to rtsp://127.0.0.1:" in agent.log
    assert SECRET not in agent.log


@pytest.mark.requirement("F1")
def test_a_restarted_stream_server_gets_the_stream_again(camera: Camera, server: StreamServer, agent: Agent) -> None:
    """A short absence of the server is bridged."""
    agent.job(camera.url, server.publish)
    before = agent.camera("a live frame", 10, lambda cam: cam["published"] > 3)["published"]
    server.close()
    agent.camera("connecting", 3, lambda cam: cam["state"] == "connecting")
    server.start()
    agent.camera("more frames", 6, lambda cam: cam["published"] > before + 10)


@pytest.mark.requirement("F1")
def test_a_hung_stream_server_stops_the_watchdog(camera: Camera, server: StreamServer, agent: Agent) -> None:
    """Two seconds after SIGSTOP no WATCHDOG=1 comes any more, long before a full buffer blocks a frame."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["published"] > 3)
    until(lambda: "WATCHDOG=1" in agent.notified(), 2, "a fed watchdog")
    server.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    agent.report("reports go on", 10, lambda _: time.monotonic() - stopped > 4)
    assert agent.notified(since=stopped + 2.2) == []
    agent.sock.shutdown(socket.SHUT_RDWR)
    ended = time.monotonic()
    assert agent.process.wait(2) == 0
    assert time.monotonic() - ended < 1


@pytest.mark.requirement("O5")
def test_the_end_of_the_channel_ends_the_feed_at_once(camera: Camera, server: StreamServer, agent: Agent) -> None:
    """The agent hangs up: exit code 0 within half a second, and the path has no publisher any more."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["published"] > 0)
    agent.sock.close()
    ended = time.monotonic()
    assert agent.process.wait(3) == 0
    assert time.monotonic() - ended < 0.5
    until(lambda: "destroyed" in server.log, 2, "the publisher's goodbye")


def test_the_end_of_the_channel_before_the_job_ends_the_feed(agent: Agent) -> None:
    """No window: the agent drops the connection, the feed exits 0."""
    agent.sock.close()
    assert agent.process.wait(5) == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"job": 1}\n', "job must be an object, not int"),
        (b"x" * 5000 + b"\n", "a line from the agent must be shorter than 4096 bytes"),
    ],
)
def test_a_first_line_that_breaks_a_rule_ends_the_feed(agent: Agent, line: bytes, says: str) -> None:
    """A bad job gives one sentence in the log and exit code 1."""
    agent.sock.sendall(line)
    assert agent.process.wait(5) == 1
    assert says in agent.log


def test_a_bad_order_ends_the_feed(camera: Camera, server: StreamServer, agent: Agent) -> None:
    """A key frame of a camera that the job does not have is the agent's error: exit code 1 with the name."""
    agent.job(camera.url, server.publish)
    agent.camera("a live frame", 10, lambda cam: cam["published"] > 0)
    agent.sock.sendall(json.dumps({"keyframe": "cam9"}).encode() + b"\n")
    assert agent.process.wait(5) == 1
    assert "keyframe must name a camera of the job, not 'cam9'" in agent.log


@pytest.mark.requirement("P2")
def test_a_refused_publisher_never_publishes_and_logs_no_password(
    camera: Camera, server: StreamServer, agent: Agent
) -> None:
    """With a wrong password the hook refuses; the feed goes on trying for its ten seconds and shows no credential."""
    agent.job(camera.url, server.publish.replace(SECRET, "wrong-password"))
    assert agent.process.wait(25) == 1
    assert all(report["cameras"]["cam1"]["published"] == 0 for report in agent.reports)
    assert "publish to" in agent.log
    assert "wrong-password" not in agent.log
