"""Whether a plate can be found in a picture, beside the same search in the scene as the camera sees it."""

from __future__ import annotations

from pathlib import Path

import cv2

from lab.parking.detect import PlateDetector
from lab.parking.scene import Scene


def plates_found(picture: Path) -> tuple[int, int]:
    """(plates found in unredacted scenes, the control; plates found in the picture). Both at 1280x720."""
    detector = PlateDetector()
    scene = Scene(1)
    control = sum(len(detector.find(scene.render(number, "idle"))) for number in range(0, 50, 10))
    shown = cv2.resize(cv2.imread(str(picture)), (1280, 720), interpolation=cv2.INTER_CUBIC)
    return control, len(detector.find(shown))
