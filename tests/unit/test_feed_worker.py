"""A worker whose server blocks: what it may claim then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.wait import until
from sightglass.feed import worker
from sightglass.feed.capture import Source
from sightglass.feed.job import Camera, Job, View


class Blocking:
    """A publisher as PyAV's is when the server's buffers are full: `gate` lets a frame through or holds it for ever."""

    gate = threading.Event()
    keys: list[bool]

    def __init__(self, *_: object) -> None:
        type(self).keys = []

    def write(self, _planes: NDArray[np.uint8], _milliseconds: int, key: bool) -> None:
        self.gate.wait()
        self.keys.append(key)

    def close(self) -> None:
        return


class Awake:
    """A probe whose server always answers."""

    def __init__(self, *_: object) -> None:
        return

    def answered(self, now: float) -> float:
        return now

    def close(self) -> None:
        return


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[worker.Worker]:
    monkeypatch.setattr(worker, "Publisher", Blocking)
    monkeypatch.setattr(worker, "Probe", Awake)
    Blocking.gate.set()
    camera = Camera("cam1", "http://127.0.0.1:9/", "rtsp://feed:pw@127.0.0.1:9/cam1")
    job = Job("w-1", 640, 360, 10, 16, (camera,))
    subject = worker.Worker(job, camera, Source("cam1", camera.source), View(True, 0), lambda: None)
    subject.start()
    yield subject
    Blocking.gate.set()
    subject.stop()
    subject.join(2)


@pytest.mark.requirement("F1")
@pytest.mark.requirement("F3")
def test_a_worker_in_a_blocked_write_neither_progresses_nor_confirms(blocked: worker.Worker) -> None:
    """While a frame hangs in the server, time since the last progress grows and show=false is not confirmed."""
    until(lambda: blocked.report()[0].published > 2, 3, "frames")
    assert blocked.progressed(time.monotonic()) < 0.5
    Blocking.gate.clear()
    blocked.show(View(False, 1))
    until(lambda: blocked.progressed(time.monotonic()) > 0.6, 3, "a worker that stands still")
    assert blocked.report()[1] == View(True, 0)
    Blocking.gate.set()
    until(lambda: blocked.report()[1] == View(False, 1), 1, "the confirmation")
    assert blocked.report()[0].state == "blank"


def test_an_ordered_key_frame_is_made_three_times(blocked: worker.Worker) -> None:
    """One order gives three key frames, in the next three frames."""
    until(lambda: blocked.report()[0].published > 1, 3, "frames")
    blocked.key_frame()
    until(lambda: sum(Blocking.keys) == 3, 2, "three key frames")
    first = Blocking.keys.index(True)
    until(lambda: len(Blocking.keys) > first + 5, 2, "later frames")
    assert Blocking.keys[first : first + 5] == [True, True, True, False, False]
