"""Drawing on a transparent canvas measured in metres, and pasting the result at any scale."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""Rows x columns x 3, blue green red, 0-255."""
Colour = tuple[int, int, int]
Point = tuple[float, float]

_OVERSAMPLING = 2


class Canvas:
    """A transparent picture of `width` x `height` metres; x runs from its middle to the right, y from the ground up."""

    def __init__(self, width: float, height: float, pixels_per_metre: int) -> None:
        self.unit = pixels_per_metre * _OVERSAMPLING
        self.scale = pixels_per_metre
        self.width, self.height = width, height
        rows, columns = round(height * self.unit), round(width * self.unit)
        self.colour: Picture = np.zeros((rows, columns, 3), np.uint8)
        self.alpha = np.zeros((rows, columns), np.uint8)

    def point(self, x: float, y: float) -> tuple[int, int]:
        return round((x + self.width / 2) * self.unit), round((self.height - y) * self.unit)

    def polygon(self, points: list[Point], colour: Colour, alpha: int = 255) -> None:
        self._mask(lambda mask: cv2.fillPoly(mask, [np.array([self.point(*p) for p in points])], 255), colour, alpha)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, alpha: int = 255) -> None:
        axes = (max(1, round(radii[0] * self.unit)), max(1, round(radii[1] * self.unit)))
        self._mask(lambda mask: cv2.ellipse(mask, self.point(*centre), axes, 0, 0, 360, 255, -1), colour, alpha)

    def line(self, points: list[Point], thickness: float, colour: Colour) -> None:
        wide = max(1, round(thickness * self.unit))
        corners = np.array([self.point(*p) for p in points])
        self._mask(lambda mask: cv2.polylines(mask, [corners], False, 255, wide, cv2.LINE_AA), colour, 255)

    def box(self, left: float, bottom: float, right: float, top: float, colour: Colour, radius: float = 0.0) -> None:
        """A rectangle with rounded corners."""
        self.polygon(
            [(left + radius, bottom), (right - radius, bottom), (right - radius, top), (left + radius, top)], colour
        )
        if radius:
            self.line([(left + radius, bottom + radius), (left + radius, top - radius)], 2 * radius, colour)
            self.line([(right - radius, bottom + radius), (right - radius, top - radius)], 2 * radius, colour)

    def shade(self, bottom: float, top: float, below: float, above: float) -> None:
        """Multiplies the brightness of what is drawn, from `below` at y=bottom to `above` at y=top."""
        first, last = self.point(0, top)[1], self.point(0, bottom)[1]
        ramp = np.linspace(above, below, last - first, dtype=np.float32)[:, None, None]
        part = self.colour[first:last]
        part[:] = np.clip(part * ramp, 0, 255).astype(np.uint8)

    def picture(self, image: Picture, centre: Point, width: float) -> None:
        """Lays an opaque picture over the canvas, scaled to `width` metres."""
        columns = round(width * self.unit)
        rows = round(columns * image.shape[0] / image.shape[1])
        x, y = self.point(*centre)
        part = np.s_[y - rows // 2 : y - rows // 2 + rows, x - columns // 2 : x - columns // 2 + columns]
        self.colour[part] = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        self.alpha[part] = 255

    def _mask(self, draw: Callable[[NDArray[np.uint8]], object], colour: Colour, alpha: int) -> None:
        mask = np.zeros_like(self.alpha)
        draw(mask)
        x, y, columns, rows = cv2.boundingRect(mask)
        part = np.s_[y : y + rows, x : x + columns]
        cover = cv2.multiply(mask[part], np.full_like(mask[part], alpha), scale=1 / 255)
        self.alpha[part] = cv2.max(self.alpha[part], cover)
        spread = cv2.cvtColor(cover, cv2.COLOR_GRAY2BGR)
        paint = np.full_like(spread, colour)
        self.colour[part] = cv2.add(
            cv2.multiply(self.colour[part], 255 - spread, scale=1 / 255), cv2.multiply(paint, spread, scale=1 / 255)
        )


class Sprite:
    """A drawing that can be pasted at any size up to the scale it was drawn for.

    Smaller copies are kept, so that a paste only ever shrinks by less than a half: sharp at any distance and cheap.
    """

    def __init__(self, canvas: Canvas) -> None:
        size = (canvas.alpha.shape[1] // _OVERSAMPLING, canvas.alpha.shape[0] // _OVERSAMPLING)
        alpha = np.asarray(cv2.cvtColor(canvas.alpha, cv2.COLOR_GRAY2BGR), np.uint8)
        light = np.asarray(cv2.multiply(canvas.colour, alpha, scale=1 / 255), np.uint8)
        gap = 255 - alpha
        self._levels: list[tuple[Picture, Picture]] = []
        self._scale = canvas.scale
        self._last: tuple[float, tuple[Picture, Picture]] | None = None
        while min(size) >= 8:
            # Each from the one before: halving is ten times as quick as shrinking the drawing itself every time.
            light, gap = _resized(light, size, cv2.INTER_AREA), _resized(gap, size, cv2.INTER_AREA)
            self._levels.append((light, gap))
            size = (size[0] // 2, size[1] // 2)

    def paste(self, picture: Picture, centre: float, bottom: float, scale: float) -> None:
        """Blends the sprite in with the middle of its lower edge at (centre, bottom), `scale` pixels a metre."""
        light, gap = self._sized(scale)
        rows, columns = light.shape[:2]
        left, top = round(centre - columns / 2), round(bottom - rows)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + columns, picture.shape[1]), min(top + rows, picture.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        cut = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        part = picture[y0:y1, x0:x1]
        part[:] = cv2.add(cv2.multiply(part, gap[cut], scale=1 / 255), light[cut])

    def _sized(self, scale: float) -> tuple[Picture, Picture]:
        if self._last is not None and self._last[0] == scale:
            return self._last[1]
        level = 0
        while level + 1 < len(self._levels) and scale <= self._scale / 2 ** (level + 1):
            level += 1
        light, gap = self._levels[level]
        factor = scale / self._scale * 2**level
        size = (max(1, round(light.shape[1] * factor)), max(1, round(light.shape[0] * factor)))
        sized = _resized(light, size, cv2.INTER_LINEAR), _resized(gap, size, cv2.INTER_LINEAR)
        self._last = (scale, sized)
        return sized


def _resized(picture: Picture, size: tuple[int, int], method: int) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
