"""The frame loop: its own thread at a fixed pace, which waits for nobody."""

import collections
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from . import overlay
from .detect import DetectorThread
from .lane import Facts, Mode, started_at
from .scene import Scene

_LOG = logging.getLogger("parking.camera")
FPS = 10.0
_JPEG_QUALITY = 80
_SEARCH_EVERY = 20
"""Frames from one search for plates to the next: a search costs five times what a picture does, and two labs share a
machine of two cores with the tests."""

_UNWATCHED = 10
"""While nobody takes the picture, each so many-th frame is drawn: a vision that draws all takes a seventh of a core."""

_REPORT_S = 60.0


@dataclass(frozen=True)
class Shot:
    """One frame as the rest of the program sees it; `jpeg` is empty when it was not drawn, or the camera is frozen."""

    number: int
    facts: Facts
    jpeg: bytes


class Camera:
    """Renders, encodes and hands over one frame after another, from `run` until `stop`."""

    def __init__(
        self,
        scene: Scene,
        detector: DetectorThread,
        deliver: Callable[[Shot], None],
        watched: Callable[[], bool],
    ) -> None:
        """`deliver` and `watched` are called in the camera's thread and must not block."""
        self._scene, self._detector, self._deliver, self._watched = scene, detector, deliver, watched
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._number, self._mode, self._since, self._frozen = 0, Mode.IDLE, 0, False
        self._times: collections.deque[float] = collections.deque(maxlen=round(5 * FPS))

    @property
    def number(self) -> int:
        """The frames so far, which is the number of the next one."""
        return self._number

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def frozen(self) -> bool:
        return self._frozen

    def fps(self) -> float:
        """Frames per second over the last five seconds."""
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def set_lane(self, mode: Mode) -> None:
        """Changes the mode from the next frame on; setting the mode that holds changes nothing."""
        with self._lock:
            if mode is not self._mode:
                _LOG.info("lane: mode %s -> %s", self._mode, mode)
                self._since = started_at(mode, self._scene.lane(self._number, self._mode, self._since), self._number)
                self._mode = mode

    def set_frozen(self, frozen: bool) -> None:
        """Stops or resumes the handing over of pictures; frames are counted on."""
        if frozen is not self._frozen:
            _LOG.info("camera: %s", "frozen" if frozen else "running")
            self._frozen = frozen

    def stop(self) -> None:
        """Ends `run` within a frame."""
        self._stop.set()

    def run(self) -> None:
        """The loop. A late frame is not caught up: the pace starts anew from it."""
        due, worst, report = time.monotonic(), 0.0, time.monotonic() + _REPORT_S
        facts: Facts | None = None
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            if self._times:
                worst = max(worst, now - self._times[-1])
            self._times.append(now)
            due = max(due + 1 / FPS, now)
            shot = self._take()
            if shot.facts != facts:
                facts = shot.facts
                _LOG.info(
                    "lane: state %s, presence %s, barrier %s", facts.state, str(facts.presence).lower(), facts.barrier
                )
            self._deliver(shot)
            if now >= report:
                _LOG.info(
                    "camera: %d frames, worst gap %.0f ms, %d plates", self._number, worst * 1e3, self._detector.total
                )
                worst, report = 0.0, now + _REPORT_S

    def _take(self) -> Shot:
        with self._lock:
            number, mode, since = self._number, self._mode, self._since
            self._number += 1
        return Shot(number, self._scene.facts(number, mode, since), self._drawn(number, mode, since))

    def _drawn(self, number: int, mode: Mode, since: int) -> bytes:
        if number % _UNWATCHED and not self._watched():
            return b""
        picture = self._scene.render(number, mode, since)
        overlay.draw_time(picture, time.time())
        if number % _SEARCH_EVERY == 0:
            self._detector.offer(picture)
        if self._frozen:
            return b""
        return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
