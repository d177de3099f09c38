"""The mosaic: what was inside a cell is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightglass.feed.redact import mosaic

Image = NDArray[np.uint8]
Redaction = Callable[[Image, int], Image]

# The sizes of the product, with 22.5 blocks in its height, and blocks at which rounding once went wrong (49).
SHAPES = st.tuples(st.integers(2, 130), st.integers(2, 130), st.integers(2, 60)) | st.sampled_from(
    [(360, 640, 16), (360, 640, 10), (120, 160, 49)]
)


def cells(height: int, width: int, block: int) -> list[tuple[slice, slice]]:
    return [
        (slice(top, min(top + block, height)), slice(left, min(left + block, width)))
        for top in range(0, height, block)
        for left in range(0, width, block)
    ]


def noise(seed: int, height: int, width: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def check_flat(redact: Redaction, seed: int, shape: tuple[int, int, int]) -> None:
    height, width, block = shape
    out = redact(noise(seed, height, width), block)
    for cell in cells(height, width, block):
        assert (out[cell] == out[cell][0, 0]).all(), f"cell {cell} is not of one colour"


def check_own_mean(redact: Redaction, seed: int, shape: tuple[int, int, int]) -> None:
    height, width, block = shape
    picture = noise(seed, height, width)
    out = redact(picture, block)
    for cell in cells(height, width, block):
        mean = picture[cell].reshape(-1, 3).mean(axis=0)
        assert (np.abs(out[cell][0, 0] - mean) <= 0.51).all(), f"cell {cell} is not the mean of itself"


def check_no_order_within(redact: Redaction, seed: int, shape: tuple[int, int, int]) -> None:
    height, width, block = shape
    picture = noise(seed, height, width)
    shuffled = picture.copy()
    random = np.random.default_rng(seed + 1)
    for cell in cells(height, width, block):
        pixels = picture[cell].reshape(-1, 3)
        shuffled[cell] = random.permutation(pixels).reshape(picture[cell].shape)
    assert (redact(picture, block) == redact(shuffled, block)).all(), "the order of pixels within a cell shows"


def check_fixed_grid(redact: Redaction, seed: int, shape: tuple[int, int, int]) -> None:
    height, width, block = shape
    picture = noise(seed, height, width)
    changed = picture.copy()
    cell = cells(height, width, block)[seed % len(cells(height, width, block))]
    changed[cell] = 255 - changed[cell]
    differs = (redact(picture, block) != redact(changed, block)).any(axis=2)
    differs[cell] = False
    assert not differs.any(), "a cell shows something of its neighbour"


CHECKS = [check_flat, check_own_mean, check_no_order_within, check_fixed_grid]


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("check", CHECKS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), shape=SHAPES)
def test_mosaic_keeps_only_the_mean_of_each_cell(
    check: Callable[..., None], seed: int, shape: tuple[int, int, int]
) -> None:
    """Whatever the picture and the block: cells are flat, hold their own mean, and nothing of order or neighbours."""
    check(mosaic, seed, shape)


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("check", [check_flat, check_own_mean, check_no_order_within])
def test_the_checks_see_a_picture_that_is_not_redacted(check: Callable[..., None]) -> None:
    """The same checks turn red for a mosaic that changes nothing."""
    with pytest.raises(AssertionError):
        check(lambda picture, _: picture.copy(), 1, (360, 640, 16))


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("check", [check_own_mean, check_no_order_within, check_fixed_grid])
def test_the_checks_see_a_mosaic_that_ignores_the_edge(check: Callable[..., None]) -> None:
    """Resizing 640 x 360 to 40 x 23 cells at once makes cells of 15.65 rows that mix neighbours: the checks see it."""

    def careless(picture: Image, block: int) -> Image:
        height, width = picture.shape[:2]
        small = cv2.resize(picture, (-(-width // block), -(-height // block)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)

    with pytest.raises(AssertionError):
        check(careless, 1, (360, 640, 16))


@pytest.mark.requirement("P4")
def test_equal_cells_give_equal_output() -> None:
    """Two pictures of different plates with equal means per cell come out as the same bytes."""
    text = np.zeros((64, 64, 3), np.uint8)
    text[::2] = 200
    assert (mosaic(text, 16) == mosaic(np.ascontiguousarray(text.transpose(1, 0, 2)), 16)).all()


def test_block_of_one_pixel_is_refused() -> None:
    """A block that would leave the picture as it is raises a ValueError with the value."""
    with pytest.raises(ValueError, match="block must be 2 or more, not 1"):
        mosaic(noise(0, 8, 8), 1)


GLYPHS = "ABCEHKMOPTXY0123456789"


def glyph(character: str, height: int) -> NDArray[np.float64]:
    big = np.full((300, 220), 250, np.uint8)
    cv2.putText(big, character, (10, 250), cv2.FONT_HERSHEY_DUPLEX, 9.3, (10,), 36, cv2.LINE_AA)
    return cv2.resize(big, (round(height * 0.55), height), interpolation=cv2.INTER_AREA).astype(np.float64)


def read(gray: Image, height: int) -> str:
    """The best guess for each character by a reader who knows font, size and place exactly: better than any OCR."""
    templates = {character: glyph(character, height) for character in GLYPHS}

    def likeness(part: NDArray[np.float64], template: NDArray[np.float64]) -> float:
        a, b = part - part.mean(), template - template.mean()
        return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))

    width = round(height * 0.55)
    parts = [gray[:, left : left + width].astype(np.float64) for left in range(0, gray.shape[1], width)]
    return "".join(max(templates, key=lambda c: likeness(part, templates[c])) for part in parts)


def read_shares(height: int, plates: int = 40) -> tuple[float, float, int]:
    """Shares of characters read right without and with the mosaic, and how many whole plates with it."""
    random = np.random.default_rng(height)
    plain = hidden = whole = 0
    for _ in range(plates):
        text = "".join(random.choice(list(GLYPHS), 8))
        picture = np.full((360, 640, 3), 90, np.uint8)
        top, left = (int(value) for value in 100 + random.integers(0, 16, 2))
        letters = np.hstack([glyph(character, height) for character in text])
        place = (slice(top, top + height), slice(left, left + letters.shape[1]))
        picture[place] = letters[..., None]
        plain += sum(a == b for a, b in zip(read(picture[place][..., 0], height), text, strict=True))
        guess = read(mosaic(picture, 16)[place][..., 0], height)
        hidden += sum(a == b for a, b in zip(guess, text, strict=True))
        whole += guess == text
    return plain / plates / 8, hidden / plates / 8, whole


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("height", [24, 32, 40])
def test_a_plate_of_up_to_40_pixels_is_read_before_the_mosaic_and_not_after_it(height: int) -> None:
    """A reader who knows font, size and place reads every plain plate, and none after it."""
    plain, hidden, whole = read_shares(height)
    assert plain == 1.0
    assert hidden < 0.3
    assert whole == 0


def test_the_reader_sees_through_a_mosaic_that_is_too_fine() -> None:
    """The same reader gets most characters of a plate of 100 pixels: what fails above is the plate, not the reader."""
    _, hidden, _ = read_shares(100)
    assert hidden > 0.5


def found(picture: Image) -> bool:
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_russian_plate_number.xml"))
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return len(cascade.detectMultiScale(gray, 1.05, 3, minSize=(40, 12))) > 0


@pytest.mark.requirement("P4")
def test_the_plate_detector_loses_most_plates_of_24_pixels() -> None:
    """OpenCV's detector finds each plain plate, and after the mosaic half of them at most.

    Not none: it knows a plate by its bright oblong shape, and where a plate is may stay visible, what it says not.
    """
    before = after = 0
    big = np.full((400, 1840, 3), 250, np.uint8)
    cv2.rectangle(big, (0, 0), (1839, 399), (0, 0, 0), 24)
    cv2.putText(big, "A123BC77", (70, 310), cv2.FONT_HERSHEY_DUPLEX, 9.3, (10, 10, 10), 36, cv2.LINE_AA)
    for offset in range(16):
        picture = np.full((360, 640, 3), (70, 75, 80), np.uint8)
        top, left = 160 + offset, 200 + offset * 7 % 16
        cv2.rectangle(picture, (left - 60, top - 60), (left + 170, top + 64), (45, 30, 90), -1)
        picture[top : top + 24, left : left + 110] = cv2.resize(big, (110, 24), interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(picture, (3, 3), 0).astype(np.uint8)
        before += found(picture)
        after += found(mosaic(picture, 16))
    assert before == 16
    assert after <= 8
