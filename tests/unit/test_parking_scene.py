"""The camera's picture is a pure function, shows readable plates and tells the truth about the lane."""

import itertools

import cv2
import numpy as np
import pytest

from lab.parking.detect import PlateDetector
from lab.parking.lane import ARRIVE, Facts, Lane, Mode, lane_at, started_at
from lab.parking.scene import Scene
from lab.strip import read_strip

_CYCLE = 600
_BOOM_STEPS = {
    ("closed", "opening"),
    ("opening", "open"),
    ("open", "closing"),
    ("closing", "closed"),
}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(1)


@pytest.mark.requirement("F3")
def test_same_seed_and_number_give_the_same_bytes(scene: Scene) -> None:
    """Two scenes of one seed agree in each byte, in any order of rendering; another seed differs."""
    twin, other = Scene(1), Scene(2)
    wanted = [(7, "idle"), (61, "moving"), (7, "occupied"), (900, "auto")]
    first = {key: scene.render(*key) for key in wanted}
    for key in reversed(wanted):
        assert np.array_equal(twin.render(*key), first[key])
        assert not np.array_equal(other.render(*key), first[key])


@pytest.mark.requirement("F3")
def test_frames_carry_their_number_and_move(scene: Scene) -> None:
    """Consecutive frames differ above the strip, and the strip counts them."""
    frames = [scene.render(number, "idle") for number in range(40, 44)]
    assert [read_strip(frame) for frame in frames] == [40, 41, 42, 43]
    for before, after in itertools.pairwise(frames):
        assert np.count_nonzero((before[:600] != after[:600]).any(axis=2)) > 2000


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("mode", ["idle", "moving"])
def test_plates_are_found_in_the_clear_picture(scene: Scene, mode: str) -> None:
    """At least half of the frames show a plate that the detector finds: the control for pictures where none may be."""
    cv2.setNumThreads(1)
    detector = PlateDetector()
    found = [bool(detector.find(scene.render(number, mode))) for number in range(0, 240, 7)]
    assert sum(found) >= len(found) / 2


@pytest.mark.requirement("F3")
def test_no_number_is_in_the_picture_twice(scene: Scene) -> None:
    """Each car of the pool has a number of its own."""
    assert len(set(scene.plates)) == len(scene.plates)


@pytest.mark.requirement("F3")
def test_smaller_pictures_have_their_size() -> None:
    """A scene of 640x360 gives that size; another shape is refused by name."""
    small = Scene(1, 640, 360).render(5, "idle")
    assert small.shape == (360, 640, 3)
    assert read_strip(small) == 5
    with pytest.raises(ValueError, match="16:9"):
        Scene(1, 640, 480)


@pytest.mark.requirement("F3")
def test_idle_and_occupied_hold_their_state() -> None:
    """An idle lane stays empty behind a closed barrier; an occupied one keeps its car in front of it."""
    assert {lane_at(Mode.IDLE, age) for age in range(_CYCLE)} == {Lane(Facts(False, "closed", "idle"))}
    stay = [lane_at(Mode.OCCUPIED, age) for age in range(_CYCLE)]
    assert {lane.facts.state for lane in stay} == {"occupied"}
    assert {lane.facts for lane in stay[ARRIVE:]} == {Facts(True, "closed", "occupied")}


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("mode", [Mode.MOVING, Mode.AUTO])
def test_barrier_opens_and_closes_in_order(mode: Mode) -> None:
    """The barrier never skips a step, and no car is beyond it while it is closed."""
    lanes = [lane_at(mode, age) for age in range(_CYCLE)]
    steps = {
        (a.facts.barrier, b.facts.barrier) for a, b in itertools.pairwise(lanes) if a.facts.barrier != b.facts.barrier
    }
    assert steps == _BOOM_STEPS
    assert all(lane.car is None or lane.car > 6 for lane in lanes if lane.facts.barrier == "closed")


@pytest.mark.requirement("F3")
def test_auto_runs_through_all_states() -> None:
    """The automatic lane goes idle, occupied, moving and begins again."""
    states = [lane_at(Mode.AUTO, age).facts.state for age in range(_CYCLE)]
    assert [state for state, _ in itertools.groupby(states)][:4] == ["idle", "occupied", "moving", "idle"]


@pytest.mark.requirement("F3")
def test_standing_car_is_the_one_that_leaves() -> None:
    """A car that stands at the barrier does not arrive again when the mode changes to moving."""
    standing = lane_at(Mode.OCCUPIED, 100)
    assert started_at(Mode.MOVING, standing, 500) == 500 - ARRIVE
    assert started_at(Mode.MOVING, lane_at(Mode.IDLE, 100), 500) == 500
