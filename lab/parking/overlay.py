"""What the camera burns into its picture: the frame number as text and as a strip of cells, and the time.

All sizes are pixels of the full 1280x720 picture. The strip survives a mosaic of 32-pixel blocks: a cell is two blocks
wide, begins on a block's edge and is taller than two blocks.
"""

from datetime import UTC, datetime

import cv2

from .sprites import Picture

WIDTH, HEIGHT = 1280, 720
BITS = 16
CELL_WIDTH, CELL_HEIGHT = 64, 80
STRIP_LEFT = 64
STRIP_TOP = HEIGHT - CELL_HEIGHT

_BAND_TOP = STRIP_TOP - 32
_INK = (235, 235, 235)


def strip_cells(number: int) -> list[bool]:
    """The 18 cells from left to right, true for white: white guard, 16 bits with the highest first, black guard."""
    value = number % (1 << BITS)
    return [True, *(bool(value >> bit & 1) for bit in reversed(range(BITS))), False]


def draw_number(picture: Picture, number: int) -> None:
    """Draws the band, the strip and the frame number, in place."""
    picture[_BAND_TOP:] = 24
    for index, white in enumerate(strip_cells(number)):
        left = STRIP_LEFT + index * CELL_WIDTH
        picture[STRIP_TOP:, left : left + CELL_WIDTH] = 255 if white else 0
    _text(picture, f"CAM1  FRAME {number:08d}", STRIP_LEFT)


def draw_time(picture: Picture, seconds: float) -> None:
    """Draws the wall time (seconds since 1970) as UTC text, in place."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
    _text(picture, moment, 800)


def _text(picture: Picture, text: str, left: int) -> None:
    cv2.putText(picture, text, (left, STRIP_TOP - 9), cv2.FONT_HERSHEY_DUPLEX, 0.7, _INK, 1, cv2.LINE_AA)
