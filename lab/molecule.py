"""`python -m lab.molecule [SCENARIO…]`: each on the `ops` of a fresh lab of its own, side by side; the labs are gone
whatever happened.
"""

import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from lab import enter
from lab.cache import say
from lab.fleet import Lab, down
from lab.next_version import wheelhouse
from lab.paths import CHECKOUT, LabError

DEBIANS = {"default": 12, "alternative": 13}
TARGETS = {12: "cp311-x86_64", 13: "cp313-x86_64"}
LIMIT_S = 1500


def main() -> int:
    """`molecule test` for each; 0 when all succeeded, else 1, also for no lab or no end within LIMIT_S seconds."""
    asked = sys.argv[1:] or list(DEBIANS)
    strange = [scenario for scenario in asked if scenario not in DEBIANS]
    if strange:
        say(f"lab.molecule: a scenario must be one of {', '.join(DEBIANS)}, not {strange[0]!r}")
        return 1
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(len(asked)) as side_by_side:
        running = Running()
        try:
            codes = list(side_by_side.map(lambda scenario: _test(scenario, Path(place) / scenario, running), asked))
        except KeyboardInterrupt:
            # Each takes its own lab down: when this did, both met at the same cgroup, and half of a lab stayed.
            running.end()
            say("lab.molecule: interrupted")
            return 1
    return int(any(codes))


class Running:
    """The scenarios' processes, to be ended together; none begins after that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._ended = False

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """Start one with its output readable. LabError when all have been ended."""
        with self._lock:
            if self._ended:
                raise LabError("it was interrupted")
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self._processes.append(process)
            return process

    def end(self) -> None:
        """Kill them, and let none begin."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.kill()


def _test(scenario: str, place: Path, running: Running) -> int:
    name, debian = f"mol-{scenario}", DEBIANS[scenario]
    try:
        # Built out here, as `make wheelhouse` has built this one: `ops` reaches no package index.
        following = wheelhouse(place, target=TARGETS[debian])
        down(name)
        with Lab.up(name, debian=(debian,)):
            # Named: Molecule would look for such a file only in a checkout that git knows.
            words = ["molecule", "--base-config=molecule/base.yml", "test", f"--scenario-name={scenario}"]
            with_next = ["env", f"SIGHTGLASS_NEXT_WHEELHOUSE={following}", *words]
            return _say_all(scenario, running.start(enter.words(name, "ops", with_next, cwd=str(CHECKOUT))))
    except (LabError, OSError, subprocess.SubprocessError) as error:
        say(f"lab.molecule: {scenario}: {error}")
    return 1


def _say_all(scenario: str, process: subprocess.Popen[str]) -> int:
    """Says its lines, each with the scenario in front; its exit code.

    The lines have a thread of their own: what runs in the lab holds their pipe until the lab is gone.
    """

    def lines() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                say(f"{scenario:11} {line.rstrip()}")

    said = threading.Thread(target=lines, daemon=True)
    said.start()
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        say(f"lab.molecule: {scenario}: no end after {LIMIT_S} s")
        return 1
    said.join(2)
    return code


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    sys.exit(main())
