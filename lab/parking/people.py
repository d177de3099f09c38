"""People with faces, standing and in four steps of a walk."""

import math
from dataclasses import dataclass

from .sprites import Canvas, Colour, Sprite

STEPS = 4
_SCALE = 230


@dataclass(frozen=True)
class Looks:
    """How one person looks (colours in blue, green, red)."""

    skin: Colour
    hair: Colour
    coat: Colour
    trousers: Colour
    long_hair: bool = False


LOOKS = (
    Looks((150, 180, 225), (30, 45, 70), (120, 60, 40), (70, 50, 40)),
    Looks((95, 130, 180), (20, 20, 25), (60, 70, 190), (60, 60, 60), long_hair=True),
    Looks((160, 190, 235), (90, 150, 190), (80, 140, 90), (110, 80, 60), long_hair=True),
    Looks((70, 95, 140), (15, 15, 18), (200, 200, 205), (40, 40, 45)),
)


def draw(looks: Looks, step: int) -> Sprite:
    """A person of 1.78 m from the front; step 0 stands, 1 to STEPS walk."""
    canvas = Canvas(1.0, 1.86, _SCALE)
    swing = math.sin(2 * math.pi * step / STEPS + 0.6) * 0.12 if step else 0.0
    lift = max(0.0, swing) * 0.6
    canvas.ellipse((0, 0.05), (0.34, 0.045), (10, 10, 10), 150)
    for side in (-1, 1):
        foot = 0.06 + (lift if side > 0 else max(0.0, -swing) * 0.6)
        x = side * 0.1 + swing * 0.35
        canvas.line([(side * 0.095, 0.85), (side * 0.1, 0.48), (x, foot + 0.04)], 0.16, looks.trousers)
        canvas.ellipse((x + side * 0.02, foot), (0.085, 0.05), (30, 30, 34))
        dark = (looks.coat[0] * 3 // 4, looks.coat[1] * 3 // 4, looks.coat[2] * 3 // 4)
        hand = (side * 0.29 + swing * 0.3, 0.78)
        canvas.line([(side * 0.21, 1.36), (side * 0.28, 1.08), hand], 0.12, dark)
        canvas.ellipse(hand, (0.05, 0.06), looks.skin)
    canvas.polygon([(-0.2, 0.78), (0.2, 0.78), (0.24, 1.38), (0.12, 1.46), (-0.12, 1.46), (-0.24, 1.38)], looks.coat)
    canvas.line([(0, 0.8), (0, 1.4)], 0.012, (40, 40, 40))
    if looks.long_hair:
        canvas.box(-0.155, 1.4, 0.155, 1.68, looks.hair, 0.06)
    canvas.line([(0, 1.42), (0, 1.52)], 0.11, _darker(looks.skin))
    _head(canvas, looks)
    return Sprite(canvas)


def _darker(colour: Colour) -> Colour:
    return colour[0] * 4 // 5, colour[1] * 4 // 5, colour[2] * 4 // 5


def _head(canvas: Canvas, looks: Looks) -> None:
    middle = 1.63
    canvas.ellipse((0, middle + 0.04), (0.145, 0.16), looks.hair)
    for side in (-1, 1):
        canvas.ellipse((side * 0.13, middle), (0.025, 0.04), _darker(looks.skin))
    canvas.ellipse((0, middle - 0.015), (0.125, 0.15), looks.skin)
    canvas.polygon(
        [(-0.12, middle + 0.07), (0.12, middle + 0.07), (0.1, middle + 0.16), (-0.1, middle + 0.16)], looks.hair
    )
    for side in (-1, 1):
        canvas.line([(side * 0.03, middle + 0.05), (side * 0.085, middle + 0.047)], 0.016, looks.hair)
        canvas.ellipse((side * 0.055, middle + 0.012), (0.03, 0.018), (245, 245, 245))
        canvas.ellipse((side * 0.055, middle + 0.012), (0.014, 0.016), (40, 35, 30))
        canvas.ellipse((side * 0.08, middle - 0.055), (0.025, 0.02), (120, 130, 225), 70)
    canvas.line([(0, middle), (0.012, middle - 0.045), (-0.008, middle - 0.048)], 0.012, _darker(looks.skin))
    canvas.line([(-0.045, middle - 0.088), (0, middle - 0.1), (0.045, middle - 0.088)], 0.02, (70, 60, 170))
