"""The frame number can be read back from the camera's picture at each size and after the mosaic."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.parking import overlay
from lab.parking.sprites import Picture
from lab.strip import read_strip

_NUMBERS = st.one_of(st.integers(0, 65535), st.sampled_from([1 << bit for bit in range(16)]))


def _full(number: int) -> Picture:
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 256, (overlay.HEIGHT, overlay.WIDTH, 3), dtype=np.uint8)
    overlay.draw_number(picture, number)
    return picture


def _scaled(picture: Picture, width: int, method: int = cv2.INTER_AREA) -> Picture:
    return np.asarray(cv2.resize(picture, (width, width * 9 // 16), interpolation=method), np.uint8)


def _mosaic(picture: Picture, rows: int) -> Picture:
    small = cv2.resize(picture, (40, rows), interpolation=cv2.INTER_AREA)
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _coded(picture: Picture, quality: int, noise: float) -> Picture:
    rng = np.random.default_rng(1)
    rough = np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", rough, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), np.uint8)


@pytest.mark.requirement("F3")
@settings(max_examples=60, deadline=None)
@given(_NUMBERS)
def test_number_is_read_from_full_and_half_size(number: int) -> None:
    """Each 16-bit number comes back from 1280x720 and from 640x360."""
    picture = _full(number)
    assert read_strip(picture) == number
    assert read_strip(_scaled(picture, 640)) == number


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("rows", [22, 23], ids=["rows rounded down", "rows rounded up"])
@settings(max_examples=60, deadline=None)
@given(number=_NUMBERS)
def test_number_survives_mosaic_and_coding(number: int, rows: int) -> None:
    """Blocks of 16 at 640x360 (360 is no multiple of 16), noise and hard JPEG coding leave the number readable."""
    assert read_strip(_coded(_mosaic(_scaled(_full(number), 640), rows), 30, 12.0)) == number


@pytest.mark.requirement("F3")
@settings(max_examples=60, deadline=None)
@given(number=_NUMBERS)
def test_number_survives_a_mosaic_cut_off_below(number: int) -> None:
    """A grid of exact 16-pixel blocks whose last row is cut off leaves the number readable."""
    padded = cv2.copyMakeBorder(_scaled(_full(number), 640), 0, 8, 0, 0, cv2.BORDER_REPLICATE)
    assert read_strip(_mosaic(np.asarray(padded, np.uint8), 23)[:360]) == number


@pytest.mark.requirement("F3")
def test_numbers_wrap_at_sixteen_bits() -> None:
    """The strip carries the frame number mod 65536."""
    assert read_strip(_full(65536 + 4711)) == 4711


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("level", [0, 255, 128])
def test_picture_without_guards_is_refused(level: int) -> None:
    """A black, white or grey picture has no number."""
    with pytest.raises(ValueError, match="guard cells must be white"):
        read_strip(np.full((360, 640, 3), level, np.uint8))


@pytest.mark.requirement("F3")
def test_unclear_cell_is_refused() -> None:
    """A cell between black and white is named instead of guessed."""
    picture = _full(5)
    left = overlay.STRIP_LEFT + 4 * overlay.CELL_WIDTH
    picture[overlay.STRIP_TOP :, left : left + overlay.CELL_WIDTH] = 128
    with pytest.raises(ValueError, match="cell 3 must be black or white"):
        read_strip(picture)


@pytest.mark.requirement("F3")
def test_grey_picture_is_refused() -> None:
    """A picture without three channels is refused by its shape."""
    with pytest.raises(ValueError, match="rows x columns x 3"):
        read_strip(np.zeros((360, 640), np.uint8))
