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
        try:
            codes = list(side_by_side.map(lambda scenario: _test(scenario, Path(place) / scenario), asked))
        except KeyboardInterrupt:
            # What runs in a lab ends with it, and whoever waits for that goes on.
            for scenario in asked:
                down(_lab(scenario))
            raise
    return int(any(codes))


def _lab(scenario: str) -> str:
    return f"mol-{scenario}"


def _test(scenario: str, place: Path) -> int:
    name, debian = _lab(scenario), DEBIANS[scenario]
    try:
        # Built out here, as `make wheelhouse` has built this one: `ops` reaches no package index.
        following = wheelhouse(place, target=TARGETS[debian])
        down(name)
        with Lab.up(name, debian=(debian,)):
            # Named: Molecule would look for such a file only in a checkout that git knows.
            words = ["molecule", "--base-config=molecule/base.yml", "test", f"--scenario-name={scenario}"]
            with_next = ["env", f"SIGHTGLASS_NEXT_WHEELHOUSE={following}", *words]
            return _say_all(scenario, enter.words(name, "ops", with_next, cwd=str(CHECKOUT)))
    except (LabError, OSError, subprocess.SubprocessError) as error:
        say(f"lab.molecule: {scenario}: {error}")
    return 1


def _say_all(scenario: str, words: list[str]) -> int:
    """Runs it and says its lines, each with the scenario in front; its exit code."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        assert process.stdout is not None
        for line in process.stdout:
            say(f"{scenario:11} {line.rstrip()}")
        if not limit.is_alive():
            say(f"lab.molecule: {scenario}: no end after {LIMIT_S} s")
        limit.cancel()
        return process.wait()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    sys.exit(main())
