"""Reads the frame number back from a picture of the parking's camera, also after scaling and a mosaic."""

import numpy as np
from numpy.typing import NDArray

from lab.parking import overlay


def read_strip(bgr: NDArray[np.uint8]) -> int:
    """The frame number mod 65536 of a whole picture, rows x columns x 3 (BGR), at any scale.

    ValueError when the strip cannot be told: wrong shape, guard cells not white and black, or a cell that is neither.
    """
    if bgr.ndim != 3 or bgr.shape[2] != 3:
        raise ValueError(f"picture must be rows x columns x 3, got {bgr.shape}")
    across, down = bgr.shape[1] / overlay.WIDTH, bgr.shape[0] / overlay.HEIGHT
    middle = overlay.STRIP_TOP + overlay.CELL_HEIGHT / 2
    rows = _around(middle * down, overlay.CELL_HEIGHT / 8 * down)
    levels = []
    for index in range(overlay.BITS + 2):
        centre = overlay.STRIP_LEFT + (index + 0.5) * overlay.CELL_WIDTH
        levels.append(float(bgr[rows, _around(centre * across, overlay.CELL_WIDTH / 8 * across)].mean()))
    white, black = levels[0], levels[-1]
    if white < 160 or black > 95:
        raise ValueError(
            f"guard cells must be white (160 or more) and black (95 or less), got {white:.0f} and {black:.0f}"
        )
    number = 0
    for index, level in enumerate(levels[1:-1]):
        share = (level - black) / (white - black)
        if 0.35 < share < 0.65:
            raise ValueError(f"cell {index} must be black or white like the guard cells, got {level:.0f}")
        number = number << 1 | (share >= 0.5)
    return number


def _around(centre: float, reach: float) -> slice:
    return slice(max(0, int(centre - reach)), int(centre + reach) + 1)
