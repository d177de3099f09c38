"""The source against a real HTTP server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from lab.wait import until
from sightglass.feed.capture import SILENCE_S, Source
from tests.unit.feed_parts import Camera, free_port


@pytest.fixture
def camera() -> Iterator[Camera]:
    with closing(Camera()) as camera:
        yield camera


@contextmanager
def started(url: str) -> Iterator[Source]:
    """A source that has ended before the next test begins: a late line of its log was taken for the next one's."""
    source = Source("cam1", url)
    source.start()
    try:
        yield source
    finally:
        source.stop()
        source.join(SILENCE_S + 1)


@pytest.mark.parametrize("length", [True, False])
def test_the_newest_frame_is_there_soon_and_goes_on(length: bool) -> None:
    """Frames arrive from servers with and without Content-Length, and their number advances."""
    with closing(Camera(length=length)) as camera, started(camera.url) as source:
        first = until(lambda: source.latest, 2, "a first frame")
        assert first is not None
        assert first.jpeg.startswith(b"\xff\xd8")
        assert first.jpeg.endswith(b"\xff\xd9")
        until(lambda: source.latest is not None and source.latest.number >= first.number + 5, 2, "five more")


@pytest.mark.requirement("F3")
def test_a_camera_that_repeats_its_last_picture_is_not_live(camera: Camera) -> None:
    """A hung server that sends the same JPEG again gives no new frame, so its picture ages."""
    with started(camera.url) as source:
        until(lambda: source.latest, 2, "a first frame")
        camera.hold = True
        until(lambda: source.latest is not None and time.monotonic() - source.latest.at > 0.5, 2, "an ageing frame")


@pytest.mark.requirement("F2")
def test_a_silent_camera_is_connected_again(camera: Camera) -> None:
    """A connection without new frames for two seconds is given up, and frames go on when the camera does."""
    with started(camera.url) as source:
        until(lambda: source.latest, 2, "a first frame")
        camera.silent = True
        until(lambda: camera.connections >= 2, 4, "a second connection")
        last = source.latest
        camera.silent = False
        until(lambda: source.latest is not last, 3, "a new frame")


@pytest.mark.requirement("F2")
def test_a_camera_that_is_not_there_is_tried_with_growing_waits(caplog: pytest.LogCaptureFixture) -> None:
    """An absent source is named once in the log, not at each attempt."""
    with started(f"http://127.0.0.1:{free_port()}/x") as source:
        until(lambda: caplog.records, 2, "a line in the log")
        source.join(0.5)
        assert source.is_alive()
        assert len(caplog.records) == 1
        assert "cam1: source:" in caplog.text
