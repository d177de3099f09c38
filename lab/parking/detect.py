"""Finding number plates: the parking's own computing load, on the newest picture only."""

import threading
from pathlib import Path

import cv2
from cv2.data import haarcascades

from .sprites import Picture

Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the searched picture."""

_END_S = 3.0
_WIDTH = 960
_PLATE_WIDTHS = (66, 210)
"""Smallest and largest plate searched for, in pixels of the reduced picture."""


class PlateDetector:
    """The plate cascade that OpenCV brings along, on a picture reduced to 960 pixels of width."""

    def __init__(self) -> None:
        """RuntimeError when this OpenCV has no such cascade."""
        path = Path(haarcascades) / "haarcascade_russian_plate_number.xml"
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise RuntimeError(f"no plate cascade at {path}")

    def find(self, picture: Picture) -> list[Box]:
        """The plates of a picture of any size, BGR."""
        factor = picture.shape[1] / _WIDTH
        top = round(picture.shape[0] * 0.4)
        road = cv2.cvtColor(picture[top : round(picture.shape[0] * 0.84)], cv2.COLOR_BGR2GRAY)
        small = cv2.resize(road, (_WIDTH, round(road.shape[0] / factor)), interpolation=cv2.INTER_AREA)
        least, most = ((width, width // 3) for width in _PLATE_WIDTHS)
        boxes = self._cascade.detectMultiScale(small, scaleFactor=1.1, minNeighbors=2, minSize=least, maxSize=most)
        return [
            (round(x * factor), round(y * factor) + top, round(w * factor), round(h * factor)) for x, y, w, h in boxes
        ]


class DetectorThread:
    """Searches in a thread of its own. A picture that comes while it searches replaces the one that waits."""

    def __init__(self, detector: PlateDetector) -> None:
        self.total = 0
        """Plates found since the start."""
        self._detector = detector
        self._waiting: Picture | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="detect", daemon=True)
        self._thread.start()

    def offer(self, picture: Picture) -> None:
        """Hands over a picture that nobody changes any more. Never blocks for longer than a swap."""
        with self._wake:
            self._waiting = picture
            self._wake.notify()

    def stop(self) -> None:
        """Ends the thread after the search at hand; one that is inside OpenCV while Python ends aborts the process."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout=_END_S)

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._waiting is None and not self._stopping:
                    self._wake.wait()
                if self._waiting is None or self._stopping:
                    return
                picture, self._waiting = self._waiting, None
            self.total += len(self._detector.find(picture))
