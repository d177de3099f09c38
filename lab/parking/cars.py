"""Cars from the front, from behind and from the side."""

from . import plates
from .sprites import Canvas, Colour, Point, Sprite

PAINTS: tuple[Colour, ...] = (
    (60, 50, 165),
    (165, 95, 40),
    (190, 188, 184),
    (70, 66, 62),
    (85, 120, 60),
    (200, 205, 212),
    (40, 110, 190),
)
_FRONT_SCALE = 380
_SIDE_SCALE = 60
_RUBBER = (26, 25, 25)
_GLASS = (88, 74, 60)


def _tint(colour: Colour, factor: float) -> Colour:
    blue, green, red = (min(255, round(part * factor)) for part in colour)
    return blue, green, red


def _mirrored(right: list[Point]) -> list[Point]:
    """A symmetric outline from its right half, given from the bottom up."""
    return right + [(-x, y) for x, y in reversed(right)]


def front(paint: Colour, number: str, *, rear: bool = False) -> Sprite:
    """A car 1.8 m wide, 1.46 m high. Its plate is larger than life, so that it can be read where the car is whole."""
    canvas = Canvas(2.04, 1.5, _FRONT_SCALE)
    canvas.ellipse((0, 0.05), (1.0, 0.05), (10, 10, 10), 150)
    canvas.ellipse((0, 0.07), (0.9, 0.07), (5, 5, 5), 200)
    for side in (-1, 1):
        canvas.box(min(side * 0.62, side * 0.86), 0.02, max(side * 0.62, side * 0.86), 0.42, _RUBBER, 0.04)
    shell: list[Point] = [(0.8, 0.16), (0.88, 0.24), (0.9, 0.5), (0.89, 0.7), (0.84, 0.86), (0.77, 0.95), (0.7, 1.1)]
    roof: list[Point] = [(0.62, 1.3), (0.54, 1.4), (0.4, 1.45)]
    for side in (-1, 1):
        canvas.line([(side * 0.68, 0.98), (side * 0.82, 1.0)], 0.04, _tint(paint, 0.6))
        canvas.ellipse((side * 0.79, 1.01), (0.1, 0.065), _tint(paint, 0.75))
        canvas.ellipse((side * 0.8, 1.005), (0.07, 0.04), (150, 140, 130))
    canvas.polygon(_mirrored(shell + roof), paint)
    canvas.shade(0.12, 1.5, 0.55, 1.3)
    canvas.polygon(_mirrored([(0.7, 0.965), (0.64, 1.11), (0.55, 1.31), (0.47, 1.38)]), _GLASS)
    canvas.polygon([(0.2, 0.965), (0.62, 0.965), (0.49, 1.37), (0.36, 1.38)], (150, 138, 122), 110)
    for seat in (-0.33, 0.33):
        canvas.ellipse((seat, 1.1), (0.12, 0.13), (48, 42, 38))
        canvas.ellipse((seat, 1.24), (0.065, 0.05), (48, 42, 38))
    hood = _mirrored([(0.8, 0.8), (0.74, 0.93), (0.66, 0.965)])
    canvas.polygon(hood, _tint(paint, 1.12), 140)
    canvas.line([(-0.5, 0.82), (-0.44, 0.95)], 0.012, _tint(paint, 0.6))
    canvas.line([(0.5, 0.82), (0.44, 0.95)], 0.012, _tint(paint, 0.6))
    canvas.line([(-0.83, 0.79), (0.83, 0.79)], 0.014, _tint(paint, 0.5))
    lamp, core = ((30, 25, 190), (70, 70, 250)) if rear else ((205, 205, 200), (255, 255, 250))
    for side in (-1, 1):
        outline: list[Point] = [(0.46, 0.62), (0.84, 0.6), (0.86, 0.74), (0.78, 0.78), (0.52, 0.73)]
        canvas.polygon([(side * x, y) for x, y in outline], (45, 45, 45))
        canvas.polygon([(side * (0.02 + x * 0.97), 0.69 + (y - 0.69) * 0.8) for x, y in outline], lamp)
        canvas.ellipse((side * 0.69, 0.69), (0.07, 0.055), core)
        canvas.ellipse((side * 0.73, 0.3), (0.07, 0.04), (200, 200, 195) if not rear else (35, 30, 150))
    if rear:
        canvas.box(-0.36, 0.64, 0.36, 0.67, _tint(paint, 0.55), 0.01)
    else:
        canvas.box(-0.42, 0.6, 0.42, 0.75, (38, 36, 36), 0.03)
        for height in (0.63, 0.665, 0.7):
            canvas.line([(-0.4, height), (0.4, height)], 0.012, (120, 120, 120))
        canvas.ellipse((0, 0.675), (0.05, 0.05), (215, 215, 215))
    canvas.box(-0.62, 0.2, 0.62, 0.29, (36, 35, 35), 0.03)
    canvas.box(-0.38, 0.335, 0.38, 0.545, (50, 50, 50), 0.01)
    canvas.picture(plates.draw(number), (0, 0.44), 0.71)
    return Sprite(canvas)


def side(paint: Colour) -> Sprite:
    """A car 4.2 m long, facing right."""
    canvas = Canvas(4.6, 1.6, _SIDE_SCALE)
    canvas.ellipse((0, 0.08), (2.2, 0.08), (10, 10, 10), 150)
    canvas.polygon(
        [
            (-2.05, 0.25),
            (2.05, 0.25),
            (2.1, 0.62),
            (1.95, 0.82),
            (1.05, 0.92),
            (0.45, 1.42),
            (-1.0, 1.45),
            (-1.7, 0.98),
            (-2.1, 0.9),
        ],
        paint,
    )
    canvas.shade(0.2, 1.5, 0.6, 1.2)
    canvas.polygon([(0.9, 0.93), (0.38, 1.35), (-0.22, 1.36), (-0.22, 0.93)], _GLASS)
    canvas.polygon([(-0.32, 0.93), (-0.32, 1.36), (-0.92, 1.36), (-1.5, 0.95)], _GLASS)
    canvas.ellipse((2.0, 0.68), (0.1, 0.08), (215, 240, 245))
    canvas.ellipse((-2.02, 0.75), (0.08, 0.1), (40, 40, 200))
    for wheel in (-1.3, 1.3):
        canvas.ellipse((wheel, 0.32), (0.34, 0.32), _RUBBER)
        canvas.ellipse((wheel, 0.32), (0.19, 0.18), (165, 165, 165))
        canvas.ellipse((wheel, 0.32), (0.07, 0.07), (80, 80, 80))
    return Sprite(canvas)
