"""The scenarios' processes: all of them end together, and none that begins later is overlooked."""

from __future__ import annotations

import threading
import time

import pytest

from lab import molecule
from lab.paths import LabError


@pytest.mark.requirement("N3")
def test_whoever_waits_for_a_scenario_goes_on_when_all_are_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """Also while what runs in the lab still holds the pipe: the lab goes down only after that."""
    running = molecule.Running()
    process = running.start(["sh", "-c", "echo begun; sleep 20 & wait"])
    codes: list[int] = []
    waits = threading.Thread(target=lambda: codes.append(molecule._say_all("default", process)))
    waits.start()
    deadline = time.monotonic() + 5
    while "begun" not in "".join(capsys.readouterr()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert waits.is_alive(), "the control: it waits while the scenario runs"
    running.end()
    waits.join(10)
    assert codes == [-9]
    with pytest.raises(LabError, match="interrupted"):
        running.start(["true"])
