"""The picture the camera sees: a pure function of seed, frame number and what the lane does."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from . import background, cars, ground, overlay, people, plates
from .lane import Facts, Lane, Mode, lane_at
from .sprites import Picture, Sprite

_TRAFFIC_EVERY, _TRAFFIC_LIFE, _TRAFFIC_TAU = 30, 100, 40.0
_TRAFFIC_NEAREST = 3.5
_RECEDING_EVERY, _RECEDING_LIFE = 55, 90
_CROSSING_EVERY, _CROSSING_LIFE = 34, 60
_ON_THE_ROAD = 5
"""The first cars drive on the road, the others through the lane: a number is never in the picture twice."""
_BENDS_FROM = 5.4
"""Nearer than this (metres) a car turns out of the picture, so that none grows past the sharpest drawing of it."""

_STRIPES = 8


@dataclass(frozen=True)
class _Standing:
    """A person: where, and for a walker between which x and at how many metres a frame."""

    looks: int
    x: float
    z: float
    to: float | None = None
    speed: float = 0.05


_PEOPLE = (
    _Standing(0, 0.2, 7.6),
    _Standing(1, 3.25, 8.0),
    _Standing(2, -0.2, 11.0, to=0.3, speed=0.015),
    _Standing(3, 3.3, 10.0, to=6.0),
    _Standing(1, -9.5, 13.0, to=-6.7),
    _Standing(0, -20.0, 37.0, to=14.0, speed=0.12),
)


class Scene:
    """The scene of one seed. Drawing it up takes about a second, a frame a few milliseconds."""

    def __init__(self, seed: int, width: int = overlay.WIDTH, height: int = overlay.HEIGHT) -> None:
        """ValueError when the size is not 16:9 or smaller than 640x360 (the strip's cells would be under 32 pixels)."""
        if width * 9 != height * 16 or width < 640:
            raise ValueError(f"width x height must be 16:9 and at least 640x360, got {width}x{height}")
        rng = random.Random(f"{seed} cars")
        self._seed, self._size = seed, (width, height)
        self._background = background.draw(seed)
        paints = list(cars.PAINTS)
        rng.shuffle(paints)
        self.plates = [plates.text(rng) for _ in paints]
        self._fronts = [cars.front(paint, text) for paint, text in zip(paints, self.plates, strict=True)]
        self._rears = [cars.front(paint, plates.text(rng), rear=True) for paint in paints[:3]]
        self._sides = [cars.side(paint) for paint in paints]
        self._people = [[people.draw(looks, step) for step in range(people.STEPS + 1)] for looks in people.LOOKS]

    def lane(self, frame_number: int, lane_mode: str, since: int = 0) -> Lane:
        """The lane at a frame, for a mode set at the frame `since`."""
        return lane_at(Mode(lane_mode), max(0, frame_number - since), self._seed * 37 % 120)

    def facts(self, frame_number: int, lane_mode: str, since: int = 0) -> Facts:
        """What the parking says about the lane at a frame."""
        return self.lane(frame_number, lane_mode, since).facts

    def render(self, frame_number: int, lane_mode: str, since: int = 0) -> Picture:
        """The picture of a frame, with its number burnt in and without the time. The caller owns it."""
        picture = self._background.copy()
        lane = self.lane(frame_number, lane_mode, since)
        things = [*self._crossing(frame_number), *self._road(frame_number), *self._pedestrians(frame_number)]
        things.append((ground.GATE_Z, self._gate(lane.boom)))
        if lane.car is not None:
            things.append(self._lane_car(lane.car, lane.visit))
        things.sort(key=lambda thing: -thing[0])
        for _, paste in things:
            paste(picture)
        overlay.draw_number(picture, frame_number)
        if self._size != (overlay.WIDTH, overlay.HEIGHT):
            return cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
        return picture

    def _crossing(self, frame: int) -> list["_Thing"]:
        found = []
        for index, age in _alive(frame, _CROSSING_EVERY, _CROSSING_LIFE):
            sprite = self._sides[self._pick(f"crossing {index}", len(self._sides))]
            found.append(_thing(sprite, -30 + 60 * age / _CROSSING_LIFE, 47.0))
        return found

    def _road(self, frame: int) -> list["_Thing"]:
        found = []
        for index, age in _alive(frame, _TRAFFIC_EVERY, _TRAFFIC_LIFE):
            late = self._pick(f"late {index}", 7)
            z = _TRAFFIC_NEAREST * math.exp((_TRAFFIC_LIFE - age + late - 7) / _TRAFFIC_TAU)
            bend = max(0.0, _BENDS_FROM - z)
            found.append(_thing(self._fronts[index % _ON_THE_ROAD], ground.TRAFFIC_X - 0.8 * bend, z))
        for index, age in _alive(frame, _RECEDING_EVERY, _RECEDING_LIFE):
            found.append(
                _thing(self._rears[index % len(self._rears)], ground.RECEDING_X, 6.5 + 32 * age / _RECEDING_LIFE)
            )
        return found

    def _pedestrians(self, frame: int) -> list["_Thing"]:
        found = []
        for index, person in enumerate(_PEOPLE):
            x, step = person.x, 0
            if person.to is not None:
                reach = person.to - person.x
                way = (frame + 97 * index + 31 * self._seed) * person.speed % (2 * reach)
                x, step = person.x + min(way, 2 * reach - way), 1 + frame // 3 % people.STEPS
            found.append(_thing(self._people[person.looks][step], x, person.z))
        return found

    def _lane_car(self, z: float, visit: int) -> "_Thing":
        bend = max(0.0, ground.GATE_Z - z)
        return _thing(
            self._fronts[_ON_THE_ROAD + visit % (len(self._fronts) - _ON_THE_ROAD)], ground.LANE_X + 1.05 * bend, z
        )

    def _pick(self, what: str, count: int) -> int:
        return random.Random(f"{self._seed} {what}").randrange(count)

    def _gate(self, boom: float) -> Callable[[Picture], None]:
        def paste(picture: Picture) -> None:
            angle = math.radians(82) * (0.5 - 0.5 * math.cos(math.pi * boom))
            unit, length = ground.scale(ground.GATE_Z), ground.REST_X - ground.POST_X
            x, y = ground.pixel(ground.POST_X, ground.GATE_Z, 0.9)
            along, across = np.array((math.cos(angle), -math.sin(angle))), np.array((math.sin(angle), math.cos(angle)))
            for stripe in range(_STRIPES):
                ends = [np.array((x, y)) + along * unit * length * part / _STRIPES for part in (stripe, stripe + 1)]
                edge = across * unit * 0.035
                corners = np.array([ends[0] - edge, ends[1] - edge, ends[1] + edge, ends[0] + edge])
                colour = (45, 40, 205) if stripe % 2 else (240, 240, 240)
                cv2.fillPoly(picture, [np.rint(corners * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)
            background.cabinet(picture)

        return paste


_Thing = tuple[float, Callable[[Picture], None]]


def _thing(sprite: Sprite, x: float, z: float) -> _Thing:
    centre, bottom = ground.pixel(x, z)
    return z, lambda picture: sprite.paste(picture, centre, bottom, ground.scale(z))


def _alive(frame: int, every: int, life: int) -> list[tuple[int, int]]:
    """Index and age in frames of all that start every `every` frames and last `life`; it has always been so."""
    newest = frame // every
    return [
        (index, age) for index in range(newest - life // every - 1, newest + 1) if (age := frame - index * every) < life
    ]
