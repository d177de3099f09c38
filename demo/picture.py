"""Whether a decoded picture holds any detail finer than the mosaic, beside the same measure of the scene itself.

A plate of the scene is at most 27 pixels high at 640x360, less than a block. What a reader gets of such a plate who
knows font, size, place and mosaic, `tests/unit/test_feed_redact.py` measures. So what is to be shown of a decoded
picture is that the mosaic is there: inside a block there is nothing but the codec's noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lab.parking.scene import Scene

BLOCK = 32
_TOP, _BOTTOM = 32, 288
"""Rows of the scene alone: the mark stands above, the burnt-in strip below."""
NOISE = 6.0
"""Grey levels within a block that the codec may add (0.7 was seen)."""


def detail(picture: NDArray[Any]) -> float:
    """95 % of the blocks vary by at most this many grey levels (standard deviation) inside."""
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[_TOP:_BOTTOM].astype(np.float32)
    cells = gray.reshape(gray.shape[0] // BLOCK, BLOCK, gray.shape[1] // BLOCK, BLOCK)
    return float(np.percentile(cells.std(axis=(1, 3)), 95))


def shown_and_scene(picture: Path) -> tuple[float, float]:
    """The detail of a decoded picture, and of the scene at the same size without a mosaic (the control)."""
    shown = cv2.imread(str(picture))
    if shown is None or shown.shape != (360, 640, 3):
        raise ValueError(f"{picture}: must be a picture of 640x360")
    scene = cv2.resize(Scene(1).render(100, "idle"), (640, 360), interpolation=cv2.INTER_AREA)
    return detail(shown), detail(scene)
