"""Plain pictures with one sentence, shown where there is no live picture to show."""

from __future__ import annotations

import cv2
import numpy as np

from sightglass.feed.job import State
from sightglass.feed.redact import Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def slate_text(state: State, camera: str) -> str:
    """The sentence of a slate; ValueError for `live`, which has a picture."""
    if state == "blank":
        return "picture suspended"
    if state == "stale":
        return f"no live picture from {camera}"
    if state == "connecting":
        return f"connecting to {camera}"
    raise ValueError("a live picture has no slate")


def slate(text: str, width: int, height: int) -> Image:
    """A dark picture (height, width, 3), uint8, with `text` in its middle."""
    picture = np.full((height, width, 3), 40, np.uint8)
    (drawn, tall), _ = cv2.getTextSize(text, _FONT, 1.0, 2)
    scale = min(0.9, (width - 40) / drawn)
    origin = (int((width - drawn * scale) / 2), int((height + tall * scale) / 2))
    cv2.putText(picture, text, origin, _FONT, scale, (230, 230, 230), 2, cv2.LINE_AA)
    return picture
