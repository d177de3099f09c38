"""The redaction: a mosaic on a grid that is fixed to the frame.

Each output pixel belongs to one cell and is the mean of the input pixels of that cell and of nothing else, so two
pictures with equal means per cell give the same output: what was inside a cell is gone, not hidden.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def mosaic(picture: Image, block: int) -> Image:
    """`picture` (height, width, 3), uint8, as cells of `block` x `block` pixels; the same shape and type.

    Where `block` does not divide a side, the last cells of that side are as much smaller: 360 pixels in blocks of
    16 are 22 full rows and one of 8. ValueError for a block below 2, which would change nothing.
    """
    if block < 2:
        raise ValueError(f"block must be 2 or more, not {block}")
    height, width = picture.shape[:2]
    out = np.empty_like(picture)
    for top, bottom, cell_height in _spans(height, block):
        for left, right, cell_width in _spans(width, block):
            part = picture[top:bottom, left:right]
            cells = _means(part, cell_height, cell_width)
            # NEAREST_EXACT, not NEAREST: that one rounds 49 x (1 / 49) down into the neighbouring cell.
            size = (right - left, bottom - top)
            out[top:bottom, left:right] = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return out


def _means(part: Image, height: int, width: int) -> Image:
    """The rounded mean of each cell, in whole numbers: a mean of floating point numbers depends on their order, and one
    in some hundred thousand cells showed it in its last bit."""
    sums = cv2.integral(part)[::height, ::width]
    totals = sums[1:, 1:] - sums[:-1, 1:] - sums[1:, :-1] + sums[:-1, :-1]
    area = height * width
    return ((totals + area // 2) // area).astype(np.uint8)


def _spans(length: int, block: int) -> list[tuple[int, int, int]]:
    """(start, end, cell length) of the run of full cells and of the shorter last cell, without empty ones."""
    full = length - length % block
    spans = [(0, full, block), (full, length, length - full)]
    return [span for span in spans if span[1] > span[0]]
