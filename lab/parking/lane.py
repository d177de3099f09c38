"""What happens in the lane in front of the barrier: a pure function of the mode and of the frames since it was set."""

from dataclasses import dataclass
from enum import StrEnum

ARRIVE, STAND, OPEN, LEAVE, CLOSE = 20, 60, 12, 26, 12
"""Length of each part of a car's stay, in frames."""

_GATE, _FAR, _GONE = 6.7, 40.0, 3.2
_MOVE = OPEN + LEAVE + CLOSE


class Mode(StrEnum):
    """What a test asks the lane to do."""

    IDLE = "idle"
    OCCUPIED = "occupied"
    MOVING = "moving"
    AUTO = "auto"


@dataclass(frozen=True)
class Facts:
    """What the parking says about its lane."""

    presence: bool
    barrier: str
    state: str


@dataclass(frozen=True)
class Lane:
    """The lane at one frame: `car` is its distance from the camera in metres (None: no car), `boom` 0 closed to 1 open,
    `visit` counts the cars.
    """

    facts: Facts
    car: float | None = None
    boom: float = 0.0
    visit: int = 0


def lane_at(mode: Mode, age: int, offset: int = 0) -> Lane:
    """The lane `age` frames after `mode` was set; `offset` shifts the cycle of the mode `auto` only.

    occupied: a car arrives and stays. moving: cars arrive and pass without end. auto: all of it in turn.
    """
    if mode is Mode.IDLE:
        return _empty("idle")
    if mode is Mode.OCCUPIED:
        return _stay(age)
    if mode is Mode.MOVING:
        visit, part = divmod(age, ARRIVE + _MOVE)
        return _pass(part - ARRIVE, visit) if part >= ARRIVE else _arrive(part, "moving", visit)
    idle = 120
    visit, part = divmod(age + offset, idle + ARRIVE + STAND + _MOVE)
    if part < idle:
        return _empty("idle")
    if part < idle + ARRIVE + STAND:
        return _stay(part - idle, visit)
    return _pass(part - idle - ARRIVE - STAND, visit)


def started_at(mode: Mode, before: Lane, frame: int) -> int:
    """From which frame a mode set at `frame` counts: a car that already stands at the barrier does not arrive again."""
    standing = before.facts.presence and before.facts.barrier == "closed"
    return frame - ARRIVE if standing and mode in (Mode.OCCUPIED, Mode.MOVING) else frame


def _empty(state: str) -> Lane:
    return Lane(Facts(False, "closed", state))


def _arrive(part: int, state: str, visit: int) -> Lane:
    distance = _GATE + (_FAR - _GATE) * (1 - part / ARRIVE) ** 2
    return Lane(Facts(False, "closed", state), distance, visit=visit)


def _stay(part: int, visit: int = 0) -> Lane:
    if part < ARRIVE:
        return _arrive(part, "occupied", visit)
    return Lane(Facts(True, "closed", "occupied"), _GATE, visit=visit)


def _pass(part: int, visit: int) -> Lane:
    if part < OPEN:
        return Lane(Facts(True, "opening", "moving"), _GATE, part / OPEN, visit)
    part -= OPEN
    if part < LEAVE:
        distance = _GATE - (_GATE - _GONE) * (part / LEAVE) ** 1.5
        return Lane(Facts(part < LEAVE // 2, "open", "moving"), distance, 1.0, visit)
    return Lane(Facts(False, "closing", "moving"), None, 1 - (part - LEAVE) / CLOSE, visit)
