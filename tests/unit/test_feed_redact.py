"""The mosaic: what was inside a cell is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightglass.feed.redact import STEP, mosaic

Image = NDArray[np.uint8]
Redaction = Callable[[Image, int], Image]

# The sizes of the product, with 11.25 blocks in its height, and blocks at which rounding once went wrong (49).
SHAPES = st.tuples(st.integers(2, 130), st.integers(2, 130), st.integers(2, 60)) | st.sampled_from(
    [(360, 640, 32), (360, 640, 10), (120, 160, 49)]
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


def check_own_step(redact: Redaction, seed: int, shape: tuple[int, int, int]) -> None:
    height, width, block = shape
    picture = noise(seed, height, width)
    out = redact(picture, block)
    for cell in cells(height, width, block):
        mean = picture[cell].reshape(-1, 3).mean(axis=0)
        assert (np.abs(out[cell][0, 0] - mean) <= STEP / 2).all(), f"cell {cell} is not near the mean of itself"
    assert len(np.unique(out)) <= 256 // STEP, "more colours than there are steps"


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


CHECKS = [check_flat, check_own_step, check_no_order_within, check_fixed_grid]


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("check", CHECKS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), shape=SHAPES)
def test_mosaic_keeps_only_the_step_of_each_cell(
    check: Callable[..., None], seed: int, shape: tuple[int, int, int]
) -> None:
    """Whatever the picture and the block: cells are flat, near their own mean, and show no order and no neighbour."""
    check(mosaic, seed, shape)


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("check", [check_flat, check_own_step, check_no_order_within])
def test_the_checks_see_a_picture_that_is_not_redacted(check: Callable[..., None]) -> None:
    """The same checks turn red for a mosaic that changes nothing."""
    with pytest.raises(AssertionError):
        check(lambda picture, _: picture.copy(), 1, (360, 640, 16))


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("check", [check_own_step, check_no_order_within, check_fixed_grid])
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
PLATE = 8


def glyph(character: str, height: int) -> NDArray[np.float64]:
    big = np.full((300, 220), 250, np.uint8)
    cv2.putText(big, character, (10, 250), cv2.FONT_HERSHEY_DUPLEX, 9.3, (10,), 36, cv2.LINE_AA)
    return cv2.resize(big, (round(height * 0.55), height), interpolation=cv2.INTER_AREA).astype(np.float64)


@dataclass(frozen=True)
class Sight:
    """One picture of a car: the plate's place, and what a viewer has of the cells around it."""

    top: int
    left: int
    cells: NDArray[np.float64]
    place: tuple[int, int, int, int]


def cell_values(gray: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """The exact mean of each cell of a picture whose sides are whole blocks."""
    height, width = gray.shape
    means: NDArray[np.float64] = gray.reshape(height // block, block, width // block, block).mean(axis=(1, 3))
    return means


def seen(text: str, height: int, top: int, left: int, redact: Redaction, block: int, seed: int) -> Sight:
    """A picture with a plate of this height, sensor noise, and the mosaic."""
    letters = np.hstack([glyph(character, height) for character in text])
    picture = np.full((360, 640), 90.0)
    picture[top : top + height, left : left + letters.shape[1]] = letters
    picture += np.random.default_rng(seed).normal(0, 4, picture.shape)
    colour = np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    place = (
        top // block * block, -(-(top + height) // block) * block,
        left // block * block, -(-(left + letters.shape[1]) // block) * block,
    )  # fmt: skip
    part = redact(colour, block)[place[0] : place[1], place[2] : place[3], 0].astype(np.float64)
    return Sight(top, left, cell_values(part, block), place)


def read(sights: Sequence[Sight], height: int, block: int, slack: float) -> str:
    """The best guess of a reader who knows font, size, place and mosaic: it mosaics every text and compares.

    From left to right, with the 40 likeliest beginnings; `slack` is how far a cell may be from the mean it stands for.
    """
    letters = {character: glyph(character, height) for character in GLYPHS}
    width = round(height * 0.55)
    blank = [np.full((s.place[1] - s.place[0], s.place[3] - s.place[2]), 90.0) for s in sights]
    kept: list[tuple[str, list[NDArray[np.float64]]]] = [("", blank)]
    for position in range(PLATE):
        tried = []
        for text, canvases in kept:
            for character, letter in letters.items():
                drawn, wrong = [], 0.0
                for sight, canvas in zip(sights, canvases, strict=True):
                    top, left = sight.top - sight.place[0], sight.left - sight.place[2] + position * width
                    more = canvas.copy()
                    more[top : top + height, left : left + width] = letter
                    drawn.append(more)
                    done = None if position == PLATE - 1 else (left + width) // block
                    off = np.abs(cell_values(more, block) - sight.cells)[:, :done]
                    wrong += float((np.maximum(off - slack, 0) ** 2).sum())
                tried.append((wrong, text + character, drawn))
        tried.sort(key=lambda one: one[0])
        kept = [(text, drawn) for _, text, drawn in tried[:40]]
    return kept[0][0]


def read_share(
    redact: Redaction, block: int, slack: float, height: int, plates: int, pictures: int
) -> tuple[float, int]:
    """The share of characters read right, and how many whole plates; a car that moves on a little in each picture."""
    random = np.random.default_rng(height)
    right = whole = 0
    for plate in range(plates):
        text = "".join(random.choice(list(GLYPHS), PLATE))
        top, left = (int(value) for value in 100 + random.integers(0, block, 2))
        sights = [
            seen(text, height, top + index * 2 // 3, left + index * 3, redact, block, plate * 100 + index)
            for index in range(pictures)
        ]
        guess = read(sights, height, block, slack)
        right += sum(a == b for a, b in zip(guess, text, strict=True))
        whole += guess == text
    return right / plates / PLATE, whole


def exact(picture: Image, block: int) -> Image:
    """The mosaic as it was: exact means."""
    padded = np.pad(picture, ((0, -picture.shape[0] % block), (0, -picture.shape[1] % block), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    means = padded.reshape(rows, block, columns, block, 3).mean(axis=(1, 3))
    wide = np.repeat(np.repeat(np.round(means), block, axis=0), block, axis=1)
    return wide[: picture.shape[0], : picture.shape[1]].astype(np.uint8)


@pytest.mark.requirement("P4")
@pytest.mark.parametrize("height", [16, 24, 27])
def test_a_plate_of_the_scenes_size_is_not_read_from_one_picture(height: int) -> None:
    """A reader who knows font, size, place and mosaic gets a character here and there, as by guessing, and no plate."""
    share, whole = read_share(mosaic, 32, STEP / 2, height, plates=6, pictures=1)
    assert share < 0.3
    assert whole == 0


@pytest.mark.requirement("P4")
def test_the_reader_reads_through_a_finer_mosaic() -> None:
    """The control: what fails above is the picture, not the reader. So it was: blocks of 16 pixels, exact means."""
    share, whole = read_share(exact, 16, 0.5, 27, plates=4, pictures=1)
    assert share > 0.8
    assert whole > 0


@pytest.mark.requirement("P4")
def test_many_pictures_of_a_moving_car_show_more_and_no_whole_plate() -> None:
    """The limit of a mosaic: each picture of a car that moves says something new. Eight tell a third of a plate."""
    share, whole = read_share(mosaic, 32, STEP / 2, 27, plates=3, pictures=8)
    assert share < 0.7
    assert whole == 0


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
