"""One camera's worker: a frame a slot to the stream server, and what can be said about it meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing

from sightglass.feed.backoff import Backoff
from sightglass.feed.capture import Source
from sightglass.feed.encode import Publisher, PublishError
from sightglass.feed.job import Camera, CameraReport, Job, State, View
from sightglass.feed.pace import Pacer
from sightglass.feed.picture import Picture
from sightglass.feed.probe import Probe

log = logging.getLogger("sightglass.feed")

START_S = 10.0  # the stream server starts at the same moment as the feed
REOPEN_S = 5.0
_KEY_FRAMES = 3


class Worker(threading.Thread):
    """Publishes one camera until stopped; ends by itself, with `failure` set, when the server stays away."""

    def __init__(self, job: Job, camera: Camera, source: Source, view: View, changed: Callable[[], None]) -> None:
        super().__init__(name=f"worker-{camera.name}", daemon=True)
        self._job, self._camera, self._source, self._changed = job, camera, source, changed
        self._picture = Picture(job, camera.name)
        self._lock = threading.Condition()
        # Guarded by _lock:
        self._wanted = self._confirmed = view
        self._keys = 0
        self._stopped = False
        self._published = 0
        self._state: State = "connecting"
        self._progress = time.monotonic()
        self.failure: PublishError | None = None

    def show(self, view: View) -> None:
        """Order what frames carry from the next one on; that frame is made at once, not at the next slot."""
        with self._lock:
            self._wanted = view
            self._lock.notify()

    def key_frame(self) -> None:
        """Somebody joins: make key frames of the next few frames.

        Of several, because the server is asked for permission before it sends to the viewer: over a slow network the
        first one may be gone by then.
        """
        with self._lock:
            self._keys = _KEY_FRAMES

    def stop(self) -> None:
        """End after the frame in work."""
        with self._lock:
            self._stopped = True
            self._lock.notify()

    def report(self) -> tuple[CameraReport, View]:
        """The state, and the order that every frame written from now on carries."""
        with self._lock:
            return CameraReport(self._published, self._state), self._confirmed

    def progressed(self, now: float) -> float:
        """Seconds since the last sign of life: a frame written to a server that answers, or a finished attempt."""
        with self._lock:
            return now - self._progress

    def run(self) -> None:
        """Connect, publish, connect again; bounded by START_S at first and REOPEN_S later."""
        allowed = START_S
        try:
            while publisher := self._connect(allowed):
                log.info("%s: publishing", self._camera.name)
                try:
                    with closing(Probe(self._camera.publish, time.monotonic())) as probe:
                        self._publish(publisher, probe)
                except PublishError as error:
                    log.warning("%s: %s", self._camera.name, error)
                finally:
                    publisher.close()
                allowed = REOPEN_S
        except PublishError as error:
            self.failure = error
            self._changed()

    def _connect(self, seconds: float) -> Publisher | None:
        """A connection, or None when stopped; PublishError when none came about in `seconds`."""
        deadline = time.monotonic() + seconds
        backoff = Backoff(0.03, 0.05) if seconds == START_S else Backoff(0.05, 0.5)
        while not self._between_connections():
            try:
                return Publisher(self._camera.publish, self._job.width, self._job.height, self._job.fps)
            except PublishError:
                if time.monotonic() > deadline:
                    raise
            with self._lock:
                self._progress = time.monotonic()
                self._lock.wait_for(lambda: self._stopped or self._wanted != self._confirmed, backoff.next())
        return None

    def _between_connections(self) -> bool:
        """No frame is on its way: any order is in force at once. True when stopped."""
        with self._lock:
            self._confirmed = self._wanted
            self._state = "connecting"
            stopped = self._stopped
        self._changed()
        return stopped

    def _publish(self, publisher: Publisher, probe: Probe) -> None:
        start = time.monotonic()
        pacer = Pacer(self._job.fps, start)
        while True:
            with self._lock:
                self._lock.wait_for(
                    lambda: self._stopped or self._wanted != self._confirmed, pacer.wait(time.monotonic())
                )
                if self._stopped:
                    return
                view, key, number = self._wanted, self._keys > 0, self._published + 1
            now = time.monotonic()
            pacer.take(now)
            state, planes = self._picture.draw(view.show, self._source.latest, now, number)
            publisher.write(planes, round((now - start) * 1000), key)
            self._done(view, key, state, probe.answered(time.monotonic()))

    def _done(self, view: View, key: bool, state: State, alive: float) -> None:
        with self._lock:
            news = view != self._confirmed or state != self._state
            self._confirmed, self._state = view, state
            self._published += 1
            self._progress = alive
            if key:
                self._keys -= 1
        if news:
            log.info("%s: %s", self._camera.name, state)
            self._changed()
