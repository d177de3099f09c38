"""What one camera's next frame looks like: the redacted live picture or a slate, and the mark. No I/O."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sightglass.feed.capture import Frame
from sightglass.feed.job import Job, State
from sightglass.feed.mark import draw_mark, mark_text
from sightglass.feed.pace import state_of
from sightglass.feed.redact import Image, mosaic
from sightglass.feed.slate import slate, slate_text

cv2.setNumThreads(1)  # the vision pipeline owns the other cores


class Picture:
    """Draws the frames of one camera."""

    def __init__(self, job: Job, camera: str) -> None:
        self._job = job
        self._camera = camera
        self._reduce = True
        self._frame: Frame | None = None  # the source frame that _redacted was made from
        self._redacted: Image | None = None
        self._unreadable = 0

    def draw(self, show: bool, newest: Frame | None, now: float, number: int) -> tuple[State, NDArray[np.uint8]]:
        """State and I420 planes (height * 3 / 2, width) of published frame `number` at monotonic time `now`."""
        job = self._job
        if show:
            self._take(newest)
        frame = self._frame
        state = state_of(show, None if frame is None else now - frame.at)
        if state == "live" and frame is not None and self._redacted is not None:
            picture, captured = self._redacted.copy(), frame.captured
        else:
            picture, captured = slate(slate_text(state, self._camera), job.width, job.height), None
        draw_mark(picture, mark_text(self._camera, job.window, captured, number))
        return state, cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)

    def _take(self, newest: Frame | None) -> None:
        if newest is None or newest.number in (self._unreadable, self._frame.number if self._frame else 0):
            return
        decoded = self._decode(newest.jpeg)
        if decoded is None:
            # The picture before it stays, with its own time: it goes stale when no readable one comes.
            self._unreadable = newest.number
            return
        small = cv2.resize(decoded, (self._job.width, self._job.height), interpolation=cv2.INTER_AREA)
        self._redacted = mosaic(small.astype(np.uint8, copy=False), self._job.block)
        self._frame = newest

    def _decode(self, jpeg: bytes) -> Image | None:
        """(height, width, 3) uint8 BGR, or None when it cannot be decoded."""
        data = np.frombuffer(jpeg, np.uint8)
        # Decoding at half the size costs 3.1 instead of 7.4 ms for a noisy 720p picture, and is enough for a source
        # of twice our size. A smaller source turns it off for good.
        image = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2 if self._reduce else cv2.IMREAD_COLOR)
        if image is None:
            return None
        if self._reduce and (image.shape[0] < self._job.height or image.shape[1] < self._job.width):
            self._reduce = False
            return self._decode(jpeg)
        return image.astype(np.uint8, copy=False)
