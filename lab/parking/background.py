"""Everything in the picture that never moves, drawn once."""

import cv2
import numpy as np

from . import ground
from .ground import (
    CROSSING_FAR,
    CROSSING_NEAR,
    GATE_Z,
    HORIZON,
    LANE_LEFT,
    LANE_RIGHT,
    POST_X,
    REST_X,
    ROAD_LEFT,
    ROAD_RIGHT,
)
from .sprites import Colour, Picture

_NEAR, _FAR = 2.0, 400.0
_PAINT = (222, 226, 226)
_KERB = (158, 162, 164)
_PAVING = (132, 140, 146)


def draw(seed: int) -> Picture:
    """The empty scene, 1280x720."""
    rng = np.random.default_rng(seed)
    picture = np.empty((720, 1280, 3), np.uint8)
    ramp = np.linspace(0, 1, HORIZON + 40)[:, None, None]
    picture[: HORIZON + 40] = ((1 - ramp) * np.array((205, 160, 105)) + ramp * np.array((232, 222, 205))).astype(
        np.uint8
    )
    _clouds(picture, rng)
    _town(picture, rng)
    _surfaces(picture, rng)
    _markings(picture)
    _furniture(picture)
    return picture


def _clouds(picture: Picture, rng: np.random.Generator) -> None:
    layer = np.zeros((HORIZON, 1280), np.uint8)
    for _ in range(7):
        x, y = int(rng.integers(0, 1280)), int(rng.integers(10, 90))
        for _ in range(9):
            offset = (x + int(rng.integers(-90, 90)), y + int(rng.integers(-9, 9)))
            cv2.ellipse(layer, offset, (int(rng.integers(25, 70)), int(rng.integers(6, 15))), 0, 0, 360, 190, -1)
    share = (cv2.GaussianBlur(layer, (0, 0), 9).astype(np.float32) / 255)[..., None]
    part = picture[:HORIZON]
    part[:] = (part * (1 - share) + 250 * share).astype(np.uint8)


def _house(picture: Picture, left: int, top: int, right: int, wall: Colour, rng: np.random.Generator) -> None:
    bottom = 286
    cv2.rectangle(picture, (left, top), (right, bottom), wall, -1)
    cv2.rectangle(picture, (left - 3, top - 7), (right + 3, top), (92, 88, 96), -1)
    columns, rows = max(1, (right - left) // 34), max(1, (bottom - top - 34) // 38)
    step = (right - left) / columns
    for row in range(rows):
        for column in range(columns):
            x, y = round(left + (column + 0.5) * step), top + 12 + row * 38
            glass = (125, 108, 88) if rng.random() < 0.75 else (150, 205, 235)
            cv2.rectangle(picture, (x - 8, y), (x + 8, y + 22), (225, 225, 225), -1)
            cv2.rectangle(picture, (x - 6, y + 2), (x + 6, y + 20), glass, -1)
            cv2.line(picture, (x, y + 2), (x, y + 20), (225, 225, 225), 1)
    cv2.rectangle(picture, (left, bottom - 22), (right, bottom), (70, 74, 84), -1)


def _tree(picture: Picture, x: int, rng: np.random.Generator) -> None:
    cv2.rectangle(picture, (x - 4, 215), (x + 4, 288), (52, 66, 84), -1)
    for shade in (0.75, 1.0, 1.2):
        for _ in range(16):
            offset = (x + int(rng.integers(-34, 34)), 185 + int(rng.integers(-42, 42)))
            colour = (round(48 * shade), round(105 * shade), round(72 * shade))
            cv2.circle(picture, offset, int(rng.integers(8, 17)), colour, -1, cv2.LINE_AA)


def _town(picture: Picture, rng: np.random.Generator) -> None:
    walls: tuple[Colour, ...] = ((168, 190, 206), (150, 158, 172), (130, 160, 196), (182, 186, 188), (148, 178, 178))
    left = -20
    while left < 1280:
        wide, top = int(rng.integers(110, 210)), int(rng.integers(62, 150))
        _house(picture, left, top, left + wide, walls[int(rng.integers(len(walls)))], rng)
        left += wide + (46 if rng.random() < 0.35 else 3)
    for x in (90, 395, 760, 1010):
        _tree(picture, x + int(rng.integers(-25, 25)), rng)


def _strip(picture: Picture, left: float, right: float, near: float, far: float, colour: Colour) -> None:
    """Fills a rectangle that lies on the ground."""
    corners = [ground.pixel(left, near), ground.pixel(left, far), ground.pixel(right, far), ground.pixel(right, near)]
    fixed = [(round(x * 16), round(y * 16)) for x, y in corners]
    cv2.fillPoly(picture, [np.array(fixed)], colour, cv2.LINE_AA, 4)


def _surfaces(picture: Picture, rng: np.random.Generator) -> None:
    horizon = round(ground.pixel(0, CROSSING_FAR)[1])
    picture[horizon - 6 : horizon] = _PAVING
    _strip(picture, -60, 60, _NEAR, CROSSING_FAR, _PAVING)
    for z in (2.4, 3, 3.8, 4.8, 6, 7.5, 9.5, 12, 15, 19, 24, 30):
        _strip(picture, -30, 30, z, z * 1.006, (112, 119, 125))
    for x in np.arange(-12, 12, 0.8):
        _strip(picture, float(x), float(x) + 0.02, _NEAR, CROSSING_NEAR, (112, 119, 125))
    _strip(picture, -60, 60, CROSSING_NEAR, CROSSING_FAR, (96, 95, 93))
    for left, right in ((ROAD_LEFT, ROAD_RIGHT), (LANE_LEFT, LANE_RIGHT)):
        _strip(picture, left - 0.16, right + 0.16, _NEAR, CROSSING_NEAR, _KERB)
        _strip(picture, left, right, _NEAR, CROSSING_NEAR, (88, 87, 85))
    _strip(picture, LANE_LEFT - 0.2, LANE_RIGHT + 0.2, CROSSING_NEAR - 4, CROSSING_NEAR, (90, 89, 87))
    lower = picture[horizon:]
    grain = rng.normal(0, 7, lower.shape[:2]).astype(np.float32)
    patches = cv2.GaussianBlur(rng.normal(0, 160, lower.shape[:2]).astype(np.float32), (0, 0), 24, sigmaY=7)
    light = np.linspace(10, -6, lower.shape[0], dtype=np.float32)[:, None]
    lower[:] = np.clip(lower + (grain + patches + light)[..., None], 0, 255).astype(np.uint8)
    worn = np.zeros_like(picture)
    for x in (ground.TRAFFIC_X, ground.RECEDING_X, ground.LANE_X):
        for wheel in (-0.7, 0.7):
            _strip(worn, x + wheel - 0.14, x + wheel + 0.14, _NEAR, CROSSING_NEAR, (12, 12, 12))
    lower[:] = cv2.subtract(lower, cv2.GaussianBlur(worn, (0, 0), 4)[horizon:])


def _markings(picture: Picture) -> None:
    middle = (ground.TRAFFIC_X + ground.RECEDING_X) / 2
    z = 2.2
    while z < CROSSING_NEAR - 2:
        _strip(picture, middle - 0.06, middle + 0.06, z, z + 1.5, _PAINT)
        z += 3.4
    for x in (ROAD_LEFT + 0.2, ROAD_RIGHT - 0.28):
        _strip(picture, x, x + 0.1, _NEAR, CROSSING_NEAR - 1, _PAINT)
    for x in (LANE_LEFT + 0.12, LANE_RIGHT - 0.22):
        _strip(picture, x, x + 0.1, _NEAR, CROSSING_NEAR - 1, _PAINT)
    _strip(picture, LANE_LEFT + 0.3, LANE_RIGHT - 0.3, GATE_Z + 0.35, GATE_Z + 0.6, _PAINT)
    middle_z = (CROSSING_NEAR + CROSSING_FAR) / 2
    for index in range(-14, 14):
        _strip(picture, index * 3.0, index * 3.0 + 1.6, middle_z, middle_z + 0.8, _PAINT)


def _post(picture: Picture, x: float, height: float, width: float, colour: Colour) -> None:
    left, bottom = ground.pixel(x - width / 2, GATE_Z)
    right, top = ground.pixel(x + width / 2, GATE_Z, height)
    cv2.rectangle(picture, (round(left), round(top)), (round(right), round(bottom)), colour, -1)
    cv2.rectangle(
        picture,
        (round(left), round(top)),
        (round(left) + 7, round(bottom)),
        tuple(min(255, c + 35) for c in colour),
        -1,
    )


def _furniture(picture: Picture) -> None:
    _post(picture, REST_X, 0.86, 0.1, (60, 62, 64))
    x, bottom = ground.pixel(3.6, 13)
    cv2.line(picture, (round(x), round(bottom)), (round(x), 40), (95, 98, 100), 7, cv2.LINE_AA)
    cv2.rectangle(picture, (round(x) - 38, 22), (round(x) + 38, 98), (245, 245, 245), -1, cv2.LINE_AA)
    cv2.rectangle(picture, (round(x) - 34, 26), (round(x) + 34, 94), (165, 85, 20), -1, cv2.LINE_AA)
    cv2.putText(picture, "P", (round(x) - 22, 84), cv2.FONT_HERSHEY_DUPLEX, 2.2, (245, 245, 245), 6, cv2.LINE_AA)


def cabinet(picture: Picture) -> None:
    """The barrier's cabinet: drawn over what passes behind it."""
    _post(picture, POST_X, 1.12, 0.3, (46, 120, 225))
    x, y = ground.pixel(POST_X, GATE_Z, 0.62)
    cv2.rectangle(picture, (round(x) - 18, round(y) - 14), (round(x) + 18, round(y) + 14), (40, 42, 46), -1)
    cv2.circle(picture, (round(x), round(y) + 34), 7, (60, 210, 70), -1, cv2.LINE_AA)
