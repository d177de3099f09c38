"""The redaction: a coarse mosaic in few colours, on a grid that is fixed to the frame.

Each output pixel belongs to one cell, and shows in which of eight steps the mean of that cell lies, colour by colour:
two pictures with equal means per cell give the same output. A mean is little, but not nothing. Whoever knows a plate's
font and size can mosaic every plate in the same way and compare: through cells of 16 pixels and exact means that reader
got a plate of 27 pixels whole, from one picture. Hence the size of the cells, which `job.too_fine` keeps, and the steps
(`tests/unit/test_feed_redact.py` holds that reader, and what it gets now).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

STEP = 32
"""Of 256 levels of a colour: 8 are left."""


def mosaic(picture: Image, block: int) -> Image:
    """`picture` (height, width, 3), uint8, as cells of `block` x `block` pixels; the same shape and type.

    Where `block` does not divide a side, the last cells of that side are as much smaller: 360 pixels in blocks of
    32 are 11 full rows and one of 8. ValueError for a block below 2, which would change nothing.
    """
    if block < 2:
        raise ValueError(f"block must be 2 or more, not {block}")
    height, width = picture.shape[:2]
    out = np.empty_like(picture)
    for top, bottom, cell_height in _spans(height, block):
        for left, right, cell_width in _spans(width, block):
            part = picture[top:bottom, left:right]
            cells = _steps(part, cell_height, cell_width)
            # NEAREST_EXACT, not NEAREST: that one rounds 49 x (1 / 49) down into the neighbouring cell.
            size = (right - left, bottom - top)
            out[top:bottom, left:right] = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return out


def _steps(part: Image, height: int, width: int) -> Image:
    """The middle of the step in which each cell's mean lies, in whole numbers: a mean of floating point numbers depends
    on their order, and one in some hundred thousand cells showed it in its last bit."""
    sums = cv2.integral(part)[::height, ::width]
    totals = sums[1:, 1:] - sums[:-1, 1:] - sums[1:, :-1] + sums[:-1, :-1]
    area = height * width
    return (totals // (area * STEP) * STEP + STEP // 2).astype(np.uint8)


def _spans(length: int, block: int) -> list[tuple[int, int, int]]:
    """(start, end, cell length) of the run of full cells and of the shorter last cell, without empty ones."""
    full = length - length % block
    spans = [(0, full, block), (full, length, length - full)]
    return [span for span in spans if span[1] > span[0]]
